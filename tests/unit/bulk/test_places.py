"""Folders on disks and in object stores, and which of them a job may use."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import fsspec

from cyclegan_core.bulk.places import Place, check_target, find_place
from cyclegan_core.errors import CycleGANError


def places(*urls: str) -> list[Place]:
    return [find_place(url) for url in urls]


@pytest.mark.parametrize("kind", ["path", "file://", "memory://"])
def test_files_appear_whole_and_are_listed(kind: str, tmp_path: Path) -> None:
    place = find_place(str(tmp_path) if kind == "path" else f"{kind}{tmp_path}")
    assert place.write("a/b.txt", lambda path: path.write_bytes(b"12345")) == 5
    place.write_own("a/c.txt", b"1")
    assert place.listing("a").files == {"b.txt": 5, "c.txt": 1}
    assert place.listing("").folders == ["a"]
    assert place.listing("missing").files == {}
    assert place.read("a/b.txt") == b"12345"
    assert place.open("a/b.txt").read() == b"12345"
    assert place.size("a/b.txt") == 5
    assert place.size("a/x.txt") is None
    assert place.size("a") is None
    with pytest.raises(FileExistsError):
        place.create("a/c.txt", b"2")
    place.create("a/new.txt", b"2")
    place.remove("a/new.txt")
    place.remove("a/new.txt")
    assert sorted(place.listing("a").files) == ["b.txt", "c.txt"]


def test_a_store_that_shows_halves_gets_a_temporary_name_first(tmp_path: Path) -> None:
    fs = fsspec.filesystem("dir", path=str(tmp_path), fs=fsspec.filesystem("file"))
    place = Place(fs, "results", "dir://results")
    assert not place.is_local
    assert place.write("a/b.txt", lambda path: path.write_bytes(b"12345")) == 5
    assert [path.name for path in (tmp_path / "results" / "a").iterdir()] == ["b.txt"]
    assert (tmp_path / "results" / "a" / "b.txt").read_bytes() == b"12345"


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("pictures", "pictures", "is the source itself"),
        ("pictures", "pictures/out", "lies inside the source"),
        ("pictures/inner", "pictures", "lies inside the target"),
        ("pictures", "link/out", "lies inside the source"),
    ],
)
def test_a_target_beside_the_pictures_is_refused(
    source: str, target: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pictures")
    found = places(str(tmp_path / source), f"file://{tmp_path / target}")
    with pytest.raises(CycleGANError, match=words):
        check_target(found[1], found[0])


def test_a_target_with_a_longer_name_is_no_part_of_the_source(tmp_path: Path) -> None:
    source, target = places(str(tmp_path / "a"), str(tmp_path / "ab"))
    check_target(target, source)


def test_a_mistake_in_the_program_is_no_fault_of_a_store(tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    with (
        pytest.raises(CycleGANError, match="x can't be read: too slow; mend that"),
        place.telling("x", "read"),
    ):
        raise TimeoutError("too slow.")
    with pytest.raises(NameError), place.telling("x", "read"):
        raise NameError("name 'make_folder' is not defined")


def test_the_hub_is_no_target(tmp_path: Path) -> None:
    source, target = places(str(tmp_path), "hf://datasets/me/pictures")
    with pytest.raises(CycleGANError, match="can't be written to picture by picture"):
        check_target(target, source)


@pytest.mark.parametrize("url", ["nothing://x/y", "s4://bucket", "dropbox://x"])
def test_an_unknown_kind_of_url_is_a_sentence(url: str) -> None:
    with pytest.raises(CycleGANError, match=r"can't be read: .*\.$"):
        find_place(url)
