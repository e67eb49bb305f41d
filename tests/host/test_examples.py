"""What the pack offers to try it with: a photograph for the templates, and drawings to train on."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Client
from .comfyui import REPO_DIR, Host
from .graphs import load_model, node, save_image, train, translate
from .samples import contents, read_run


@pytest.mark.parametrize(
    ("loader", "name"),
    [
        ("LoadImage", "stream.jpg"),
        ("LoadImage", "mountain.jpg"),
        ("LoadImage", "mountain_large.jpg"),
        ("LoadVideo", "mountain.mp4"),
    ],
)
def test_templates_find_their_pictures(
    host: Host, info: dict[str, Any], loader: str, name: str
) -> None:
    ours = REPO_DIR / "example_workflows" / name
    assert (host.input_dir / f"cyclegan_{name}").read_bytes() == ours.read_bytes()
    assert f"cyclegan_{name}" in str(info[loader])


def test_drawings_are_made_once_and_can_be_trained_on(
    client: Client, host: Host, info: dict[str, Any]
) -> None:
    graph = train(info, ("unused", "unused"), "drawings", steps=2)
    graph["examples"] = node("CycleGAN_Examples")
    graph["train"]["inputs"] |= {"folder_a": ["examples", 0], "folder_b": ["examples", 1]}
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    assert read_run(host.output_dir / "cyclegan" / "drawings")["step"] == 2

    folder = host.input_dir / "cyclegan_examples"
    before = contents(folder)
    assert sorted({name.split("/")[0] for name in before}) == ["summer", "winter"]
    assert len(set(before.values())) == len(before) == 200
    (folder / "summer" / "00.png").write_bytes(b"mine")
    client.forget_results()
    client.run_prompt({"examples": node("CycleGAN_Examples")})
    assert (folder / "summer" / "00.png").read_bytes() == b"mine"


def test_frames_are_a_batch_to_translate(client: Client) -> None:
    graph = load_model("both.safetensors") | translate(image=["examples", 2])
    graph |= {"examples": node("CycleGAN_Examples"), "before": save_image("examples", 2)}
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    before, after = client.images(run, "before"), client.images(run, "save")
    assert len(before) == len(after) == 12
    assert {picture.size for picture in (*before, *after)} == {(256, 256)}
    assert len({picture.tobytes() for picture in before}) == 12
