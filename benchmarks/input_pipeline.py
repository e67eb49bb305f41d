"""How fast pictures come, and how long a trainer waits for them.

    python benchmarks/input_pipeline.py [--sizes 256 1024] [--crop 256] [--batches 100]
                                        [--step 0.1] [--json FILE]

Two folders of noise photographs (JPEG) are drawn for each size. Batches of one picture of each
domain are taken as fast as they come, and then one every `--step` seconds by a caller that leaves
the processor alone in between, as a training on a GPU does; told is the share of time that it
waits. Both with the cache of decoded pictures, as small folders are read, and without it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cyclegan_core import DataConfig, UnpairedFolders
from cyclegan_core.batches import Batches

COUNT = 40
"""Pictures of each domain."""


def main() -> None:
    """Measure every size; print a table, and write it if wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--step", type=float, default=0.1, help="seconds of a training step")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            draw(Path(folder), size)
            for cache in (True, False):
                row = measure(Path(folder), options, cache=cache)
                rows.append({"size": size, "cache": cache, **row})
    print(
        f"{'pictures':>10}{'cache':>8}{'batches':>12}{'waits at a step of':>22} {options.step:g} s"
    )
    for row in rows:
        print(
            f"{row['size']:>10}{'yes' if row['cache'] else 'no':>8}{row['per_second']:>10.1f}/s"
            f"{row['wait_share']:>22.1%}"
        )
    if options.json:
        report = {"step_seconds": options.step, "crop": options.crop, "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


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
    """Batches per second at full speed, and the share of waiting beside steps."""
    config = DataConfig(crop_size=options.crop, load_size=round(options.crop * 286 / 256))
    if not cache:
        config = replace(config, cache_bytes=0)
    data = UnpairedFolders(folder / "a", folder / "b", config)
    with Batches(data) as batches:
        start = time.perf_counter()
        for _ in range(options.batches):
            next(batches)
        per_second = options.batches / (time.perf_counter() - start)
    with Batches(data) as batches:
        next(batches)  # a training waits for its first batch, once
        start, waited = time.perf_counter(), batches.wait_seconds
        for _ in range(options.batches):
            next(batches)
            threading.Event().wait(options.step)
        share = (batches.wait_seconds - waited) / (time.perf_counter() - start)
    return {"per_second": per_second, "wait_share": share}


if __name__ == "__main__":
    main()
