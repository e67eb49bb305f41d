"""Which folders a run goes on with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cyclegan_core import UnpairedFolders
from cyclegan_core.runs import new_warnings, other_folders, read_before
from cyclegan_core.runs.beginning import described

from ..folders import noise
from ..tiny import draw_folders


def open_pair(a: Path, b: Path) -> UnpairedFolders:
    return UnpairedFolders(a, b, load_size=18, crop_size=16)


@pytest.fixture
def begun(tmp_path: Path) -> tuple[Path, Path]:
    """A run folder and the folder with what it learned from."""
    draw_folders(tmp_path / "data")
    data = open_pair(tmp_path / "data" / "a", tmp_path / "data" / "b")
    (tmp_path / "run.json").write_text(json.dumps({"data": described(data)}))
    return tmp_path, tmp_path / "data"


def test_more_and_fewer_pictures_are_no_other_folders(begun, monkeypatch):
    run, data = begun
    noise(9, (20, 18)).save(data / "a" / "more.png")
    (data / "b" / "0.png").unlink()
    assert other_folders(read_before(run), open_pair(data / "a", data / "b")) is None
    monkeypatch.chdir(data)
    assert other_folders(read_before(run), open_pair(Path("a"), Path("../data/b"))) is None


def test_moved_folders_are_the_same(begun):
    run, data = begun
    moved = shutil.copytree(data, run / "copy")
    shutil.rmtree(data)
    assert other_folders(read_before(run), open_pair(moved / "a", moved / "b")) is None


def test_others_are_known(begun):
    run, data = begun
    draw_folders(run / "others", count=5)
    other = run / "others" / "a"
    for a, b in ((other, data / "b"), (data / "a", other), (data / "b", data / "a")):
        assert other_folders(read_before(run), open_pair(a, b)) == (data / "a", data / "b")


@pytest.mark.parametrize("text", ["", "[]", '{"data": {}}', '{"data": {"folders": [1, 2]}}'])
def test_without_a_description_nothing_is_known(begun, text):
    run, data = begun
    (run / "run.json").write_text(text)
    assert other_folders(read_before(run), open_pair(data / "b", data / "a")) is None


@pytest.mark.parametrize("folder", ["//evil/share", r"\\evil\share"])
def test_no_other_computer_is_asked_for_a_folder(begun, monkeypatch, folder):
    run, data = begun
    noted = json.loads((run / "run.json").read_text())
    noted["data"]["folders"][0] = folder
    (run / "run.json").write_text(json.dumps(noted))
    asked: list[Path] = []
    monkeypatch.setattr(Path, "samefile", lambda path, _: asked.append(path))
    draw_folders(run / "others", count=5)
    others = open_pair(run / "others" / "a", data / "b")
    assert other_folders(read_before(run), others) == (Path(folder), data / "b")
    assert asked == []


@pytest.mark.parametrize("noted", ["", "[]", '{"data": {"warnings": 5}}'])
def test_warnings_are_new_where_none_are_noted(tmp_path, noted):
    assert new_warnings(read_before(tmp_path), ["a", "b"]) == ("a", "b")
    (tmp_path / "run.json").write_text(noted)
    assert new_warnings(read_before(tmp_path), ["a", "b"]) == ("a", "b")


def test_warnings_are_told_once(tmp_path):
    told = {"data": {"warnings": ["a", "c"]}, "evaluation": {"notes": ["d"]}}
    (tmp_path / "run.json").write_text(json.dumps(told))
    assert new_warnings(read_before(tmp_path), ["a", "b", "c", "d"]) == ("b",)
