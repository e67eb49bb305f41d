"""Repositories as people publish them, with small networks in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import nn

from cyclegan_core import CycleGAN

from ..checkpoint import foreign
from ..weights import NAMED, make_model, torch_bytes

OURS = make_model(NAMED)


def network(seed: int = 1) -> nn.Module:
    """The original's generator."""
    return foreign.scramble(foreign.upstream(), seed)


def our_files(folder: Path, model: CycleGAN = OURS) -> dict[str, bytes]:
    """What `save_pretrained` writes."""
    model.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def one_half(seed: int = 1) -> bytes:
    """A weight file of the original, of one direction."""
    return torch_bytes(network(seed).state_dict())


def upit_file() -> tuple[bytes, nn.Module, nn.Module]:
    """Both generators in one file, and the networks A to B and B to A: its G_A makes A."""
    to_b, to_a = (foreign.scramble(foreign.upit(), seed) for seed in (1, 2))
    judge = nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1))  # discriminators are left out
    parts = {"G_A.": to_a, "G_B.": to_b, "D_A.": judge, "D_B.": judge}
    state = {
        prefix + key: value
        for prefix, part in parts.items()
        for key, value in part.state_dict().items()
    }
    return torch_bytes(state), to_b, to_a


def header(path: Path) -> dict[str, Any]:
    """The metadata of a .safetensors file, its JSON read."""
    with safe_open(path, framework="pt") as weights:
        texts = weights.metadata()
    return {k: json.loads(v) if v.startswith(("{", "[")) else v for k, v in texts.items()}


def only_model(folder: Path) -> Path:
    """The one file in a folder of models."""
    (path,) = folder.iterdir()
    return path


def holds_nothing(folder: Path) -> bool:
    """No model, and nothing half-written."""
    return not folder.exists() or not list(folder.iterdir())
