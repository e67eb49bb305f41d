"""A long training and many translations in one process: memory, handles and threads don't grow.

    python -m tests.faults.long --steps 10000 --translations 5000

Measured after a fifth and at the end. Prompts in a row on a real host are `hosts.py`'s.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import StepReport, Trainer
from tests.unit.tiny import make_config, open_folders

Usage = dict[str, int]


def used() -> Usage:
    """This process's memory in KB, open files and threads."""
    gc.collect()
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    facts = {words[0].rstrip(":"): words[1] for words in lines if len(words) > 1}
    handles = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    return {"memory": int(facts["VmRSS"]), "threads": int(facts["Threads"]), "files": handles}


def steps(count: int, folder: Path) -> list[Usage]:
    """A training of so many steps in a run folder: saved, drawn and kept now and then."""
    config = make_config(
        max_steps=count, save_every=max(1, count // 20), sample_every=max(1, count // 20)
    )
    trainer = Trainer(config, open_folders(folder / "pictures"))
    measured: list[Usage] = []
    with RunFolder(folder / "run", trainer, num_samples=2) as run:

        def on_step(report: StepReport) -> None:
            run.on_step(report)
            if report.step in (count // 5, count):
                measured.append(used())

        trainer.run(on_step=on_step)
        run.save()
    return measured


def translations(count: int, _: Path) -> list[Usage]:
    """So many pictures of all sizes, in every way through the network."""
    model = CycleGAN(ModelConfig(base_channels=2, num_blocks=1)).eval()
    rng, measured = random.Random(1), list[Usage]()
    for number in range(1, count + 1):
        picture = torch.rand(1, 3, rng.randint(1, 64), rng.randint(1, 64))
        memory = ("auto", "whole", "streamed", "thumbnail")[number % 4]
        direction = model.directions[number % 2]
        model.translate(picture, direction, memory=memory)
        if number in (count // 5, count):
            measured.append(used())
    return measured


def check(measured: list[Usage], *, more: int) -> None:
    """No more files and threads at the end, and at most `more` KB beside 5 %."""
    before, after = measured
    assert after["files"] <= before["files"], measured
    assert after["threads"] <= before["threads"], measured
    assert after["memory"] <= 1.05 * before["memory"] + more, measured


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--translations", type=int, default=5_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts: dict[str, tuple[Callable[[int, Path], list[Usage]], int]] = {
        "translations": (translations, options.translations),
        "steps": (steps, options.steps),
    }
    for name, (part, count) in parts.items():
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            measured = part(count, Path(folder))
        seconds = time.monotonic() - begin
        print(f"{count} {name}: {measured}, {seconds:.0f} s", flush=True)  # noqa: T201
        check(measured, more=0)


if __name__ == "__main__":
    main()
