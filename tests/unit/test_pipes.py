"""Pipes and devices under the names of files: reading one may never end, so none is opened."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cyclegan_core import CheckpointError, PictureError, inspect_checkpoint, load_model
from cyclegan_core.checkpoint.settings import read_settings
from cyclegan_core.data.unpaired_folders import UnpairedFolders
from cyclegan_core.hub.catalog import read_catalog
from cyclegan_core.pictures.picture import read_flat, read_picture, read_size
from cyclegan_core.training.trainer import Trainer

from .commands import Shell, save
from .folders import SMALL, fill, paths
from .run_files import files, killed, run
from .tiny import make_config, open_folders

KIND = "a pipe, a socket or a device"


@pytest.fixture(autouse=True)
def _no_endless_wait() -> Iterator[None]:
    """A read that hangs fails the test."""
    signal.alarm(60)  # whose action is to end the process
    yield
    signal.alarm(0)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("call", [load_model, inspect_checkpoint])
@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_weights(call, name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=KIND):
        call(pipe(tmp_path / name))
    with pytest.raises(CheckpointError, match=KIND):
        call(Path("/dev/zero"))


def test_settings_and_the_catalog(tmp_path: Path) -> None:
    for read in (read_settings, lambda folder: read_catalog(folder / "config.json")):
        with pytest.raises(CheckpointError, match=KIND):
            read(pipe(tmp_path / "config.json").parent)


@pytest.mark.parametrize("read", [read_picture, read_flat, read_size])
def test_pictures(read, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=KIND):
        read(pipe(tmp_path / "x.png"))


def test_pictures_to_train_on(tmp_path: Path) -> None:
    a, b = fill(tmp_path / "a", 3), fill(tmp_path / "b", 3)
    pipe(a / "001.png")
    folders = UnpairedFolders(a, b, **SMALL)
    assert [path.name for path in paths(folders)[0]] == ["000.png", "002.png"]
    assert KIND in str(folders.report())


def test_commands(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    save(tmp_path / "m.safetensors")
    model, picture = pipe(tmp_path / "x.safetensors"), pipe(tmp_path / "x.jpg")
    listed = shell("list")
    assert listed.code == 0
    assert KIND in " ".join(listed.out.split())
    for words in (["info", model], ["translate", picture, "--model", tmp_path / "m.safetensors"]):
        answer = shell(*words, *(["--out", tmp_path / "out"] if words[0] == "translate" else []))
        assert answer.code == 1
        assert KIND in answer.err


def test_a_run(tmp_path: Path, pictures: Path) -> None:
    """run.json is made anew; the state can't be."""
    settings = {"save_every": 2, "max_steps": 4}
    run(tmp_path / "whole", pictures, **settings)
    killed(tmp_path / "run", pictures, 2, **settings)
    pipe(tmp_path / "run" / "run.json")
    run(tmp_path / "run", pictures, **settings)
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    trainer = Trainer(make_config(**settings), open_folders(pictures))
    with pytest.raises(CheckpointError, match=KIND):
        trainer.load_state(pipe(tmp_path / "run" / "state.safetensors"))
