"""Bulk translation on Ray beside the same workers without it: pictures per second, in turns.

    python benchmarks/bulk.py --count 200 --side 128 --rounds 3

A local Ray of two CPUs, one worker of one thread; a network of 24 channels and 2 blocks without
--model. Counted from the first block that is done to the
last, so that neither Ray's start nor a worker's import of torch counts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_worker_niceness", "0")

import numpy as np
import torch
from PIL import Image

from cyclegan_core import CycleGAN, ModelConfig, load_model
from cyclegan_core.bulk.bulk import Workers, _cluster, _plan, _run
from cyclegan_core.bulk.places import find_place
from cyclegan_core.bulk.reading import read_block
from cyclegan_core.bulk.worker import Settings, Worker
from cyclegan_core.bulk.worklist import find_work


def speed(blocks: Iterable[Any]) -> float:
    """Pictures a second after the first block."""
    done, started = 0, None
    for rows in blocks:
        if started is None:
            started = time.perf_counter()
        else:
            done += len(rows)
    assert started is not None, "more than one block is needed"
    return done / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="a name or a weight file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    small = ModelConfig(base_channels=24, num_blocks=2)
    model = load_model(options.model) if options.model else CycleGAN(small).eval()
    settings = Settings(direction=model.directions[0])
    found: dict[str, list[float]] = {"ray": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder, _cluster(Workers(count=1)):
        source = find_place(f"{folder}/in")
        Path(source.root).mkdir()
        noise = np.random.default_rng(0)
        for number in range(options.count):
            pixels = noise.integers(0, 256, (options.side, options.side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(Path(source.root) / f"{number:05d}.png")
        plan = _plan(Workers(count=1))
        for turn in range(options.rounds):
            target = find_place(f"{folder}/plain{turn}")
            work = find_work(source, target)
            worker = Worker(model, settings, source, target)
            blocks = (b for t in work.open for b in read_block(t, source, plan.block_bytes))
            found["plain"].append(speed(map(worker, blocks)))
            target = find_place(f"{folder}/ray{turn}")
            work = find_work(source, target)
            found["ray"].append(speed(_run(plan, model, settings, source, target, work)))
            print({name: round(speeds[-1], 2) for name, speeds in found.items()}, flush=True)
    pairs = zip(found["ray"], found["plain"], strict=True)
    ratio = statistics.median(ray / plain for ray, plain in pairs)
    print(json.dumps(found | {"ratio": round(ratio, 3)}, indent=1))


if __name__ == "__main__":
    main()
