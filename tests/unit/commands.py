"""Tools for the tests of the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cyclegan_core import CycleGAN, ModelConfig, save_model
from cyclegan_core.cli.main import main

from .checkpoint import foreign
from .processes import Result, environment

SMALL = ModelConfig(base_channels=2, num_blocks=1, domain_a="horse", domain_b="zebra")


class Shell:
    """The command in this process; what it prints is caught."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *argv: object) -> Result:
        self.capsys.readouterr()
        try:
            code = main([str(word) for word in argv])
        except SystemExit as error:  # how a wrong command line ends
            code = error.code
        return Result(code, *self.capsys.readouterr())


def start(argv: Sequence[object], **options) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "cyclegan_core.cli", *map(str, argv)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def save(path: Path, config: ModelConfig = SMALL, **settings) -> CycleGAN:
    """Write a small model whose output varies."""
    model = CycleGAN(config, **settings)
    foreign.scramble(model, 3)
    save_model(model, path)
    return model


def draw(path: Path, mode: str = "RGB", size: tuple[int, int] = (13, 9), **options) -> Path:
    """Write a colourful picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    rows, columns = np.mgrid[0:height, 0:width]
    samples = np.stack([rows * 20, columns * 14, 255 - rows * 9, 255 - columns * 9], -1)
    image = Image.fromarray(samples.astype(np.uint8))
    (image if mode == "RGBA" else image.convert("RGB").convert(mode)).save(path, **options)
    return path
