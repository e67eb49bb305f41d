"""Save CycleGAN writes a file that Load CycleGAN finds by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image

import cyclegan_core

from .client import Client, Graph
from .comfyui import Host
from .graphs import load_model, node, show_text
from .samples import ONE_LEVEL, assert_one_sentence, level_difference, to_tensor


@pytest.fixture
def saved_name(host: Host) -> Iterator[str]:
    """A name no model has; the file is removed afterwards."""
    yield "saved_by_test"
    (host.models_dir / "saved_by_test.safetensors").unlink(missing_ok=True)


def save_graph(model_name: str, name: str, **settings: object) -> Graph:
    keep = node("CycleGAN_Save", model=["load", 0], name=name, **settings)
    return load_model(model_name) | {"keep": keep}


def test_saved_model_loads_by_name_and_translates_the_same(
    client: Client,
    host: Host,
    both: cyclegan_core.CycleGAN,
    graph: Graph,
    small: Image.Image,
    saved_name: str,
) -> None:
    run = client.run_prompt(save_graph("both.safetensors", saved_name))
    assert run.ending == "execution_success", run.failure
    path = host.models_dir / f"{saved_name}.safetensors"
    assert cyclegan_core.inspect_checkpoint(path).directions == both.directions
    (result,) = client.save_images(graph | load_model(path.name))
    assert level_difference(result, both.translate(to_tensor(small))) <= ONE_LEVEL


def test_foreign_file_becomes_one_of_ours(client: Client, host: Host, saved_name: str) -> None:
    run = client.run_prompt(save_graph("forward.pth", saved_name))
    assert run.ending == "execution_success", run.failure
    path = host.models_dir / f"{saved_name}.safetensors"
    assert cyclegan_core.inspect_checkpoint(path).directions == ("a_to_b",)


@pytest.mark.parametrize("name", ["", "../outside", "/outside", "a/../../../outside"])
def test_name_that_leaves_the_folder_is_refused(client: Client, host: Host, name: str) -> None:
    run = client.run_prompt(save_graph("both.safetensors", name))
    assert run.error is not None, f"ended with {run.ending}"
    assert run.error["node_id"] == "keep"
    assert_one_sentence(run.error["exception_message"])
    assert list(host.base_dir.rglob("outside*")) == []


def test_existing_file_is_replaced_only_when_asked(
    client: Client, host: Host, saved_name: str
) -> None:
    path = host.models_dir / f"{saved_name}.safetensors"
    path.write_bytes(b"precious")
    run = client.run_prompt(save_graph("both.safetensors", saved_name))
    assert run.error is not None, f"ended with {run.ending}"
    assert_one_sentence(run.error["exception_message"])
    assert path.read_bytes() == b"precious"

    run = client.run_prompt(save_graph("both.safetensors", saved_name, overwrite=True))
    assert run.ending == "execution_success", run.failure
    assert len(cyclegan_core.inspect_checkpoint(path).directions) == 2


def test_half_precision_halves_the_file(client: Client, host: Host, saved_name: str) -> None:
    graph = save_graph("both.safetensors", saved_name, precision="fp16")
    graph["name"] = show_text("keep", 0)
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    assert run.outputs["name"]["text"] == [f"{saved_name}.safetensors"]
    size = (host.models_dir / f"{saved_name}.safetensors").stat().st_size
    assert size < 0.7 * (host.models_dir / "both.safetensors").stat().st_size
