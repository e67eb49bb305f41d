"""How fast pictures come: of each batch, the seconds to decode it and the wait of a busy trainer.

    python benchmarks/input_pipeline.py [--sizes 256 1024] [--crop 256] [--batches 100]
                                        [--step 0.1] [--json FILE]

Two folders of noise photographs (JPEG) are drawn for each size. `alone` takes batches as fast as
they come, in the caller's thread (0) and with decoding threads; `busy` keeps the processor's other
threads free and takes one every `--step` seconds, as a training whose step takes so long on a GPU
does: told is the share of time that it waits, the first batch left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cyclegan_core import UnpairedFolders
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
            rows.append({"size": size, **measure(Path(folder), options)})
    print(f"{'pictures':>10}{'0 threads':>14}{'2 threads':>14}{'waits at':>12}{options.step:>6g} s")
    for row in rows:
        print(
            f"{row['size']:>10}{row['alone_0']:>11.1f}/s{'':1}{row['alone_2']:>11.1f}/s{'':1}"
            f"{row['wait_share']:>18.1%}"
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


def measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Batches per second at full speed, and the share of waiting beside steps."""
    load_size = round(options.crop * 286 / 256)
    data = UnpairedFolders(folder / "a", folder / "b", crop_size=options.crop, load_size=load_size)
    row: dict[str, float] = {}
    for num_threads in (0, 2):
        with Batches(data, num_threads=num_threads) as batches:
            start = time.perf_counter()
            for _ in range(options.batches):
                next(batches)
            row[f"alone_{num_threads}"] = options.batches / (time.perf_counter() - start)
    with Batches(data) as batches:
        next(batches)
        start, waited = time.perf_counter(), batches.wait_seconds
        for _ in range(options.batches):
            next(batches)
            threading.Event().wait(options.step)
        row["wait_share"] = (batches.wait_seconds - waited) / (time.perf_counter() - start)
    return row


if __name__ == "__main__":
    main()
