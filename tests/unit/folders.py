"""Folders of noise, and how samples of them are compared."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

SMALL = {"load_size": 20, "crop_size": 16}
WHOLE = {"preprocess": "none", "flip": False}


def noise(seed, size=(24, 20)):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def fill(folder, count, seed=0, size=(24, 20)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise(1000 * seed + number, size).save(folder / f"{number:03}.png")
    return folder


def paths(folders):
    """The pictures in use, in order: of A, of B."""
    return tuple([file.path for file in side.files] for side in (folders._a, folders._b))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def names(samples):
    return [(sample.path_a.name, sample.path_b.name) for sample in samples]


def same(one, other):
    return (
        names([one]) == names([other])
        and torch.equal(one.a, other.a)
        and torch.equal(one.b, other.b)
    )
