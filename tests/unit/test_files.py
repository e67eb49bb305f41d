"""Our own files are written whole or not at all."""

from __future__ import annotations

import csv
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cyclegan_core import CheckpointError, CycleGANError, files, load_model, save_model
from cyclegan_core.files import atomic_write, is_portable, make_folder, read_table

from .names import HOSTILE, SCRIPTS
from .weights import SMALL, make_model, same


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(make_model(), path)
    return path


def test_saving_replaces_and_leaves_nothing_beside(saved: Path) -> None:
    other = make_model(seed=9)
    save_model(other, saved)
    assert same(load_model(saved), other)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_follows_links_and_the_umask(saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(saved)
    save_model(make_model(seed=9), link)
    assert link.is_symlink()
    assert same(load_model(saved), make_model(seed=9))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o666 & ~umask


def test_a_link_that_leads_nowhere_gets_its_file_and_a_circle_none(tmp_path: Path) -> None:
    link, end = tmp_path / "link", tmp_path / "end"
    link.symlink_to(end)
    atomic_write(link, lambda path: path.write_text("new"))
    assert link.is_symlink()
    assert end.read_text() == "new"
    for one, other in (("one", "other"), ("other", "one")):
        (tmp_path / one).symlink_to(tmp_path / other)
    with pytest.raises(CycleGANError, match=r"can't be written .*\(Too many levels of symbolic"):
        atomic_write(tmp_path / "one", lambda path: path.write_text("new"))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()) == [
        *("link", "one", "other")
    ]


def test_a_folder_whose_name_is_taken_says_by_what(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError) as error:
        make_folder(tmp_path / "file")
    assert error.value.strerror == "file is a file, and no folder"
    with pytest.raises(NotADirectoryError) as error:
        make_folder(tmp_path / "link" / "a" / "b")
    assert error.value.strerror == "link is a link that leads nowhere"


def test_a_table_is_text_whatever_it_holds(tmp_path: Path) -> None:
    (tmp_path / "losses.csv").write_bytes(b"step,loss\n1,\0\xff2\n")
    assert list(csv.reader(read_table(tmp_path / "losses.csv").splitlines())) == [
        *(["step", "loss"], ["1", "\ufffd\ufffd2"])
    ]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(failure: BaseException, saved: Path) -> None:
    before = saved.read_bytes()

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise failure

    expected = CycleGANError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        atomic_write(saved, write)
    if expected is CycleGANError:
        assert "model.safetensors can't be written" in str(caught.value)
        assert "(No space left on device); check" in str(caught.value)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_leaves_the_old_file(saved: Path) -> None:
    """Files may not grow beyond 20 kB for a moment, which writers see like a full disk."""
    resource = pytest.importorskip("resource")
    before, large = saved.read_bytes(), make_model(replace(SMALL, base_channels=8))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"can't be written to .* \(File too large\)"):
            save_model(large, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(
            CheckpointError, match=r"can't be written to .*check that the folder exists"
        ):
            save_model(make_model(), folder / "m.safetensors")
    (tmp_path / "m.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"m.safetensors can't be written"):
        save_model(make_model(), tmp_path / "m.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "m.safetensors"]


def test_weights_that_diverged_are_not_saved(saved: Path) -> None:
    before, model = saved.read_bytes(), make_model()
    with torch.no_grad():
        model.gen_ba.model[4].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"'gen_ba.model.4.weight' holds .* as float16"):
        save_model(model, saved, dtype=torch.float16)
    assert saved.read_bytes() == before


def test_what_a_kill_left_is_tidied(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old, and of no living process; what is young, written to, or somebody else's stays."""
    folder = saved.parent
    names = {kind: folder / f".m.safetensors.{kind * 8}.partial" for kind in "abc"}
    other = folder / ".notes.partial"
    for path in (*names.values(), other):
        path.write_bytes(b"half")
    for path in (names["a"], names["b"], other):
        os.utime(path, (0, 0))
    with files._locked(names["b"]) as is_ours:
        assert is_ours
        monkeypatch.setattr(files, "_tidied", set())
        save_model(make_model(), saved)
        left = {path.name for path in folder.iterdir()}
    assert left == {saved.name, names["b"].name, names["c"].name, other.name}


def test_a_partial_file_is_locked_while_it_is_written(saved: Path) -> None:
    def write(temporary: Path) -> None:
        with files._locked(temporary) as is_ours:
            assert not is_ours
        temporary.write_bytes(b"")

    atomic_write(saved, write)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_that_are_none_on_some_system(name: str) -> None:
    assert not is_portable(name)


@pytest.mark.parametrize(
    "name",
    [*SCRIPTS.values(), "a", ".hidden", "a b.png", "console", "com", "com10", "x.con", "v1.2"],
)
def test_names_that_are_fine_everywhere(name: str) -> None:
    assert is_portable(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a.", "a ", "con", "Aux.tar.gz", "NUL .txt", "LPT9", "com\u00b2.x"]
)
def test_names_that_windows_takes_for_something_else(name: str) -> None:
    assert not is_portable(name)
