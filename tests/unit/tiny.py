"""A training that takes milliseconds, and how two of them are compared bit for bit."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from cyclegan_core import data
from cyclegan_core.config import DataConfig, ModelConfig, Objective, TrainConfig
from cyclegan_core.data import PairedFolders, UnpairedFolders
from cyclegan_core.training import state_file
from cyclegan_core.training.trainer import Trainer

MODEL = ModelConfig(base_channels=2, num_blocks=1, image_size=16)
PICTURES = {"load_size": 18, "crop_size": 16}
FEATURES = {
    "discriminator": "features",
    "feature_taps": (0, 1),
    "feature_width": 3,
    "gan_mode": "hinge",
    "disc_norm": "spectral",
    "augment_colour": 0.3,
    "augment_shift": 0.25,
}
"""What a discriminator in feature space can judge of pictures of 16 pixels: blocks 0 and 1."""

NETWORKS = ("gen_ab", "gen_ba", "disc_a", "disc_b")


def parity(name: str) -> ModuleType:
    """A module of tests/parity, which is no package that could be named from here."""
    if "plain_implementation" not in sys.modules:
        package = ModuleType("plain_implementation")
        package.__path__ = [str(Path(__file__).parents[1] / "parity")]
        sys.modules["plain_implementation"] = package
    return importlib.import_module(f"plain_implementation.{name}")


def make_config(**settings: Any) -> TrainConfig:
    """The paper's settings but for sizes; patches of 16 pixels are judged."""
    defaults = {"model": MODEL, "disc_channels": 2, "disc_layers": 1, "max_steps": 6}
    return TrainConfig(**defaults | settings)


def draw_folders(folder: Path, *, count: int = 3, size: tuple[int, int] = (20, 18)) -> None:
    """`folder`/a with `count` pictures of noise, `folder`/b with one more."""
    for number, name in enumerate("ab"):
        (folder / name).mkdir(parents=True)
        noise = np.random.default_rng(number)
        for picture in range(count + number):
            pixels = noise.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{picture}.png")


def open_folders(
    folder: Path, objective: Objective = "cyclegan", **settings: Any
) -> UnpairedFolders | PairedFolders:
    """What `draw_folders` made, drawn at the first call, for a training with `objective`."""
    if not folder.exists():
        draw_folders(folder)
    config = DataConfig(**PICTURES | settings)
    return data.open_folders(objective, folder / "a", folder / "b", config)


class ByHand:
    """Only what a trainer asks of its data when it is stepped by hand."""

    digest = "by hand"

    def __init__(self, num_samples: int = 1000, **settings: Any) -> None:
        self.config = DataConfig(**PICTURES | settings)
        self.num_samples = num_samples

    def __len__(self) -> int:
        return self.num_samples


def make_batch(number: int, *, size: int = 1, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise in [0,1] for A and B, (size,3,side,side)."""
    noise = torch.Generator().manual_seed(number)
    a, b = torch.rand(2, size, 3, side, side, generator=noise)
    return a, b


def networks(trainer: Trainer) -> dict[str, torch.nn.Module]:
    """By the names in `NETWORKS`."""
    model = trainer.model
    found = (model.gen_ab, model.gen_ba, trainer.state.disc_a, trainer.state.disc_b)
    return dict(zip(NETWORKS, found, strict=True))


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Copies of everything that learns: networks, average, Adam's moments."""
    tensors = state_file._tensors(trainer.state)
    tensors.pop("history", None)
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def everything(trainer: Trainer) -> dict[str, Any]:
    """Copies of all that makes up a training."""
    rng, pools = state_file._pools(trainer.state)
    tensors = state_file._tensors(trainer.state) | pools
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    return copies | {"rng": rng, "step": trainer.step, "position": trainer.position}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Bit for bit, and of the same type and shape."""
    assert sorted(one) == sorted(other)
    for name, value in one.items():
        if isinstance(value, torch.Tensor):
            theirs = other[name]
            assert (value.dtype, value.shape) == (theirs.dtype, theirs.shape), name
            assert torch.equal(value, theirs), name
        else:
            assert value == other[name], name


class StopError(Exception):
    """Raised by callbacks that end a training."""


def train(
    config: TrainConfig, data: data.TrainingData, *, until: int, state: Path | None = None
) -> Trainer:
    """A new trainer that goes on from `state`, stopped after `until` steps."""

    def stop(report):
        if report.step == until:
            raise StopError

    trainer = Trainer(config, data)
    if state is not None:
        trainer.load_state(state)
    with suppress(StopError):
        trainer.run(on_step=stop)
    return trainer
