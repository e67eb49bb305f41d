"""The catalog of models that have a name."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from cyclegan_core import CheckpointError, inspect_checkpoint, save_model
from cyclegan_core.hub.catalog import CatalogEntry, bundled_models, read_catalog
from cyclegan_core.hub.install import find_model

from ..weights import make_model

ENTRY = CatalogEntry(
    name="sea2sky",
    task="seas become skies",
    domains=("sea", "sky"),
    directions=("a_to_b",),
    repo="you/sea2sky",
    files=("sub/gen_AB.pth",),
    revision=None,
    license="mit",
    verified=False,
)


def values(**changes) -> dict:
    """The entry as JSON has it."""
    fields = {name: getattr(ENTRY, name) for name in CatalogEntry.__dataclass_fields__}
    return json.loads(json.dumps(fields)) | changes


def write(folder: Path, *entries: dict, version: object = 1) -> Path:
    path = folder / "catalog.json"
    path.write_text(json.dumps({"version": version, "models": entries}), encoding="utf-8")
    return path


def test_the_catalog_that_comes_with_the_package() -> None:
    catalog = read_catalog()
    assert {name for name, entry in catalog.items() if entry.is_bundled} == set(bundled_models())
    for name, entry in catalog.items():
        assert entry.name == name
        assert entry.verified == entry.is_bundled, "what was never fetched is not verified"


@pytest.mark.parametrize("name", bundled_models())
def test_what_it_says_about_bundled_models_is_true(name: str) -> None:
    entry, path = read_catalog()[name], bundled_models()[name]
    info = inspect_checkpoint(path)
    assert entry.files == (path.name,)
    assert entry.directions == info.directions
    assert entry.domains == (info.config.domain_a, info.config.domain_b)


def test_an_entry_comes_back(tmp_path: Path) -> None:
    assert read_catalog(write(tmp_path, values())) == {"sea2sky": ENTRY}
    pinned = values(revision="v1.0", name="other")
    assert list(read_catalog(write(tmp_path, pinned, values()))) == ["other", "sea2sky"]
    assert read_catalog(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "Sea"}, "name must be lower case"),
        ({"name": 3}, "name must be lower case"),
        ({"task": ""}, "task must say what sea2sky does"),
        ({"domains": ["sea"]}, "domains must be two names"),
        ({"domains": ["sea", 1]}, "domains must be two names"),
        ({"domains": "ab"}, "domains must be a list"),
        ({"directions": []}, "directions must be among"),
        ({"directions": ["up"]}, "directions must be among"),
        ({"files": []}, "files must be names"),
        ({"files": ["../G.pth"]}, "files must be names"),
        ({"revision": 1}, "revision must be a text or null"),
        ({"revision": "a..b"}, "is no revision"),
        ({"license": ["mit"]}, "license must be a text or null"),
        ({"verified": "yes"}, "verified must be true or false"),
        ({"verified": 1}, "verified must be true or false"),
        ({"repo": "sea2sky"}, "is no repository"),
        ({"repo": 5}, "repo must be owner/repo"),
        ({"repo": "you/sea2sky@main"}, "repo must be owner/repo"),
        ({"stars": 5}, "missing or unknown: stars"),
    ],
)
def test_bad_entries_are_named(changes: dict, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path, values(**changes))
    with pytest.raises(CheckpointError) as caught:
        read_catalog(path)
    text = str(caught.value)
    assert text.startswith(f"The catalog {path} can't be used (")
    assert reason in text
    assert text.endswith("); install CycleGAN again.")
    assert "\n" not in text


def test_bad_files_are_named(tmp_path: Path) -> None:
    incomplete = values()
    del incomplete["license"]
    for content, reason in (
        (write(tmp_path, incomplete).read_text(), "missing or unknown: license"),
        (write(tmp_path, values(), values()).read_text(), "a name appears twice"),
        (write(tmp_path, values(), version=2).read_text(), "not of version 1"),
        ('{"version": 1, "models": {}}', "no list of models"),
        ('{"version": 1, "models": ["x"]}', "an entry must be an object"),
        ("[]", "not of version 1"),
        ("{", "Expecting property name"),
        ("\udcff", "can't decode"),
    ):
        path = tmp_path / f"{abs(hash(content))}.json"
        path.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(CheckpointError, match=reason):
            read_catalog(path)


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = write(tmp_path, values())
    read_catalog(path).clear()
    assert list(read_catalog(path)) == ["sea2sky"], "nobody else's copy"
    before = path.stat().st_mtime_ns
    write(tmp_path, values(name="new"))
    os.utime(path, ns=(before + 1, before + 1))
    assert list(read_catalog(path)) == ["new"]


def test_local_names() -> None:
    assert ENTRY.local_name == "you--sea2sky.safetensors"
    assert replace(ENTRY, revision="v1").local_name == "you--sea2sky--v1.safetensors"
    with pytest.raises(ValueError, match="comes with the package"):
        _ = replace(ENTRY, repo=None).local_name


def test_a_catalog_name_means_the_pulled_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is fetched by using a name: the address leads nowhere."""
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    name, entry = next((n, e) for n, e in read_catalog().items() if not e.is_bundled)
    with pytest.raises(CheckpointError) as caught:
        find_model(name)
    assert str(caught.value) == (
        f"{name} is not on this computer yet; fetch it with `cyclegan pull {name}`."
    )
    path = tmp_path / entry.local_name
    save_model(make_model(), path)
    for known in (name, entry.repo, path.stem, path.name, str(path)):
        monkeypatch.chdir(tmp_path)
        assert find_model(known).samefile(path)
