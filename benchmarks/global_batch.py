"""What larger steps do to a training, by learning rate, when it sees equally many pictures.

    python benchmarks/global_batch.py [--pictures 1600] [--batches 1 4 8] [--seeds 2]

R ranks with batch B train as one rank with batch R × B does, so one process shows it all. The task
has a known answer: domain B is domain A under a change of colours, in other pictures; the score is
the mean absolute difference from the true partner of pictures that were held out, in [0,1]. Rates
are the paper's 2e-4, times the square root of the batch, and times the batch.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from PIL import Image

from cyclegan_core import DataConfig, ModelConfig, TrainConfig, Trainer, UnpairedFolders

SIDE = 32
RATES = {"the same": 0.0, "times its square root": 0.5, "times itself": 1.0}
"""Exponents of the batch."""


def recoloured(pictures: np.ndarray) -> np.ndarray:
    """Domain B of (…,3) in [0,1]: channels exchanged, darker, with a tint."""
    return 0.7 * pictures[..., [2, 0, 1]] + np.array([0.25, 0.05, 0.0])


def draw(count: int, seed: int) -> np.ndarray:
    """(count,SIDE,SIDE,3) in [0,1]: rectangles of all colours on a soft ground."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 1, SIDE)[None, :, None, None]
    pictures = rng.random((count, 1, 1, 3)) * ramp + rng.random((count, 1, 1, 3)) * (1 - ramp)
    pictures = np.repeat(pictures, SIDE, axis=2)
    for picture in pictures:
        for _ in range(3):
            top, left = rng.integers(0, SIDE - 8, 2)
            height, width = rng.integers(6, 16, 2)
            picture[top : top + height, left : left + width] = rng.random(3)
    return pictures


def save(folder: Path, pictures: np.ndarray) -> None:
    """As files of 8 bits."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        Image.fromarray((255 * picture).round().astype(np.uint8)).save(folder / f"{number}.png")


def score(data: UnpairedFolders, batch: int, lr: float, pictures: int, seed: int) -> float:
    """Train, and compare with the truth."""
    model = ModelConfig(base_channels=8, num_blocks=2, norm="none", image_size=SIDE)
    config = TrainConfig(
        model=model,
        **{"disc_channels": 16, "disc_layers": 2, "lr": lr, "batch_size": batch, "seed": seed},
        **{"max_steps": pictures // batch, "ema_decay": 0.0},
    )
    trained = Trainer(config, data).run()
    held_out = draw(64, 99)
    a = torch.from_numpy(held_out).permute(0, 3, 1, 2).float()
    b = torch.from_numpy(recoloured(held_out)).permute(0, 3, 1, 2).float()
    return float((trained.translate(a, "a_to_b") - b).abs().mean())


def main() -> None:
    """A line for each batch and rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1600)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save(folder / "a", draw(200, 1))
        save(folder / "b", recoloured(draw(200, 2)))
        settings = DataConfig(load_size=SIDE, crop_size=SIDE)
        data = UnpairedFolders(folder / "a", folder / "b", settings)
        for batch in options.batches:
            for rate, power in RATES.items():
                if batch == 1 and power > 0:
                    continue
                began, lr = time.process_time(), 2e-4 * batch**power
                scores = [
                    score(data, batch, lr, options.pictures, seed) for seed in range(options.seeds)
                ]
                print(
                    f"batch {batch}, rate {rate} ({lr:.1e}): {mean(scores):.4f} "
                    f"({', '.join(f'{each:.4f}' for each in scores)}), "
                    f"{time.process_time() - began:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
