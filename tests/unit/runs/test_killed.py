"""A training that is killed, again and again, at any moment: it ends as if nothing had been."""

from __future__ import annotations

import json
import os
import platform
import random
import re
import signal
import sys

import pytest

from cyclegan_core import CycleGANError
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import Trainer

from ..run_files import files
from ..tiny import make_config, open_folders

if sys.platform == "win32":
    pytest.skip("needs fork and POSIX signals", allow_module_level=True)

NUM_KILLS = 20
NUM_STEPS = 40
"""More than any machine does between 20 kills: at most 0.5 s of its processor each."""
OPTIONS = (
    *("--model.base-channels", 2, "--model.num-blocks", 1, "--disc-channels", 2),
    *("--disc-layers", 1, "--load-size", 18, "--crop-size", 16, "--pool-size", 2),
    *("--save-every", 1, "--sample-every", 3, "--keep-checkpoints", 2, "--device", "cpu"),
)


def command(pictures, run, steps, *more):
    folders = (pictures / "a", pictures / "b")
    return ("train", *folders, "--run", run, "--max-steps", steps, *OPTIONS, *more)


def test_killed_20_times(tmp_path, pictures, server):
    """By itself before a file operation, from outside while it works, and by its CPU clock."""
    rng, path = random.Random(20), tmp_path / "run"
    argv = command(pictures, path, NUM_STEPS)
    steps = []
    for attempt in range(NUM_KILLS):
        moment = rng.randint(2, 70)
        if attempt % 3 == 0:
            code = server.run(argv, tmp_path / "out", die_at=moment)
        elif attempt % 3 == 1:
            pid = server.start(argv, tmp_path / "out", tell_at=moment)
            assert server.line() == {"told": moment}
            os.kill(pid, signal.SIGKILL)
            code = server.end()
        else:
            code = server.run(argv, tmp_path / "out", cpu=rng.uniform(0.01, 0.5))
        assert code in (-signal.SIGKILL, -signal.SIGPROF), (
            tmp_path / "out" / "err.txt"
        ).read_text()
        steps.append(last_step(path))
    assert steps == sorted(steps)
    assert 4 < steps[-1] < NUM_STEPS
    assert server.run(argv, tmp_path / "out") == 0
    assert server.run(command(pictures, tmp_path / "undisturbed", NUM_STEPS), tmp_path / "out") == 0
    ours, theirs = files(path), files(tmp_path / "undisturbed")
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert last_step(path) == NUM_STEPS


def last_step(path):
    try:
        return json.loads((path / "run.json").read_text())["step"]
    except FileNotFoundError:
        return 0


def test_the_lock_ends_with_its_holder(tmp_path, pictures, server):
    """Frozen in the middle of its work it still holds the folder; killed it does not."""
    path = tmp_path / "run"
    pid = server.start(command(pictures, path, 24), tmp_path / "out", freeze_at=20)
    assert server.line() == {"frozen": 0}
    trainer = Trainer(make_config(), open_folders(pictures))
    with pytest.raises(CycleGANError, match=r"^Another training is using .*; wait for it"):
        RunFolder(path, trainer).__enter__()
    os.kill(pid, signal.SIGKILL)
    assert server.end() == -signal.SIGKILL
    with RunFolder(tmp_path / "run", Trainer(make_config(pool_size=2), trainer.data)):
        pass


def test_a_second_run_is_told_so(tmp_path, pictures, server):
    path = tmp_path / "run"
    with RunFolder(path, Trainer(make_config(), open_folders(pictures))):
        assert server.run(command(pictures, path, 2), tmp_path / "out") == 1
    said = (tmp_path / "out" / "err.txt").read_text().splitlines()
    assert said[-1] == (
        f"cyclegan: Another training is using {path} (process {os.getpid()} on "
        f"{platform.node()}); wait for it, or name another run."
    )


@pytest.mark.parametrize("what", ["state.safetensors", "losses.csv"])
def test_a_full_disk_keeps_the_last_state(tmp_path, pictures, server, what):
    """No file may become as long as this one is by now."""
    path, out = tmp_path / "run", tmp_path / "out"
    assert server.run(command(pictures, path, 3, "--lr-interval", 1), out) == 0
    before = files(path)
    limit = (path / what).stat().st_size - 1
    argv = command(pictures, path, 6, "--lr-interval", 1, "--json")
    assert server.run(argv, out, limit=limit) == 1
    assert re.fullmatch(
        rf"{what} can't be written to {path} \(.*File too large.*\); "
        r"check that the folder exists, may be written to, and has space\.",
        json.loads((out / "out.txt").read_text())["error"],
    )
    assert "Traceback" not in (out / "err.txt").read_text()
    after = files(path)
    assert {name: after[name] for name in before} == before
    assert not list(path.rglob("*.partial"))
    assert server.run(argv, out) == 0
    assert last_step(path) == 6
