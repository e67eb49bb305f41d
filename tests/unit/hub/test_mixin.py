"""Folders as the Hugging Face Hub has them: config.json, model.safetensors, a card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from cyclegan_core import CheckpointError, CycleGAN, ModelConfig, load_model

from ..test_model import RESNET, UNET, make, photo

NAMED = replace(RESNET, domain_a="photo", domain_b="Monet", value_range=(0.0, 1.0), channels_b=1)


@pytest.mark.parametrize("config", [RESNET, UNET, NAMED])
@pytest.mark.parametrize("directions", [("a_to_b", "b_to_a"), ("b_to_a",)])
def test_a_folder_comes_back(config: ModelConfig, directions, tmp_path: Path) -> None:
    model = make(config, directions=directions)
    model.training_info = {"steps": 12}
    model.save_pretrained(tmp_path / "repo")
    loaded = CycleGAN.from_pretrained(tmp_path / "repo")
    assert loaded.config == config
    assert loaded.directions == directions
    assert loaded.training_info == {"steps": 12}
    assert not loaded.training
    images = photo(1, config.channels("b_to_a")[0], 9, 9)
    assert torch.equal(loaded.translate(images, "b_to_a"), model.translate(images, "b_to_a"))
    again = load_model(tmp_path / "repo")
    assert torch.equal(again.translate(images, "b_to_a"), model.translate(images, "b_to_a"))


def test_the_folder_describes_itself(tmp_path: Path) -> None:
    make(NAMED).save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "library_name: cyclegan" in card
    assert "- image-to-image" in card
    settings = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert ModelConfig.from_dict(settings["config"]) == NAMED


def test_a_second_save_replaces_the_first(tmp_path: Path) -> None:
    make(RESNET).save_pretrained(tmp_path)
    loaded = CycleGAN.from_pretrained(tmp_path)
    make(NAMED).save_pretrained(tmp_path)
    assert CycleGAN.from_pretrained(tmp_path).config == NAMED
    loaded.save_pretrained(tmp_path)  # keeps its own settings, not those it was found with
    assert CycleGAN.from_pretrained(tmp_path).config == RESNET


def test_loading_is_strict(tmp_path: Path) -> None:
    make(RESNET).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    del tensors["gen_ab.model.1.weight"]
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"'gen_ab.model.1.weight' is absent"):
        CycleGAN.from_pretrained(tmp_path)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds no weight file"):
        CycleGAN.from_pretrained(tmp_path)
