"""Load CycleGAN keeps what it loaded by path and time of change, and says what it loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import cyclegan_core

from .client import Client, Graph
from .comfyui import Host
from .graphs import load_model, show_text
from .samples import (
    ONE_LEVEL,
    copy_model,
    level_difference,
    random_model,
    save_random_model,
    to_tensor,
)


@pytest.fixture
def changing(host: Host) -> Iterator[Path]:
    """A model file that the test overwrites."""
    path = copy_model(host, "both.safetensors", "changing.safetensors")
    yield path
    path.unlink()


def overwrite(path: Path, *, seed: int, changed_ns: int) -> None:
    """Put other weights into the file, of the same size, with this time of change."""
    save_random_model(path, seed=seed)
    os.utime(path, ns=(changed_ns, changed_ns))


def test_changed_file_is_loaded_again(
    client: Client, graph: Graph, small: Image.Image, changing: Path
) -> None:
    graph |= load_model(changing.name)
    client.save_images(graph)
    overwrite(changing, seed=7, changed_ns=changing.stat().st_mtime_ns + 10**9)
    (result,) = client.save_images(graph)
    expected = random_model(seed=7).translate(to_tensor(small))
    assert level_difference(result, expected) <= ONE_LEVEL


def test_unchanged_file_is_read_once(
    client: Client,
    both: cyclegan_core.CycleGAN,
    graph: Graph,
    small: Image.Image,
    changing: Path,
) -> None:
    """Other weights under the old time go unnoticed: so the file was not read a second time."""
    graph |= load_model(changing.name)
    client.save_images(graph)
    overwrite(changing, seed=8, changed_ns=changing.stat().st_mtime_ns)
    client.forget_results()  # so that the node runs again
    run = client.run_prompt(graph)
    assert "load" in run.executed_nodes
    (result,) = client.images(run, "save")
    assert level_difference(result, both.translate(to_tensor(small))) <= ONE_LEVEL


def test_unchanged_prompt_runs_nothing(client: Client, graph: Graph) -> None:
    client.save_images(graph)
    assert client.run_prompt(graph).executed_nodes == set()


def test_models_survive_being_unloaded_by_the_host(
    client: Client, both: cyclegan_core.CycleGAN, graph: Graph, small: Image.Image
) -> None:
    client.save_images(graph)
    client.free_memory()
    graph["translate"]["inputs"]["strength"] = 0.5
    (result,) = client.save_images(graph)
    before = to_tensor(small)
    expected = torch.lerp(before, both.translate(before), 0.5)
    assert level_difference(result, expected) <= ONE_LEVEL


def test_info_tells_what_was_loaded(client: Client) -> None:
    run = client.run_prompt(load_model("both.safetensors") | {"text": show_text("load", 1)})
    assert run.ending == "execution_success", run.failure
    (text,) = run.outputs["text"]["text"]
    assert "both.safetensors" in text
    assert re.search("A ?→ ?B", text)
    assert re.search("B ?→ ?A", text)


def test_model_of_the_extra_folder_loads(client: Client, graph: Graph, small: Image.Image) -> None:
    (result,) = client.save_images(graph | load_model("elsewhere.safetensors"))
    expected = random_model(seed=3).translate(to_tensor(small))
    assert level_difference(result, expected) <= ONE_LEVEL
