"""The languages of the page say of every node, input and output what there is to say."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .client import Client
from .comfyui import PACK_NAME
from .make_locales import DOCS_DIR, LANGUAGES, LOCALES_DIR, english

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def texts_of(language: str) -> dict[str, Any]:
    return json.loads((LOCALES_DIR / language / "nodeDefs.json").read_text(encoding="utf-8"))


def paths(texts: Any, start: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Where the texts stand."""
    if not isinstance(texts, dict):
        return {start}
    return {path for key, value in texts.items() for path in paths(value, (*start, key))}


def test_english_is_what_the_schemas_say(info: dict[str, Any]) -> None:
    """Else run `python -m tests.host.make_locales`. Names of folders and defaults don't count."""
    assert texts_of("en") == english(info)


@pytest.mark.parametrize("language", LANGUAGES)
def test_translation_has_the_keys_of_the_schemas(info: dict[str, Any], language: str) -> None:
    texts = texts_of(language)
    assert paths(texts) == paths(english(info))
    for node_id, entry in texts.items():
        for kind in ("inputs", "outputs"):
            for name, text in entry[kind].items():
                assert CHINESE.search(text["tooltip"]), (node_id, name)
        assert CHINESE.search(entry["display_name"] + entry["description"]), node_id


@pytest.mark.parametrize("language", LANGUAGES)
def test_help_is_there_in_each_language(info: dict[str, Any], language: str) -> None:
    for node_id, entry in texts_of(language).items():
        page = (DOCS_DIR / node_id / f"{language}.md").read_text(encoding="utf-8")
        names = [text["name"] for kind in ("inputs", "outputs") for text in entry[kind].values()]
        missing = [name for name in names if f"- **{name}**" not in page]
        assert missing == [], node_id


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_host_serves_the_languages(client: Client, language: str) -> None:
    served = client.request("GET", "/i18n").json()[language]
    assert set(served["nodeDefs"]) >= set(texts_of(language))
    assert served["nodeCategories"]["CycleGAN"]
    address = f"/extensions/{PACK_NAME}/docs/CycleGAN_Load/{language}.md"
    assert client.request("GET", address).ok or language == "en"
