"""Download CycleGAN from Hub, against a real HTTP server that speaks the Hub's protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image

import cyclegan_core
from tests.unit.hub.repositories import Fault
from tests.unit.hub.server import Hub

from .client import Client, Graph, Message
from .comfyui import Host
from .graphs import load_image, node, show_text, translate
from .samples import (
    ONE_LEVEL,
    assert_one_sentence,
    level_difference,
    random_halves,
    random_model,
    to_tensor,
)

REPO = "somebody/horses"
FILE = "somebody--horses.safetensors"
CATALOG = "horse2zebra-johko (johko/cyclegan-horse2zebra)"


@pytest.fixture
def hub(one_hub: Hub, host: Host) -> Iterator[Hub]:
    """Empty, and so is the host afterwards."""
    one_hub.reset()
    yield one_hub
    for fault in one_hub.faults:
        fault.go.set()
    for path in host.models_dir.glob("*--*"):
        path.unlink()
    assert one_hub.errors == []


@pytest.fixture
def ours(hub: Hub, tmp_path) -> cyclegan_core.CycleGAN:
    """The model in REPO, published by the library."""
    model = random_model(seed=7)
    model.save_pretrained(tmp_path)
    hub.add(REPO, {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    return model


def download(**inputs: object) -> Graph:
    """The node `load`, which downloads; `name`, which tells the file's name."""
    settings = {"catalog": "typed below", "repo_id": REPO, "revision": "", "filename": ""}
    return {
        "load": node("CycleGAN_Download", **settings | inputs),
        "name": show_text("load", 1),
    }


def test_a_repository_becomes_a_model_that_translates(
    client: Client, host: Host, hub: Hub, ours: cyclegan_core.CycleGAN, small: Image.Image
) -> None:
    name = client.upload_image(small, "small.png")
    run = client.run_prompt(download() | load_image(name) | translate())
    assert run.ending == "execution_success", run.failure
    assert run.outputs["name"]["text"] == [FILE]
    (result,) = client.images(run, "save")
    assert level_difference(result, ours.translate(to_tensor(small))) <= ONE_LEVEL
    assert FILE in str(client.object_info()["CycleGAN_Load"]["input"])  # after R
    sizes = [p for p in run.of_type("progress") if p["node"] == "load"]
    weights = hub.repositories[REPO].files["model.safetensors"].size
    assert sizes[-1]["value"] == sizes[-1]["max"] > weights  # and config.json


def test_the_second_time_asks_nobody(
    client: Client, hub: Hub, ours: cyclegan_core.CycleGAN
) -> None:
    assert client.run_prompt(download()).ending == "execution_success"
    hub.requests.clear()
    # Another spelling, so that it is not the host's own cache that answers.
    run = client.run_prompt(download(filename=" "))
    assert run.ending == "execution_success", run.failure
    assert "load" in run.executed_nodes
    assert hub.requests == []
    run = client.run_prompt(download(update=True))
    assert run.ending == "execution_success", run.failure
    assert len(hub.requests) == 1  # whether there is a newer commit


def test_an_unchanged_download_is_not_run_again_but_a_lost_file_is(
    client: Client, host: Host, ours: cyclegan_core.CycleGAN
) -> None:
    assert "load" in client.run_prompt(download()).executed_nodes
    client.run_prompt(download())  # from here on the host knows the file
    assert "load" not in client.run_prompt(download()).executed_nodes
    (host.models_dir / FILE).unlink()
    assert "load" in client.run_prompt(download()).executed_nodes
    assert (host.models_dir / FILE).is_file()


def test_a_pair_from_the_catalog_becomes_one_model(client: Client, host: Host, hub: Hub) -> None:
    hub.add("johko/cyclegan-horse2zebra", random_halves(host.base_dir, seed=8))
    run = client.run_prompt(download(catalog=CATALOG, repo_id=""))
    assert run.ending == "execution_success", run.failure
    (name,) = run.outputs["name"]["text"]
    info = cyclegan_core.inspect_checkpoint(host.models_dir / name)
    assert info.directions == ("a_to_b", "b_to_a")


def test_cancel_leaves_no_model(client: Client, host: Host, hub: Hub, tmp_path) -> None:
    """The library tells of every 10 MiB; the server waits behind the first."""
    config = cyclegan_core.ModelConfig(num_blocks=6)
    model = cyclegan_core.CycleGAN(config, directions=["a_to_b"])
    model.save_pretrained(tmp_path)
    hub.add(REPO, {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    fault: Fault = hub.fail(r"GET /\S*[0-9a-f]{64}|GET .*model\.safetensors", hold=21 * 2**20)

    def cancel(message: Message) -> None:
        if message.type == "progress" and message.data["value"] > 10 * 2**20:
            client.interrupt()
            fault.go.set()

    run = client.run_prompt(download(), on_message=cancel)
    assert run.ending == "execution_interrupted", run.failure
    assert list(host.models_dir.glob("*--*")) == []
    assert not [name for name in host.models_dir.iterdir() if "partial" in name.name]
    run = client.run_prompt(download())
    assert run.ending == "execution_success", run.failure
    assert (host.models_dir / FILE).is_file()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"repo_id": ""}, "repo_id is empty"),
        ({"repo_id": "not a repository"}, "not a repository"),
        ({"repo_id": "nobody/nothing"}, "nobody/nothing"),
        ({"revision": "no-such-branch"}, "no-such-branch"),
        ({"filename": "no_such.pth"}, "no_such.pth"),
        ({"catalog": "no such model"}, "catalog must be one of"),
    ],
)
def test_errors_are_one_sentence_on_the_node(
    client: Client, host: Host, ours: cyclegan_core.CycleGAN, inputs: dict[str, str], words: str
) -> None:
    run = client.run_prompt(download(**inputs))
    assert run.error is not None, f"ended with {run.ending}"
    assert run.error["node_id"] == "load"
    assert words in run.error["exception_message"]
    assert_one_sentence(run.error["exception_message"])
    assert list(host.models_dir.glob("*--*")) == []
