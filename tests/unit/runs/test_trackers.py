"""`cyclegan train --tracker`: what the real trackers hold, and what is said without them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from cyclegan_core.runs.trackers import TrackerLog

from ..commands import Shell
from ..evaluation.samples import fill
from ..run_files import rows
from ..tiny import draw_folders

TINY = (
    *("--model.base-channels", 2, "--model.num-blocks", 1, "--disc-channels", 2),
    *("--disc-layers", 1, "--load-size", 18, "--crop-size", 16, "--device", "cpu"),
    *("--sample-every", 2, "--json"),
)


@pytest.fixture
def command(tmp_path: Path) -> tuple[object, ...]:
    """A training in `tmp_path`/run but for its length."""
    draw_folders(tmp_path / "data")
    folders = (tmp_path / "data" / "a", tmp_path / "data" / "b")
    return ("train", *folders, "--run", tmp_path / "run", *TINY)


def test_trackio_holds_losses_samples_and_scores_of_both_sessions(
    command, tmp_path, capsys, caplog, monkeypatch
):
    """In this machine's database; the second session goes on with the first one's run."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read at its first import
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    tests = [fill(tmp_path / "test" / domain, 2, seed) for domain, seed in (("a", 1), ("b", 2))]
    scored = ("--test-a", tests[0], "--test-b", tests[1], "--evaluation.paired")
    with caplog.at_level(logging.INFO, "cyclegan_core"):  # and put back what the command sets
        for num_steps, more in ((3, ("--tracker", "trackio")), (5, ())):
            result = Shell(capsys)(
                *(*command, *more, *scored, "--evaluate-every", 5, "--max-steps", num_steps)
            )
            assert result.code == 0, result.err
            assert all(line.startswith("{") for line in result.out.splitlines())
    logged = SQLiteStorage.get_logs("cyclegan", "run")
    table = rows(tmp_path / "run")
    for column in (name for name in table[0] if name != "step"):
        name = column if column == "lr" else f"loss/{column}"
        points = {entry["step"]: entry[name] for entry in logged if name in entry}
        assert list(points) == [1, 2, 3, 4, 5]
        assert list(points.values()) == pytest.approx([float(r[column]) for r in table], rel=1e-5)
    assert [entry["step"] for entry in logged if "samples" in entry] == [1, 2, 4]
    assert {entry["step"] for entry in logged if "score/a_to_b L1" in entry} == {3, 5}


def test_wandb_stays_offline(command, tmp_path, capsys, caplog, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    with caplog.at_level(logging.INFO, "cyclegan_core"):
        result = Shell(capsys)(*command, "--tracker", "wandb", "--max-steps", 2)
    assert result.code == 0, result.err
    assert all(line.startswith("{") for line in result.out.splitlines())
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    for text in (b"loss/gan_ab", b"samples", b"base_channels"):
        assert text in written.read_bytes()


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_without_the_extra_it_says_what_to_install(command, capsys, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)  # what makes an import fail
    result = Shell(capsys)(*command, "--tracker", name, "--max-steps", 1)
    assert (result.code, result.err) == (2, "")
    assert result.json["error"] == (
        f'{name} is not installed; install it with: pip install "cyclegan[{name}]".'
    )


def test_no_other_module_is_imported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="tracker must be one of trackio, wandb; got 'this'"):
        TrackerLog("this", tmp_path, {})
    assert "this" not in sys.modules
