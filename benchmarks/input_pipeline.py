"""How fast pictures come, and how long a trainer waits for them.

    python benchmarks/input_pipeline.py [--sizes 256 1024] [--crop 256] [--batches 100]
                                        [--step 0.1] [--steps 30] [--channels 8] [--blocks 3]
                                        [--device cuda] [--threads 2] [--json FILE]

Two folders of noise photographs (JPEG) are drawn for each size. Batches of one picture of each
domain are taken as fast as they come, with the cache of decoded pictures, as small folders are
read, and without it. The reference is a loader that decodes in the caller's thread when asked; the
ceiling is what two threads could do if they decoded the JPEGs and nothing else (the cache decodes
each only once, so it may pass that).

How long a trainer waits is told twice, as a share of its time. Beside a caller that asks every
`--step` seconds and leaves the processor alone in between, as a training on a GPU does; and in a
real training with `Trainer.run` on this device, whose step is told too: that share is
`Trainer.wait_share`, the one in `run.json`, and holds the wait for the first picture. The training
is of a narrow network, the hard case: the paper's takes seconds per step on a CPU.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import add_options, tell_machine, write_json
from PIL import Image
from sides import multiply_adds

from cyclegan_core import DataConfig, ModelConfig, TrainConfig, Trainer, UnpairedFolders
from cyclegan_core.data.loader import BatchConfig, Batches

COUNT = 40
"""Pictures of each domain."""


def main() -> None:
    """Measure every size; print a table, and write it if wanted."""
    options = parse()
    torch.set_num_threads(options.threads)
    tell_machine(options)
    print(
        f"{'pictures':>9}{'cache':>7}{'batches/s':>11}{'faster':>8}{'of ceiling':>12}"
        f"{f'waits at {options.step:g} s':>16}{'training step':>15}{'waits':>7}{'GMAC':>6}"
    )
    rows: list[dict] = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder), size)
            for cache in (True, False):
                row = {"size": size, "cache": cache, **measure(Path(folder), options, cache=cache)}
                rows.append(row)
                show(row)
    names = ("step", "crop", "channels", "blocks", "steps")
    settings = {name: getattr(options, name) for name in names}
    write_json(options, {"settings": settings, "rows": rows})


def parse() -> argparse.Namespace:
    """The options; waiting is of the wall clock whatever is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--step", type=float, default=0.1, help="seconds of a training step")
    parser.add_argument("--steps", type=int, default=30, help="of the real training")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=3)
    add_options(parser)
    options = parser.parse_args()
    if options.clock != "wall":
        parser.error("waiting takes no processor time; leave --clock at wall.")
    return options


def show(row: dict) -> None:
    """A line of the table."""
    print(
        f"{row['size']:>9}{'yes' if row['cache'] else 'no':>7}{row['per_second']:>11.1f}"
        f"{row['faster']:>7.2f}×{row['share_of_ceiling']:>12.0%}{row['wait_share']:>16.1%}"
        f"{row['training_step']:>13.3f} s{row['training_wait_share']:>7.1%}"
        f"{row['giga_multiply_adds']:>6.1f}",
        flush=True,
    )


def draw(folder: Path, size: int) -> None:
    """Two domains of `COUNT` pictures with the structure of photographs: smooth, and some noise."""
    for number, name in enumerate("ab"):
        (folder / name).mkdir()
        dice = np.random.default_rng(number)
        for picture in range(COUNT):
            coarse = Image.fromarray(dice.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            pixels = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.float32)
            pixels = np.clip(pixels + dice.normal(0, 8, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{picture}.jpg", quality=90)


def measure(folder: Path, options: argparse.Namespace, *, cache: bool) -> dict[str, float]:
    """Speeds and shares of waiting of one way to read a folder."""

    def opened(*, cache: bool = cache) -> UnpairedFolders:
        config = DataConfig(crop_size=options.crop, load_size=round(options.crop * 286 / 256))
        if not cache:
            config = replace(config, cache_bytes=0)
        return UnpairedFolders(folder / "a", folder / "b", config)

    threads = BatchConfig().num_threads
    ours = batches_per_second(opened(), options.batches, threads)
    reference = batches_per_second(opened(cache=False), options.batches, 0)
    seconds, waits = real_training(opened(), options)
    work = multiply_adds(f"resnet_{options.blocks}@{options.crop}", options.channels)
    return {
        "per_second": ours,
        "faster": ours / reference,
        "share_of_ceiling": ours / (threads * decodings_per_second(folder) / 2),
        "wait_share": waiting(opened(), options),
        "training_step": seconds,
        "training_wait_share": waits,
        "giga_multiply_adds": work / 1e9,
    }


def batches_per_second(data: UnpairedFolders, count: int, threads: int) -> float:
    """As fast as they come."""
    with Batches(data, num_threads=threads) as batches:
        start = time.perf_counter()
        for _ in range(count):
            next(batches)
        return count / (time.perf_counter() - start)


def decodings_per_second(folder: Path) -> float:
    """Of JPEG files in one thread, with nothing done to the pixels."""
    paths = sorted(folder.glob("*/*.jpg"))
    start = time.perf_counter()
    for path in paths:
        with Image.open(path) as picture:
            picture.load()
    return len(paths) / (time.perf_counter() - start)


def waiting(data: UnpairedFolders, options: argparse.Namespace) -> float:
    """Share of waiting of a caller that leaves the processor alone between its steps."""
    with Batches(data) as batches:
        next(batches)  # a training waits for its first batch, once
        start, waited = time.perf_counter(), batches.wait_seconds
        for _ in range(options.batches):
            next(batches)
            threading.Event().wait(options.step)
        return (batches.wait_seconds - waited) / (time.perf_counter() - start)


def real_training(data: UnpairedFolders, options: argparse.Namespace) -> tuple[float, float]:
    """Seconds per step, and the share of waiting that `run.json` would tell."""
    model = ModelConfig(
        num_blocks=options.blocks, base_channels=options.channels, image_size=options.crop
    )
    config = TrainConfig(model=model, disc_channels=options.channels, max_steps=options.steps)
    trainer = Trainer(config, data, device=options.device)
    start = time.perf_counter()
    trainer.run()
    return (time.perf_counter() - start) / options.steps, trainer.wait_share


if __name__ == "__main__":
    main()
