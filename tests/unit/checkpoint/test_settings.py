"""What a file of ours says about itself, read without torch: the same as a description."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cyclegan_core import inspect_checkpoint, save_model
from cyclegan_core.checkpoint.settings import read_header
from cyclegan_core.hub.catalog import bundled_models

from ..test_model import RESNET, make
from . import foreign


def agree(path: Path) -> None:
    header, info = read_header(path), inspect_checkpoint(path)
    assert header is not None
    assert header.config == info.config
    assert header.directions == info.directions
    assert header.training == info.metadata
    assert header.source == info.source


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models(name: str) -> None:
    agree(bundled_models()[name])


@pytest.mark.parametrize("directions", [("a_to_b",), ("b_to_a",), ("a_to_b", "b_to_a")])
def test_saved_models(directions, tmp_path: Path) -> None:
    model = make(RESNET, directions=directions)
    model.training_info = {"steps": 3}
    path = tmp_path / "model.safetensors"
    save_model(model, path, dtype=torch.float16, source={"repo": "me/model"})
    agree(path)


def test_what_has_to_be_looked_at_closely(tmp_path: Path) -> None:
    """Another layout, other numbers, another version, a part of a file, or none: no header."""
    path = tmp_path / "model.safetensors"
    save_model(make(RESNET), path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        # Copies: older safetensors maps the file, which is written over below.
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    content = path.read_bytes()
    assert read_header(path) is not None
    save_file({key: tensor.to(torch.int8) for key, tensor in tensors.items()}, path, metadata)
    assert read_header(path) is None
    save_file(tensors, path, metadata | {"format_version": "9"})
    assert read_header(path) is None
    save_file(tensors, path, metadata | {"config": "[1]"})
    assert read_header(path) is None
    save_file({}, path, metadata)
    assert read_header(path) is None
    path.write_bytes(content[:-1])
    assert read_header(path) is None
    save_file(foreign.upstream().state_dict(), path)
    assert read_header(path) is None
    assert read_header(tmp_path / "nothing.safetensors") is None
    assert read_header(tmp_path) is None
