"""The work: what has no whole result yet, and names that would become one."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from cyclegan_core.bulk.places import find_place
from cyclegan_core.bulk.worklist import Worklist, find_work, is_whole

SUFFIXES = ("png", "jpg", "webp", "bmp", "tif")


def make(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 80).convert("RGB").save(path)
    return path


def look(tmp_path: Path) -> Worklist:
    return find_work(find_place(str(tmp_path / "in")), find_place(str(tmp_path / "out")))


def names(tables: list, column: str = "input") -> list[str]:
    return [name for table in tables for name in table[column].to_pylist()]


def test_what_has_a_whole_result_is_left_out(tmp_path: Path) -> None:
    for name in ("b/1.png", "a.png", "b/2.gif", "c/5.png", ".hidden/3.png", "b/.4.png"):
        make(tmp_path / "in" / name)
    make(tmp_path / "in/b/notes.png").rename(tmp_path / "in/b/notes.txt")
    make(tmp_path / "out/b/2.png")
    make(tmp_path / "out/c/5.png")
    work = look(tmp_path)
    assert names(work.open) == ["a.png", "b/1.png"]
    assert names(work.there) == ["b/2.gif", "c/5.png"]
    assert names(work.there, "output") == ["b/2.png", "c/5.png"]
    assert (work.total, work.num_open, work.num_there) == (4, 2, 2)
    assert work.folders() == {"", "b", "c"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_half_result_is_done_again(suffix: str, tmp_path: Path) -> None:
    make(tmp_path / f"in/a.{suffix}")
    result = make(tmp_path / f"out/a.{suffix}")
    target = find_place(str(tmp_path / "out"))
    content = result.read_bytes()
    assert is_whole(target, result.name, len(content))
    assert names(look(tmp_path).there) == [f"a.{suffix}"]
    for size in (len(content) - 1, len(content) // 2, 5, 0):
        result.write_bytes(content[:size])
        assert names(look(tmp_path).open) == [f"a.{suffix}"], size


def test_names_that_would_become_one_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "in/a.png")
    if make(tmp_path / "in/A.png").samefile(tmp_path / "in/a.png"):
        pytest.skip("this disk takes them for one")
    for name in ("b.gif", "b.png", "c/x.png", "C/x.png", "C/y.png", "d/ok.png"):
        make(tmp_path / "in" / name)
    work = look(tmp_path)
    assert names(work.open) == ["A.png", "b.gif", "C/x.png", "C/y.png", "d/ok.png"]
    assert sorted(work.refused) == ["a.png", "b.png", "c/x.png"]
    assert "would differ only by case; rename one." in work.refused["a.png"]
    assert "would both become b.png; translate them apart." in work.refused["b.png"]
    assert "differ only by case" in work.refused["c/x.png"]


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may do anything")
def test_a_folder_that_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    make(tmp_path / "in/closed/a.png")
    make(tmp_path / "in/b.png")
    (tmp_path / "in/closed").chmod(0)
    work = look(tmp_path)
    (tmp_path / "in/closed").chmod(0o700)
    assert names(work.open) == ["b.png"]
    assert work.refused["closed"].endswith("can't be read: Permission denied.")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_circle_of_links_ends(tmp_path: Path) -> None:
    make(tmp_path / "in/a/1.png")
    (tmp_path / "in/a/back").symlink_to(tmp_path / "in")
    (tmp_path / "in/nowhere.png").symlink_to(tmp_path / "gone.png")
    assert names(look(tmp_path).open) == ["a/1.png"]


def test_a_tiff_that_does_not_say_how_long_its_strips_are_is_no_result(tmp_path: Path) -> None:
    make(tmp_path / "in/a.tif")
    result = make(tmp_path / "out/a.tif")
    with Image.open(result) as image:
        image.save(result, tiffinfo={})
    content = bytearray(result.read_bytes())
    place = content.index(struct.pack("<H", 279), struct.unpack_from("<I", content, 4)[0])
    content[place : place + 2] = struct.pack("<H", 278)  # another tag's number
    result.write_bytes(content)
    assert names(look(tmp_path).open) == ["a.tif"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_a_name_that_is_no_text_is_refused_alone(tmp_path: Path) -> None:
    make(tmp_path / "in/a.png")
    make(tmp_path / "in/b/c.png")
    (tmp_path / "in/a.png").with_name("d\udcff.png").touch()
    (tmp_path / "in/b").rename(tmp_path / "in/\udcff")
    work = look(tmp_path)
    assert names(work.open) == ["a.png"]
    assert sorted(work.refused) == [r"\xff/c.png", r"d\xff.png"]
    assert work.refused[r"d\xff.png"].endswith(
        r"in/d\xff.png has a name that is no UTF-8 text, which no table holds; rename it."
    )
