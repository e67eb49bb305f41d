"""Small models, pictures as tensors, and what the tests measure on results."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

import cyclegan_core

from .comfyui import Host

ONE_LEVEL = 1.01
"""SaveImage cuts off what is behind the 8-bit level; the hundredth is float rounding."""


def write_models(models_dir: Path) -> None:
    """Write the model files that tests name: one model in several shapes, and two wrong files."""
    model = random_model(seed=1)
    cyclegan_core.save_model(model, models_dir / "both.safetensors")
    torch.save(model.generator("a_to_b").state_dict(), models_dir / "forward.pth")
    torch.save(model.generator("b_to_a").state_dict(), models_dir / "backward.pth")
    (models_dir / "damaged.safetensors").write_bytes(b"these are no weights")
    (models_dir / "notes.txt").write_text("not a model", encoding="utf-8")


def random_model(*, seed: int) -> cyclegan_core.CycleGAN:
    """A small CycleGAN with random weights: 4 base channels, 1 residual block."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = cyclegan_core.ModelConfig(base_channels=4, num_blocks=1)
        return cyclegan_core.CycleGAN(config).eval()


def save_random_model(path: Path, *, seed: int) -> None:
    """Write a small CycleGAN with random weights."""
    cyclegan_core.save_model(random_model(seed=seed), path)


def random_halves(folder: Path, *, seed: int) -> dict[str, bytes]:
    """The two generators of a random model, as the files of a repository with a pair; by name."""
    model = random_model(seed=seed)
    halves = {}
    for name, direction in (("gen_AB.pth", "a_to_b"), ("gen_BA.pth", "b_to_a")):
        path = folder / name
        torch.save(model.generator(direction).state_dict(), path)
        halves[name] = path.read_bytes()
    return halves


def copy_model(host: Host, source: str, name: str) -> Path:
    """Copy a model file of the host to another name; return its path."""
    return Path(shutil.copy(host.models_dir / source, host.models_dir / name))


def to_tensor(image: Image.Image) -> torch.Tensor:
    """A picture as the library takes it, (1,C,H,W) in [0,1]."""
    return torch.from_numpy(np.array(image)).float().div(255).movedim(-1, 0)[None]


def level_difference(image: Image.Image, expected: torch.Tensor) -> float:
    """Greatest difference of a saved picture from (1,C,H,W) in [0,1], in 8-bit levels."""
    return float((to_tensor(image) - expected).abs().max() * 255)


def assert_one_sentence(message: str) -> None:
    """A person can read it: one line, one full stop at its end, no Python in it."""
    text = message.strip()
    assert "\n" not in text, text
    assert 20 <= len(text) <= 300, text
    assert text.endswith("."), text
    assert len(re.findall(r"[.!?](?=\s+[A-Z])", text)) == 0, f"more than one sentence: {text}"
    assert not re.search(r"Traceback|File \"|Error:|Exception|0x[0-9a-f]{6}", text), text


def write_pictures(folder: Path, *, count: int, seed: int) -> None:
    """Fill a folder with small PNGs, 44×40: soft spots of random colours."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(seed)
    for number in range(count):
        spots = Image.fromarray(dice.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        spots.resize((44, 40), Image.Resampling.BICUBIC).save(folder / f"{number}.png")


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a .safetensors file."""
    return load_file(path)


def read_run(run_dir: Path) -> dict[str, Any]:
    """What a training says of itself."""
    return json.loads((run_dir / "run.json").read_text(encoding="utf-8"))


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path in it; without the lock, which is empty."""
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", ".owner")
    )
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
