"""Write the languages of the page anew from what the nodes say of themselves.

``python -m tests.host.make_locales``

English is the schemas' own text. In the other languages what is translated stays, what no node has
any more goes, and what is missing is named. Their help pages are made of the same sentences.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from .client import Client
from .comfyui import PACK_NAME, REPO_DIR, Host, provision

log = logging.getLogger(__name__)
LOCALES_DIR = REPO_DIR / "locales"
DOCS_DIR = REPO_DIR / "web" / "docs"
LANGUAGES = {"zh": ("输入", "输出")}
"""Translated languages, and the headings of their help pages."""

Texts = dict[str, Any]


def of_schema(schema: dict[str, Any]) -> Texts:
    """All that a page shows of a node, in the form of nodeDefs.json."""
    inputs = {**schema["input"].get("required", {}), **schema["input"].get("optional", {})}
    tooltips = schema.get("output_tooltips") or [""] * len(schema["output"])
    return {
        "display_name": schema["display_name"],
        "description": schema["description"],
        "inputs": {
            name: {"name": options.get("display_name", name), "tooltip": options["tooltip"]}
            for name, (_, options, *_) in inputs.items()
        },
        "outputs": {
            str(index): {"name": name, "tooltip": tooltip}
            for index, (name, tooltip) in enumerate(
                zip(schema["output_name"], tooltips, strict=True)
            )
        },
    }


def english(object_info: dict[str, Any]) -> Texts:
    """The texts of all nodes of the pack."""
    return {
        node_id: of_schema(schema)
        for node_id, schema in object_info.items()
        if schema["python_module"].endswith(PACK_NAME)
    }


def fitted(texts: Any, like: Any, where: str = "") -> Any:
    """The translated texts with the keys of `like`; what has no translation is named and left."""
    if not isinstance(like, dict):
        if not texts:
            log.warning("not translated: %s", where)
        return texts or like
    known = texts if isinstance(texts, dict) else {}
    return {key: fitted(known.get(key), like[key], f"{where} {key}") for key in like}


def help_page(node_id: str, texts: Texts, headings: tuple[str, str]) -> str:
    """A help page: what the node does, then each input and output."""
    parts = [texts["description"]]
    for heading, kind in zip(headings, ("inputs", "outputs"), strict=True):
        entries = texts[kind].items()
        lines = [
            f"- **{entry['name']}**{f'（{name}）' if kind == 'inputs' else ''}：{entry['tooltip']}"
            for name, entry in entries
        ]
        if lines:
            parts += [f"## {heading}", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def write(path: Path, texts: Texts) -> None:
    """One file of JSON, as people read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_all(object_info: dict[str, Any]) -> None:
    """All files of all languages but `main.json`, which is written by hand."""
    texts = english(object_info)
    write(LOCALES_DIR / "en" / "nodeDefs.json", texts)
    for language, headings in LANGUAGES.items():
        path = LOCALES_DIR / language / "nodeDefs.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        translated = fitted(known, texts, language)
        write(path, translated)
        for node_id, entry in translated.items():
            page = DOCS_DIR / node_id / f"{language}.md"
            page.parent.mkdir(exist_ok=True)
            page.write_text(help_page(node_id, entry, headings), encoding="utf-8")


def main() -> None:
    """Start a host for its schemas, and write."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with (
        tempfile.TemporaryDirectory(prefix="cyclegan-locales-") as temp,
        Host(provision(), Path(temp).resolve()) as host,
    ):
        write_all(Client(host.address).object_info())


if __name__ == "__main__":
    main()
