"""What the pack offers to try it with: a photograph for the templates, and drawings to train on."""

from __future__ import annotations

from typing import Any

from PIL import Image

from .client import Client
from .comfyui import REPO_DIR, Host
from .graphs import load_model, node, save_image, train, translate
from .samples import contents, read_run


def test_templates_find_a_photograph_where_the_host_has_none(host: Host) -> None:
    """The host's own lies beside its program, and this one has another base folder."""
    with (
        Image.open(host.input_dir / "example.png") as offered,
        Image.open(REPO_DIR / "example_workflows" / "astronaut.jpg") as ours,
    ):
        assert offered.tobytes() == ours.convert("RGB").tobytes()


def test_templates_find_a_clip(host: Host, info: dict[str, Any]) -> None:
    clip = REPO_DIR / "example_workflows" / "astronaut.mp4"
    assert (host.input_dir / "example.mp4").read_bytes() == clip.read_bytes()
    assert "example.mp4" in str(info["LoadVideo"])


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
    assert len(set(before.values())) == len(before) == 64
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
