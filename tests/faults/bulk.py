"""Bulk translation with kill -9 of its driver and of its actors at random moments.

    python -m tests.faults.bulk --count 2000 --kills 20

A local Ray of two CPUs translates pictures of mixed sizes, broken ones among them, with a tiny
network. Every kill comes a random time after the first result of that start. Then the job goes on
to its end, and every result is compared with what `CycleGAN.translate` makes of its picture; the
results that lay there at a kill must be the same files afterwards: none is done twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import torch
from PIL import Image

from cyclegan_core import CycleGAN, ModelConfig, read_picture, save_model, write_picture

SIZES = [(32, 32), (48, 32), (32, 48), (40, 56), (64, 64), (21, 33)]
"""Widths and heights."""

SLOWEST = 600
"""Seconds after which a driver hangs."""


def draw(folder: Path, count: int, seed: int) -> list[str]:
    """Pictures of noise in several folders, every 50th broken; the names of the broken ones."""
    noise = np.random.default_rng(seed)
    broken: list[str] = []
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        suffix = ("png", "jpg", "webp", "bmp")[number // 7 % 4]
        path = folder / f"{number % 5}" / f"{number:06d}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if number % 50 == 49:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2] if number % 100 == 99 else b"nothing")
            broken.append(path.relative_to(folder).as_posix())
    return broken


def results(target: Path) -> dict[str, tuple[int, int]]:
    """What lies there: number and time of each file, which a second writing would change."""
    found = {}
    for path in target.rglob("*"):
        name = path.relative_to(target).as_posix()
        if path.is_file() and name[0] != "_" and path.name[0] != ".":
            status = path.stat()
            found[name] = (status.st_ino, status.st_mtime_ns)
    return found


class Driver:
    """`cyclegan bulk` as a process."""

    def __init__(self, source: Path, target: Path, model: Path) -> None:
        words = ["bulk", str(source), str(target), "--model", str(model)]
        words += ["--precision", "fp32", "--workers", "1"]
        command = [sys.executable, "-m", "cyclegan_core.cli", *words]
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            command,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            # Ray's workers stand back for everybody else, and on a busy machine for ever.
            env=os.environ | {"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"},
        )

    def output(self) -> str:
        """What it said."""
        self._output.seek(0)
        return self._output.read().decode()

    def took_over(self) -> bool:
        """Whether it found what a dead one had left."""
        return "its lease is taken over" in self.output()

    def gave_up(self) -> bool:
        """Whether Ray did, as it does on a machine that is too busy; a sentence says so."""
        said = self.output()
        return "the same command goes on" in said or "Ray can't be started here" in said

    def actors(self) -> list[psutil.Process]:
        """The processes that translate."""
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        found = []
        for process in below:
            try:
                if "MapBatches(_Actor)" in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def below(self) -> list[psutil.Process]:
        """Everything that it started."""
        return psutil.Process(self.process.pid).children(recursive=True)


def wait_for(condition: Any, driver: Driver, seconds: float = SLOWEST) -> bool:
    """Look ten times a second until something holds; False if the driver ended before."""
    end = time.monotonic() + seconds
    while not condition():
        if driver.process.poll() is not None:
            return False
        if time.monotonic() > end:
            driver.process.kill()
            raise TimeoutError(f"nothing happened in {seconds} s: {driver.output()}")
        time.sleep(0.1)
    return True


def run(
    count: int,
    kills: int,
    seed: int,
    folder: Path,
    channels: int = 8,
    minutes: float = 60,
    kinds: Sequence[str] = ("driver", "actor", "actor"),
) -> dict[str, Any]:
    """The campaign; what came of it. A result that isn't right is an AssertionError.

    With more `channels` a picture takes longer, so that few pictures leave time for a kill. None
    is killed any more after so many `minutes`. One of `kinds` is drawn for each.
    """
    rng = random.Random(seed)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    source, target, weights = folder / "source", folder / "target", folder / "model.safetensors"
    broken = draw(source, count, seed)
    model = CycleGAN(ModelConfig(base_channels=channels, num_blocks=2)).eval()
    save_model(model, weights)

    killed = {"driver": 0, "actor": 0}
    starts = takeovers = redone = 0
    driver: Driver | None = None
    before: dict[str, tuple[int, int]] = {}
    began = time.monotonic()
    for threshold in sorted(rng.sample(range(1, count * 9 // 10), kills)):
        if time.monotonic() - began > minutes * 60:
            break
        if driver is None:
            starts += 1
            driver = Driver(source, target, weights)
        # So many results, and a moment that falls anywhere in the work on a picture.
        least = max(threshold, len(results(target)) + 1)
        while not (is_going := wait_for(lambda least=least: len(results(target)) >= least, driver)):
            takeovers += driver.took_over()
            if not driver.gave_up():
                break
            starts += 1
            driver = Driver(source, target, weights)
        if not is_going:  # it was faster than the next kill
            takeovers -= driver.took_over()
            break
        time.sleep(rng.random() * 0.2)
        kind = rng.choice(kinds)
        if kind == "actor":
            assert wait_for(driver.actors, driver), driver.output()
            rng.choice(driver.actors()).kill()
        else:
            left = driver.below()
            os.kill(driver.process.pid, signal.SIGKILL)
            driver.process.wait()
            takeovers += driver.took_over()
            # What it started ends with it.
            _, alive = psutil.wait_procs(left, timeout=180)
            assert not alive, [process.cmdline() for process in alive]
            driver = None
        killed[kind] += 1
        print(f"{time.monotonic() - began:.0f} s: {killed}, {len(results(target))} results")  # noqa: T201
        now = results(target)
        redone += sum(now.get(name) != known for name, known in before.items())
        before = now

    starts += driver is None
    driver = driver or Driver(source, target, weights)
    while True:
        code = driver.process.wait(timeout=SLOWEST * 4)
        takeovers += driver.took_over()
        if not driver.gave_up():
            break
        starts += 1
        driver = Driver(source, target, weights)
    said = driver.output()
    assert takeovers == killed["driver"], said
    assert code == (1 if broken else 0), said
    seconds = time.monotonic() - began
    now = results(target)
    redone += sum(now.get(name) != known for name, known in before.items())
    assert redone == 0
    check(source, target, model, broken)
    return {
        "pictures": count,
        "broken": len(broken),
        "killed": killed,
        "starts": starts,
        "takeovers": takeovers,
        "redone": redone,
        "seconds": round(seconds, 1),
        "summary": [line for line in said.splitlines() if " pictures, " in line][-1],
    }


def check(source: Path, target: Path, model: CycleGAN, broken: list[str]) -> None:
    """Every result is right, none is missing, and nothing else lies there."""
    inputs = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    differ = set(results(target)) ^ (inputs - set(broken))
    assert not differ, sorted(differ)[:10]
    left = [path for path in target.rglob("*") if path.name.endswith(".partial")]
    assert left == [], left
    for name in sorted(inputs - set(broken)):
        picture = read_picture(source / name)
        expected = target.parent / "expected" / name
        with torch.no_grad():
            write_picture(expected, model.translate(picture.pixels[None])[0])
        assert (target / name).read_bytes() == expected.read_bytes(), name
        expected.unlink()
    table = pq.read_table(target / "_cyclegan" / "report.parquet").to_pylist()
    assert sorted(row["input"] for row in table) == sorted(inputs)
    failed = {row["input"] for row in table if row["status"] == "failed"}
    assert failed == set(broken)
    assert not (target / "_cyclegan" / "lease.json").exists()


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", choices=("driver", "actor"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        more = {"kinds": [options.only]} if options.only else {}
        found = run(
            options.count,
            options.kills,
            options.seed,
            Path(folder),
            24,
            minutes=options.minutes,
            **more,
        )
    print(json.dumps(found, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
