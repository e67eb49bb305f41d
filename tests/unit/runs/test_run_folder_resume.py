"""A run folder after a kill, a half save, a stop: it ends like an undisturbed run's."""

from __future__ import annotations

import json
import logging
import shutil

import pytest

from cyclegan_core import CycleGANError, load_model
from cyclegan_core.training.trainer import Trainer

from ..run_files import files, killed, rows, run
from ..tiny import assert_same, everything, make_config, open_folders

OFTEN = {"save_every": 2, "sample_every": 2, "keep_checkpoints": 2, "max_steps": 6}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    run(path, pictures, **OFTEN)
    return files(path)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path, pictures, undisturbed, step):
    killed(tmp_path / "run", pictures, step, **OFTEN)
    assert len(rows(tmp_path / "run")) == step // 2 * 2
    run(tmp_path / "run", pictures, **OFTEN)
    assert files(tmp_path / "run") == undisturbed


@pytest.mark.parametrize(
    "lost", ["losses.csv", "model.safetensors", "checkpoints/model_step_0000004.safetensors"]
)
@pytest.mark.parametrize("stop_at", [4, 6])
def test_a_save_cut_off_after_the_state_is_completed(
    tmp_path, pictures, undisturbed, lost, stop_at
):
    """All that follows the state is as it was at the save before, or lost."""
    path = tmp_path / "run"
    killed(path, pictures, 2, **OFTEN)
    early = {name: (path / name).read_bytes() for name in ("run.json", "model.safetensors")}
    killed(path, pictures, stop_at, **OFTEN)
    for name, content in early.items():
        (path / name).write_bytes(content)
    (path / lost).unlink()
    run(path, pictures, **OFTEN)
    if stop_at == 6 and "0004" in lost:
        undisturbed = {name: content for name, content in undisturbed.items() if name != lost}
    assert files(path) == undisturbed


def test_odd_rows_are_made_anew(tmp_path, pictures, undisturbed):
    """Half a row, rows from the future, twice the same, rubbish, zeros from a power cut."""
    path = tmp_path / "run"
    killed(path, pictures, 4, **OFTEN)
    table = path / "losses.csv"
    lines = table.read_bytes().splitlines(keepends=True)
    lines[2] = b"2,0.1\r\n"
    lines += [lines[1], lines[4].replace(b"4,", b"9,", 1), b"x,y\r\n", b"\0" * 40, lines[3][:20]]
    table.write_bytes(b"".join(lines))
    run(path, pictures, **OFTEN)
    assert files(path) == undisturbed


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"step": 1e400, "seconds": 1}', '{"step": 2, "seconds": NaN}', "[1]"]
)
def test_an_odd_run_file_is_made_anew(tmp_path, pictures, undisturbed, text):
    path = tmp_path / "run"
    killed(path, pictures, 2, **OFTEN)
    (path / "run.json").write_text(text)
    run(path, pictures, **OFTEN)
    assert files(path) == undisturbed
    assert json.loads((path / "run.json").read_text())["step"] == 6


@pytest.mark.parametrize("name", ["losses.csv", "model.safetensors", "samples", "run.json"])
def test_a_file_where_a_folder_should_be_and_vice_versa(tmp_path, pictures, name):
    path = tmp_path / "run"
    killed(path, pictures, 2, **OFTEN)
    if name == "samples":
        shutil.rmtree(path / name)
        (path / name).write_text("")
    else:
        (path / name).unlink()
        (path / name).mkdir()
    with pytest.raises(CycleGANError, match=name.replace("samples", "step_")) as caught:
        run(path, pictures, **OFTEN)
    assert "\n" not in str(caught.value)


def test_what_a_killed_save_left_is_cleared_away(tmp_path, pictures, undisturbed):
    path = tmp_path / "run"
    killed(path, pictures, 3, **OFTEN)
    for name in (
        ".state.safetensors.00ff.partial",
        "checkpoints/.model_step_0000002.safetensors.00ff.partial",
        "samples/.00ff.jpg",
    ):
        (path / name).write_bytes(b"half")
    (path / "notes.txt").write_text("mine")
    run(path, pictures, **OFTEN)
    assert files(path) == undisturbed | {"notes.txt": b"mine"}


def test_a_finished_run_is_left_alone(tmp_path, pictures, undisturbed, caplog):
    path = tmp_path / "run"
    run(path, pictures, **OFTEN)
    times = {name: (path / name).stat().st_mtime_ns for name in ("run.json", "state.safetensors")}
    with caplog.at_level(logging.INFO, "cyclegan_core"):
        run(path, pictures, **OFTEN)
    assert files(path) == undisturbed
    assert "Going on from step 6." in caplog.text
    assert times == {name: (path / name).stat().st_mtime_ns for name in times}


def test_max_minutes_ends_it_and_the_same_settings_go_on(tmp_path, pictures, undisturbed):
    for step in range(1, 7):
        trainer = run(tmp_path / "run", pictures, **OFTEN | {"max_minutes": 1e-9})
        assert trainer.step == step
        assert len(rows(tmp_path / "run")) == step
    ours = files(tmp_path / "run")
    for name in ("losses.csv", "samples/step_0000006.jpg", "samples/step_0000001.jpg"):
        assert ours[name] == undisturbed[name]
    assert_same(
        load_model(tmp_path / "run" / "model.safetensors").state_dict(),
        trainer.state.ema.state_dict(),
    )
    whole = Trainer(make_config(**OFTEN), open_folders(pictures))
    whole.run()
    assert_same(everything(trainer), everything(whole))
