"""Cancel in the middle of a training: all that was learned is kept, and queueing again goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from PIL import Image

import cyclegan_core

from .client import Client, Graph, Message, Run
from .comfyui import Host
from .graphs import load_model, train
from .samples import (
    ONE_LEVEL,
    contents,
    level_difference,
    read_run,
    read_tensors,
    to_tensor,
    write_pictures,
)

STEPS = 40
"""So many that a cancel at the first ones comes before the end by far."""
CROWD = 4000


def progress_of(run: Run) -> list[int]:
    return [data["value"] for data in run.of_type("progress") if data["node"] == "train"]


def cancel_at(client: Client, graph: Graph, step: int) -> Run:
    """Run a training and cancel it as soon as this step is reported."""

    def cancel(message: Message) -> None:
        if message.type == "progress" and message.data["value"] == step:
            client.interrupt()

    run = client.run_prompt(graph, on_message=cancel)
    assert run.ending == "execution_interrupted", run.failure
    assert run.error is None
    assert [data["node_id"] for data in run.of_type("execution_interrupted")] == ["train"]
    return run


def test_cancelled_training_ends_as_one_that_never_stopped(
    client: Client, host: Host, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    """Bit for bit: networks, averages, moments, pools, losses. `save_every` is far away."""
    undisturbed = run_dir.with_name(f"{run_dir.name}_undisturbed")
    whole = train(info, folders, undisturbed.name, steps=STEPS, seed=5)
    whole["settings"]["inputs"]["sample_every"] = STEPS
    run = client.run_prompt(whole)
    assert run.ending == "execution_success", run.failure

    graph = train(info, folders, run_dir.name, steps=STEPS, seed=5)
    graph["settings"]["inputs"]["sample_every"] = STEPS
    run = cancel_at(client, graph, 3)
    steps = progress_of(run)
    stopped = read_run(run_dir)["step"]
    # The host raises when the step after the last one reported is done; that one's samples follow.
    assert steps[-2:] == [stopped - 1, stopped]
    assert (run_dir / "samples" / f"step_{stopped:07d}.jpg").is_file()
    assert len(run.previews) == 2, "of the first step and of the last"
    assert 3 < stopped < STEPS
    assert run.texts["train"][-1] == (
        f"Cancelled: everything is saved at step {stopped} of {STEPS}, in "
        f"output/cyclegan/{run_dir.name}; run again to go on. Load CycleGAN (press R) has the "
        f"model as {run_dir.name}/model.safetensors."
    )
    rows = (run_dir / "losses.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 1 + stopped

    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    assert progress_of(run) == list(range(stopped, STEPS + 1))
    for name in ("model.safetensors", "state.safetensors"):
        ours, theirs = read_tensors(run_dir / name), read_tensors(undisturbed / name)
        assert ours.keys() == theirs.keys()
        assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []
    same = ("losses.csv", f"samples/step_{STEPS:07d}.jpg")
    found, wanted = contents(run_dir), contents(undisturbed)
    assert [found[name] for name in same] == [wanted[name] for name in same]


def test_what_was_learned_until_the_cancel_is_a_model(
    client: Client,
    host: Host,
    info: dict[str, Any],
    folders: tuple[str, str],
    run_dir: Path,
    graph: Graph,
    small: Image.Image,
) -> None:
    cancel_at(client, train(info, folders, run_dir.name, steps=STEPS), 2)
    name = f"{run_dir.name}/model.safetensors"
    (result,) = client.save_images(graph | load_model(name))
    expected = cyclegan_core.load_model(run_dir / "model.safetensors").translate(to_tensor(small))
    assert level_difference(result, expected) <= ONE_LEVEL


def test_cancel_while_the_folders_are_read(
    client: Client, host: Host, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    """One picture under so many names that reading them takes far longer than a cancel."""
    write_pictures(host.input_dir / "crowd", count=1, seed=0)
    for number in range(1, CROWD):
        (host.input_dir / "crowd" / f"{number}.png").hardlink_to(host.input_dir / "crowd" / "0.png")

    def cancel(message: Message) -> None:
        if message.type == "progress_text" and message.data["text"].startswith("Reading"):
            client.interrupt()

    graph = train(info, ("crowd", folders[1]), run_dir.name)
    run = client.run_prompt(graph, on_message=cancel)
    assert run.ending == "execution_interrupted", run.failure
    assert run.texts["train"][-1] == "Cancelled before the first step; nothing was written."
    assert not run_dir.exists()  # it is made when the pictures are known
