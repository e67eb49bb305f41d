"""What a person reads on the training node when something is wrong, and what stays whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from PIL import Image

import cyclegan_core

from .client import Client, Graph
from .comfyui import Host
from .graphs import node, train
from .samples import (
    ONE_LEVEL,
    assert_one_sentence,
    contents,
    level_difference,
    read_run,
    to_tensor,
    write_pictures,
)


@pytest.fixture
def training(info: dict[str, Any], folders: tuple[str, str], run_dir: Path) -> Graph:
    """Two steps from scratch."""
    return train(info, folders, run_dir.name, steps=2)


def succeed(client: Client, graph: Graph) -> None:
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure


def failure_of(client: Client, graph: Graph) -> str:
    """Run a training that must fail; return the sentence shown on its node."""
    run = client.run_prompt(graph)
    assert run.error is not None, f"ended with {run.ending}"
    assert run.error["node_id"] == "train"
    assert_one_sentence(run.error["exception_message"])
    assert run.texts["train"][-1] == run.error["exception_message"].rstrip("\n")  # where one looks
    return run.error["exception_message"]


@pytest.mark.parametrize(
    ("folder_a", "said"),
    [
        ("nowhere", "There is no folder 'nowhere'"),
        ("put folders into input, press R", "There are no folders of pictures yet; put some"),
        ("../output", "'../output' is not a folder under ComfyUI's input"),
        ("/", "'/' is not a folder under ComfyUI's input"),
        ("spots/../..", "is not a folder under ComfyUI's input"),
        ("", "'' is not a folder under ComfyUI's input"),
        ("spots/cold", "folder_a and folder_b are the same"),
        ("./spots/cold/", "folder_a and folder_b are the same"),
    ],
)
def test_wrong_folder(
    client: Client, training: Graph, run_dir: Path, folder_a: str, said: str
) -> None:
    training["train"]["inputs"]["folder_a"] = folder_a
    assert said in failure_of(client, training)
    assert not run_dir.exists()


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "/x", "C:x", "", " ", ".", "..", "x\ny", "x" * 200]
)
def test_wrong_run_name(client: Client, training: Graph, name: str) -> None:
    training["train"]["inputs"]["run_name"] = name
    assert "is not a folder name" in failure_of(client, training)


def test_wrong_run_name_from_another_node(client: Client, host: Host, training: Graph) -> None:
    """It is known only when the node's turn comes."""
    training["name"] = node("PrimitiveString", value="../elsewhere")
    training["train"]["inputs"]["run_name"] = ["name", 0]
    assert "'../elsewhere' is not a folder name" in failure_of(client, training)
    assert list(host.base_dir.rglob("elsewhere")) == []


@pytest.mark.parametrize(("count", "said"), [(0, "holds no pictures"), (1, "needs at least 2")])
def test_too_few_pictures(
    client: Client, host: Host, training: Graph, run_dir: Path, count: int, said: str
) -> None:
    write_pictures(host.input_dir / f"only{count}", count=count, seed=1)
    training["train"]["inputs"]["folder_a"] = f"only{count}"
    assert said in failure_of(client, training)
    assert not run_dir.exists()


@pytest.mark.parametrize(
    ("node_id", "widget", "value", "said"),
    [
        ("train", "image_size", 34, "multiple of 4"),
        ("settings", "disc_layers", 5, "at least 96"),
        ("settings", "preset", "sculpture", "preset must be one of none, style"),
        ("settings", "upsample", "magic", "upsample must be one of"),
        ("settings", "preprocess", "magic", "preprocess must be one of"),
        ("settings", "schedule", "magic", "schedule must be one of"),
    ],
)
def test_setting_that_does_not_fit(
    client: Client,
    training: Graph,
    run_dir: Path,
    node_id: str,
    widget: str,
    value: object,
    said: str,
) -> None:
    training[node_id]["inputs"][widget] = value
    message = client.refusal(training, "settings", "train")
    if f"'{value}' not in" not in message:  # the words of newer hosts for a choice
        assert_one_sentence(message)
        assert said in message
    assert not run_dir.exists()


def test_existing_run_is_left_alone_unless_it_shall_go_on(
    client: Client, training: Graph, run_dir: Path
) -> None:
    succeed(client, training)
    before = contents(run_dir)
    training["train"]["inputs"] |= {"resume": False, "steps": 3}
    assert "turn resume on" in failure_of(client, training)
    assert contents(run_dir) == before
    training["train"]["inputs"]["resume"] = True
    succeed(client, training)
    assert read_run(run_dir)["step"] == 3


@pytest.mark.parametrize(
    ("node_id", "widget", "value"),
    [
        ("settings", "num_blocks", 2),
        ("settings", "upsample", "resize"),
        ("settings", "disc_layers", 2),
        ("settings", "pool_size", 3),
        ("train", "seed", 1),
    ],
)
def test_run_keeps_the_networks_it_was_started_with(
    client: Client, training: Graph, run_dir: Path, node_id: str, widget: str, value: object
) -> None:
    """And after the refusal, the same run can go on as it was."""
    succeed(client, training)
    before = contents(run_dir)
    training["train"]["inputs"]["steps"] = 3
    right, training[node_id]["inputs"][widget] = training[node_id]["inputs"][widget], value
    message = failure_of(client, training)
    assert widget in message
    now, was = (json.dumps(each).strip('"') for each in (value, right))
    assert message.rstrip() == (
        f"{run_dir.name} was begun with {widget} = {was}, not {now}; "
        "choose another run_name, or set that again."
    )
    assert contents(run_dir) == before
    training[node_id]["inputs"][widget] = right
    succeed(client, training)
    assert read_run(run_dir)["step"] == 3


def test_run_does_not_go_on_with_other_folders(
    client: Client, host: Host, training: Graph, run_dir: Path, folders: tuple[str, str]
) -> None:
    """Nothing is lost, and with its own folders it goes on."""
    succeed(client, training)
    before = contents(run_dir)
    mine = ("mine/photos", "mine/paintings")
    for seed, name in enumerate(mine, start=20):
        write_pictures(host.input_dir / name, count=3, seed=seed)
    own = training["train"]["inputs"]
    own |= {"folder_a": mine[0], "folder_b": mine[1], "steps": 3}
    assert failure_of(client, training).rstrip() == (
        f"{run_dir.name} learned from the folders input/{folders[0]} and input/{folders[1]}; "
        f"choose another run_name for input/{mine[0]} and input/{mine[1]}, or delete "
        f"output/cyclegan/{run_dir.name} to begin anew."
    )
    assert contents(run_dir) == before
    own |= {"folder_a": folders[0], "folder_b": folders[1]}
    succeed(client, training)
    assert read_run(run_dir)["step"] == 3


def test_run_keeps_its_image_size_by_the_name_of_the_widget(
    client: Client, training: Graph, run_dir: Path
) -> None:
    succeed(client, training)
    training["train"]["inputs"] |= {"image_size": 64, "steps": 3}
    assert failure_of(client, training).startswith(
        f"{run_dir.name} was begun with image_size = 32, not 64; choose another run_name"
    )


def test_diverging_training_keeps_the_last_good_state(
    client: Client, training: Graph, run_dir: Path, graph: Graph, both, small: Image.Image
) -> None:
    """At this learning rate the first step to go on with makes weights that overflow in the next;
    and the prompt after that finds the host in order."""
    succeed(client, training)
    before = contents(run_dir)
    wild = {"model": {"base_channels": 4, "num_blocks": 1}, "train": {"lr": 1e30}}
    training["wild"] = node("HostTest_TrainSettings", text=json.dumps(wild))
    training["train"]["inputs"] |= {"steps": 6, "settings": ["wild", 0]}
    message = failure_of(client, training)
    assert message.startswith("Step 4: ")
    assert "lower the learning rate" in message
    assert ".png" in message
    assert contents(run_dir) == before

    (result,) = client.save_images(graph)
    assert level_difference(result, both.translate(to_tensor(small))) <= ONE_LEVEL


def test_run_in_use_elsewhere(client: Client, training: Graph, run_dir: Path) -> None:
    succeed(client, training)
    before = contents(run_dir)
    training["train"]["inputs"]["steps"] = 3
    with FileLock(run_dir / ".lock"):
        assert "Another training is using" in failure_of(client, training)
    assert contents(run_dir) == before
    succeed(client, training)


def test_damaged_state_is_named(client: Client, training: Graph, run_dir: Path) -> None:
    succeed(client, training)
    (run_dir / "state.safetensors").write_bytes(b"cut off")
    training["train"]["inputs"]["steps"] = 3
    before = contents(run_dir)
    assert "state.safetensors" in failure_of(client, training)
    assert contents(run_dir) == before


def test_pictures_with_other_channels_than_the_start_model(
    client: Client, host: Host, training: Graph, run_dir: Path
) -> None:
    """A model from grey to colour takes the pictures so; identity makes no sense then."""
    config = cyclegan_core.ModelConfig(base_channels=4, num_blocks=1, channels_a=1)
    cyclegan_core.save_model(cyclegan_core.CycleGAN(config), host.models_dir / "grey.safetensors")
    training["load"] = node("CycleGAN_Load", model_name="grey.safetensors", direction="A→B")
    training["train"]["inputs"] |= {"start_model": ["load", 0]}
    assert "lambda_identity must be 0" in failure_of(client, training)
    training["train"]["inputs"]["lambda_identity"] = 0.0
    succeed(client, training)
    assert read_run(run_dir)["config"]["model"]["channels_a"] == 1
