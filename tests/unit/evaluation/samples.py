"""Folders and extractors for the tests of the evaluation; fast, and with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cyclegan_core.config import EvaluationConfig
from cyclegan_core.evaluation import Evaluator, Extractor

ROOT = Path(__file__).parents[3]
PHOTOGRAPH = ROOT / "tests" / "unit" / "astronaut.jpg"
METRIC = "KID (Colours)"
"""What `make_evaluator` gives decides by this."""


class Colours(Extractor):
    """Twelve features: the mean colours of the four quarters."""

    name = "Colours"
    side = 8

    def forward(self, pictures: Tensor) -> Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(pictures, 2).flatten(1)


def smooth(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A picture of a few colours that run into each other; `size` is width and height."""
    generator = np.random.default_rng(seed)
    corners = generator.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


def fill(folder: Path, count: int, seed: int, size=(24, 20), suffix=".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        smooth(1000 * seed + number, size).save(folder / f"{number:03}{suffix}")
    return folder


def make_evaluator(root: Path) -> Evaluator:
    """Of four held-out pictures each, drawn into `root`/a and `root`/b; by their colours."""
    config = EvaluationConfig(subset_size=4, num_subsets=5)
    return Evaluator(
        fill(root / "a", 4, 1), fill(root / "b", 4, 2), config=config, extractor=Colours()
    )


def pixels(path: Path) -> np.ndarray:
    """(H,W,3) float64 in [0,1]."""
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 255
