"""Names that lead elsewhere: whatever a prompt says, each path stays under its folder.

A prompt may come from the page, a workflow file or a program; all are queued in the same way, and
values that a combo does not offer come through it, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import cyclegan_core
from tests.unit.hub.server import Hub
from tests.unit.names import HOSTILE, SCRIPTS

from .client import Client, Graph, png_bytes
from .comfyui import Host
from .graphs import load_image, load_model, node, save_image, train
from .samples import assert_one_sentence, write_pictures

Door = Callable[[dict[str, Any], tuple[str, str], str], tuple[Graph, str]]
"""From the schemas, two good folders and a name to a prompt, and the node that takes the name."""


def load(_: object, __: object, name: str) -> tuple[Graph, str]:
    return load_model(name) | {"show": node("PreviewAny", source=["load", 1])}, "load"


def load_back(_: object, __: object, name: str) -> tuple[Graph, str]:
    graph = load_model("forward.pth") | {"show": node("PreviewAny", source=["load", 1])}
    graph["load"]["inputs"]["model_name_b_to_a"] = name
    return graph, "load"


def save(_: object, __: object, name: str) -> tuple[Graph, str]:
    keep = node("CycleGAN_Save", model=["load", 0], name=name)
    return load_model("both.safetensors") | {"keep": keep}, "keep"


def download(**inputs: str) -> tuple[Graph, str]:
    settings = {"catalog": "typed below", "repo_id": "you/model", "revision": "", "filename": ""}
    return {"load": node("CycleGAN_Download", **(settings | inputs))}, "load"


def distill(folder: str, run_name: str) -> tuple[Graph, str]:
    settings = {
        "base_channels": 4,
        "num_blocks": 0,
        "num_pairs": 2,
        "steps": 1,
        "direction": "auto",
    }
    words = {"model": ["load", 0], "folder": folder, "run_name": run_name}
    made = node("CycleGAN_Distill", **words, **settings)
    return load_model("both.safetensors") | {"distill": made}, "distill"


DOORS: dict[str, Door] = {
    "Load, model_name": load,
    "Load, model_name_b_to_a": load_back,
    "Save, name": save,
    "Download, catalog": lambda _, __, name: download(catalog=name),
    "Download, repo_id": lambda _, __, name: download(repo_id=name),
    "Download, repo": lambda _, __, name: download(repo_id=f"you/{name}"),
    "Download, revision": lambda _, __, name: download(revision=name),
    "Download, filename": lambda _, __, name: download(filename=name),
    "Train, run_name": lambda info, good, name: (train(info, good, name), "train"),
    "Train, folder_a": lambda info, good, name: (train(info, (name, good[1]), "never"), "train"),
    "Train, folder_b": lambda info, good, name: (train(info, (good[0], name), "never"), "train"),
    "Train, output folder": lambda info, good, name: (
        train(info, (good[0], f"{name} [output]"), "never"),
        "train",
    ),
    "Train, folder_test_a": lambda info, good, name: (
        train(info, good, "never", folder_test_a=name, folder_test_b=good[1]),
        "train",
    ),
    "Distill, run_name": lambda _, good, name: distill(good[0], name),
    "Distill, folder": lambda _, __, name: distill(name, "never"),
}


@pytest.fixture
def hub(one_hub: Hub, host: Host, tmp_path: Path) -> Iterator[Hub]:
    """It has one model."""
    one_hub.reset()
    cyclegan_core.load_model(host.models_dir / "both.safetensors").save_pretrained(tmp_path)
    one_hub.add("you/model", {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    yield one_hub
    one_hub.reset()


def everything(host: Host) -> set[str]:
    """All files and folders, inside the host's and beside it."""
    return {str(path) for path in host.base_dir.parent.rglob("*")}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_a_name_that_leads_elsewhere_is_refused(
    client: Client,
    host: Host,
    hub: Hub,
    info: dict[str, Any],
    folders: tuple[str, str],
    door: Door,
) -> None:
    before = everything(host)
    for kind, name in HOSTILE.items():
        graph, node_id = door(info, folders, name)
        sentence = client.refusal(graph, node_id).strip()  # the host ends it with a newline
        assert sentence.isprintable(), kind
        if "catalog" not in sentence:  # which names all models
            assert_one_sentence(sentence)
    assert everything(host) == before
    assert hub.errors == []


@pytest.mark.parametrize("name", [5, 1.5, True, None, {}, {"up": "../outside"}])
def test_what_is_no_name_is_refused(
    client: Client, host: Host, info: dict[str, Any], folders: tuple[str, str], name: object
) -> None:
    """Combos that the host does not check take what a program sends."""
    before = everything(host)
    for kind in ("Load, model_name", "Train, folder_a", "Distill, folder"):
        graph, node_id = DOORS[kind](info, folders, name)
        assert client.refusal(graph, node_id).strip().isprintable()
    assert everything(host) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_folder_that_is_offered_is_taken(
    client: Client, host: Host, info: dict[str, Any]
) -> None:
    for side in "ab":
        write_pictures(host.input_dir / "at 12:30" / side, count=2, seed=ord(side))
    run = client.run_prompt(train(info, ("at 12:30/a", "at 12:30/b"), "half past", steps=1))
    assert run.ending == "execution_success", run.failure


@pytest.mark.parametrize("name", SCRIPTS.values(), ids=SCRIPTS)
def test_names_in_every_script(client: Client, host: Host, info: dict[str, Any], name: str) -> None:
    """Pictures in a folder of that name become a run of that name, whose model is saved as it."""
    for side in "ab":
        write_pictures(host.input_dir / name / side, count=2, seed=ord(side))
    graph = train(info, (f"{name}/a", f"{name}/b"), name, steps=1)
    graph["keep"] = node("CycleGAN_Save", model=["train", 0], name=f"{name}/{name}")
    graph |= load_image(client.upload_image(Image.new("RGB", (24, 20)), f"{name}.png"))
    graph["again"] = node("CycleGAN_Translate", model=["train", 0], image=["image", 0])
    graph["again"]["inputs"] |= {"direction": "A→B", "memory": "auto", "precision": "fp32"}
    graph["again"]["inputs"]["strength"] = 1.0
    graph["save"] = save_image("again")
    graph["save"]["inputs"]["filename_prefix"] = name
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    assert (host.output_dir / "cyclegan" / name / "model.safetensors").is_file()
    assert (host.models_dir / name / f"{name}.safetensors").is_file()
    assert client.images(run, "save")[0].size == (24, 20)
    run = client.run_prompt(load(None, None, f"{name}/{name}.safetensors")[0])
    assert run.ending == "execution_success", run.failure


@pytest.mark.parametrize("where", ["../outside", "a/../../outside", "/outside", "C:/../../outside"])
def test_an_upload_stays_under_the_input_folder(client: Client, host: Host, where: str) -> None:
    """The route is the host's own; folders that come by it are what our combos list."""
    before = everything(host)
    files = {"image": ("outside.png", png_bytes(Image.new("RGB", (8, 8))), "image/png")}
    client.request("POST", "/upload/image", files=files, data={"subfolder": where})
    new = [Path(path) for path in everything(host) - before]
    assert all(path.is_relative_to(host.input_dir) for path in new), new
