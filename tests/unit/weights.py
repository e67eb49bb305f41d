"""Small models and files of them, for every test that loads or saves."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.config import DIRECTIONS, Direction

from .checkpoint.foreign import scramble

SMALL = ModelConfig(base_channels=4, num_blocks=1)
NAMED = replace(
    SMALL, domain_a="photo", domain_b="Monet – 'x'", image_size=512, value_range=(0.0, 1.0)
)
PICTURE = torch.rand(2, 3, 36, 32, generator=torch.Generator().manual_seed(5)) * 2 - 1


def save(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def difference(
    model: CycleGAN, direction: Direction, network: nn.Module, picture: Tensor = PICTURE
) -> float:
    """Largest difference of the outputs, which are -1..1."""
    with torch.no_grad():
        ours, theirs = model.generator(direction)(picture), network.eval()(picture)
    assert theirs.std() > 0.01, "the test network must do something"
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item()


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def make_model(config: ModelConfig = SMALL, directions=DIRECTIONS, seed: int = 1) -> CycleGAN:
    model = CycleGAN(config, directions=directions)
    scramble(model, seed)
    return model


def same(one: CycleGAN, other: CycleGAN) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


def zip_bytes(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def torch_bytes(content: object, *, is_zip: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
    return buffer.getvalue()
