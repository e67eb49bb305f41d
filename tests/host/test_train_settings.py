"""CycleGAN Train Settings: every widget arrives in the training, and what a preset does to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors import safe_open

from cyclegan_core import UnpairedFolders
from cyclegan_core.pictures.captions import caption_height
from cyclegan_core.runs.run_folder import _SAMPLE_SEED

from .client import Client, Graph
from .comfyui import Host
from .graphs import save_image, show_text, train
from .samples import ONE_LEVEL, level_difference, read_run, write_pictures

MODEL = {"num_blocks": 2, "base_channels": 5, "upsample": "resize"}
TRAIN = {
    "objective": "pix2pix",
    "directions": "both",
    "lambda_l1": 30.0,
    "lambda_features": 3.0,
    "disc_layers": 2,
    "gan_mode": "vanilla",
    "lambda_a": 8.5,
    "lambda_b": 7.5,
    "pool_size": 3,
    "lr": 0.00015,
    "lr_discriminator": 0.00005,
    "schedule": "cosine",
    "batch_size": 2,
    "ema_decay": 0.99,
    "sample_every": 7,
    "save_every": 9,
    "accumulate": 2,
    "recompute": True,
    "cuda_graph": False,
    "precision": "bf16",
}
DATA = {"preprocess": "crop", "flip": False}


@pytest.fixture
def training(info: dict[str, Any], folders: tuple[str, str], run_dir: Path) -> Graph:
    return train(info, folders, run_dir.name, steps=1)


def config_of(client: Client, graph: Graph, run_dir: Path) -> dict[str, Any]:
    """Run a training that must succeed; return the settings that it notes."""
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    return read_run(run_dir)["config"]


def test_every_widget_is_covered(info: dict[str, Any]) -> None:
    (widgets,) = info["CycleGAN_TrainSettings"]["input"].values()
    assert set(widgets) == {"preset", *MODEL, *TRAIN, *DATA}
    for name, value in (MODEL | TRAIN | DATA).items():
        assert widgets[name][1]["default"] != value, f"{name} must differ from the default"


def test_what_is_for_experts_is_folded_away(info: dict[str, Any]) -> None:
    schema = info["CycleGAN_TrainSettings"]
    assert next(iter(schema["input_order"]["required"])) == "preset"
    for name, (_, options) in schema["input"]["required"].items():
        group = options["tooltip"].partition(". ")[0]
        folded = options.get("advanced", False)
        assert folded == (name not in ("preset", "objective"))
        assert not folded or group in ("Networks", "Losses", "Learning", "Run")


def test_every_widget_arrives(client: Client, training: Graph, run_dir: Path) -> None:
    training["settings"]["inputs"] |= MODEL | TRAIN | DATA
    config = config_of(client, training, run_dir)
    assert {name: config["model"][name] for name in MODEL} == MODEL
    assert {name: config[name] for name in TRAIN} == TRAIN


def test_pairs_beside_each_other_in_one_folder(
    client: Client, host: Host, training: Graph, run_dir: Path
) -> None:
    """Chosen twice. The grid is what pix2pix has: a picture, its translation, its partner."""
    write_pictures(host.input_dir / "beside", count=3, seed=5)
    for name in ("folder_a", "folder_b"):
        training["train"]["inputs"][name] = "beside"
    training["settings"]["inputs"] |= {"objective": "pix2pix", "directions": "b_to_a"}
    training |= {"save": save_image("train", 2), "text": show_text("train", 3)}
    run = client.run_prompt(training)
    assert run.ending == "execution_success", run.failure
    samples = run_dir / "samples" / "step_0000001.jpg"
    with Image.open(samples) as grid:
        assert grid.size == (3 * 32, caption_height(32) + 4 * 32)
    (summary,) = run.outputs["text"]["text"]
    assert re.search(r"gan_ba [\d.]+, l1_a [\d.]+, disc_a [\d.]+$", summary, re.MULTILINE)
    assert "left halves" in summary
    header = (run_dir / "losses.csv").read_text().splitlines()[0]
    assert header == "step,lr,gan_ba,l1_a,disc_a"
    training["settings"]["inputs"]["objective"] = "cyclegan"
    assert "folder_a and folder_b are the same; choose one" in client.run_prompt(training).failure


@pytest.mark.parametrize("data", [DATA, {"preprocess": "square_and_crop", "flip": True}])
def test_pictures_are_prepared_as_the_widgets_say(
    client: Client,
    host: Host,
    training: Graph,
    folders: tuple[str, str],
    run_dir: Path,
    data: dict[str, Any],
) -> None:
    """The grid's first and fourth column are the training's pictures: crops of 32 from 36 pixels,
    which is 286 / 256 of it."""
    training["settings"]["inputs"] |= data
    training["save"] = save_image("train", 2)
    (grid,) = client.save_images(training)
    dirs = (host.input_dir / name for name in folders)
    pictures = UnpairedFolders(*dirs, load_size=36, crop_size=32, **data)
    for row in range(4):
        sample = pictures.sample(row, seed=_SAMPLE_SEED)
        for column, expected in ((0, sample.a), (3, sample.b)):
            left, top = 32 * column, caption_height(32) + 32 * row
            found = grid.crop((left, top, left + 32, top + 32))
            assert level_difference(found, expected[None]) <= ONE_LEVEL


def test_defaults_are_the_papers_and_zero_means_the_same(
    client: Client, training: Graph, run_dir: Path
) -> None:
    config = config_of(client, training, run_dir)
    assert config["lr"] == 2e-4
    assert config["precision"] in ("fp32", "bf16")  # auto: what this processor is fast at
    assert config["lr_discriminator"] is None
    assert config["lambda_a"] == config["lambda_b"] == 10
    assert config["lambda_identity"] == 0.5
    assert config["max_minutes"] is None


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("style", {"lambda_identity": 0.5}),
        ("object", {"lambda_a": 8, "lambda_b": 8}),
        ("enhance", {"lambda_identity": 1.0}),
        ("labels", {"lambda_identity": 0.0}),
    ],
)
def test_preset_goes_before_the_widgets_and_leaves_the_rest(
    client: Client, training: Graph, run_dir: Path, preset: str, changes: dict[str, float]
) -> None:
    training["settings"]["inputs"] |= {"preset": preset, "lambda_a": 3.0, "lambda_b": 3.0}
    training["train"]["inputs"]["lambda_identity"] = 0.3
    config = config_of(client, training, run_dir)
    assert {name: config[name] for name in changes} == changes
    if "lambda_a" not in changes:
        assert config["lambda_a"] == 3
    assert config["model"]["base_channels"] == 4


def test_the_quick_preset_brings_its_networks_and_pictures(
    client: Client, training: Graph, run_dir: Path
) -> None:
    """Its deepest features want crops of 64 pixels, from pictures twice as large."""
    training["settings"]["inputs"] |= {"preset": "quick"}
    training["train"]["inputs"]["image_size"] = 64
    config = config_of(client, training, run_dir)
    assert (config["discriminator"], config["gan_mode"]) == ("patch_features", "hinge")
    assert (config["model"]["norm"], config["model"]["base_channels"]) == ("none", 32)
    with safe_open(run_dir / "state.safetensors", "pt") as state:
        data = json.loads(state.metadata()["state"])["data_config"]
    assert (data["load_size"], data["crop_size"], data["scales"]) == (128, 64, 2.0)


def test_presets_of_the_widget_are_those_tested_here(info: dict[str, Any]) -> None:
    _, options = info["CycleGAN_TrainSettings"]["input"]["required"]["preset"]
    assert options["options"] == ["none", "style", "object", "enhance", "labels", "quick"]
    assert "labels sets lambda_identity 0.0" in options["tooltip"]
