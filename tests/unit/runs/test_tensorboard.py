"""`cyclegan train --tensorboard`: what its event files hold, and what is said without the extra."""

from __future__ import annotations

import csv
import logging
import sys
from pathlib import Path

import pytest

from cyclegan_core.pictures.captions import caption_height

from ..commands import Shell
from ..evaluation.samples import fill
from ..run_files import rows
from ..tiny import draw_folders

TINY = (
    *("--model.base-channels", 2, "--model.num-blocks", 1, "--disc-channels", 2),
    *("--disc-layers", 1, "--load-size", 18, "--crop-size", 16, "--device", "cpu"),
    *("--sample-every", 2, "--json", "--tensorboard"),
)


@pytest.fixture
def command(tmp_path: Path) -> tuple[object, ...]:
    """A training in `tmp_path`/run but for its length."""
    draw_folders(tmp_path / "data")
    folders = (tmp_path / "data" / "a", tmp_path / "data" / "b")
    return ("train", *folders, "--run", tmp_path / "run", *TINY)


def test_event_files_hold_the_losses_and_the_samples(command, tmp_path, capsys, caplog):
    """Also of a training that went on: the second session writes a file of its own."""
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with caplog.at_level(logging.INFO, "cyclegan_core"):  # and put back what the command sets
        for num_steps in (3, 5):
            result = Shell(capsys)(*command, "--max-steps", num_steps)
            assert (result.code, result.err) == (0, "")
    log = events.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    log.Reload()
    table = rows(tmp_path / "run")
    names = {name: name if name == "lr" else f"loss/{name}" for name in table[0] if name != "step"}
    assert sorted(log.Tags()["scalars"]) == sorted(names.values())
    for column, tag in names.items():
        logged = [(event.step, event.value) for event in log.Scalars(tag)]
        assert [step for step, _ in logged] == [1, 2, 3, 4, 5]
        # The table has 6 digits, an event file float32.
        values = [float(row[column]) for row in table]
        assert [value for _, value in logged] == pytest.approx(values, rel=1e-5)
    shown = [(image.step, image.width, image.height) for image in log.Images("samples")]
    height = caption_height(16) + 4 * 16
    assert shown == [(step, 6 * 16, height) for step in (1, 2, 4)]


def test_event_files_hold_the_scores_of_an_evaluation(command, tmp_path, capsys, caplog):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tests = [fill(tmp_path / "test" / domain, 2, seed) for domain, seed in (("a", 1), ("b", 2))]
    command += ("--test-a", tests[0], "--test-b", tests[1], "--evaluation.paired")
    with caplog.at_level(logging.INFO, "cyclegan_core"):
        assert Shell(capsys)(*command, "--evaluate-every", 2, "--max-steps", 5).code == 0
    log = events.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    log.Reload()
    with (tmp_path / "run" / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    names = [name for name in table[0] if name != "step"]
    assert len([tag for tag in log.Tags()["scalars"] if tag.startswith("score/")]) == len(names)
    logged = log.Scalars("score/a_to_b L1")
    assert [event.step for event in logged] == [2, 4, 5]
    values = [float(row["a_to_b L1"]) for row in table]
    assert [event.value for event in logged] == pytest.approx(values, rel=1e-6)


def test_without_the_extra_it_says_what_to_install(command, tmp_path, capsys, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # what makes an import fail
    result = Shell(capsys)(*command, "--max-steps", 1)
    assert (result.code, result.err) == (2, "")
    assert result.json["error"] == (
        'TensorBoard is not installed: pip install "cyclegan[tensorboard]".'
    )


def test_a_file_in_its_place_is_a_sentence(command, tmp_path, capsys):
    pytest.importorskip("tensorboard")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/tensorboard").touch()
    result = Shell(capsys)(*command, "--max-steps", 2)
    assert result.code == 1
    assert "tensorboard can't be written to (tensorboard is a file" in result.out
    assert result.err == ""
