"""Distill CycleGAN: a model and a folder become a small student, in the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import cyclegan_core

from .client import Client, Graph, Message
from .comfyui import Host
from .graphs import A_TO_B, B_TO_A, defaults, load_image, load_model, node, show_text, translate
from .samples import assert_one_sentence, contents, read_run, read_tensors, write_pictures

STUDENT = "student.safetensors"
WORK = "student.distill"
PAIRS, STEPS = 6, 6


@pytest.fixture(scope="module")
def photographs(host: Host) -> str:
    """A folder of seven pictures, by its name under the host's input folder."""
    write_pictures(host.input_dir / "photographs", count=7, seed=30)
    return "photographs"


@pytest.fixture
def distilling(info: dict[str, Any], photographs: str, run_dir: Path) -> Graph:
    """The node `distill` on `load`: 2 of the teacher's 4 channels, in next to no time."""
    tiny = {"base_channels": 2, "num_blocks": 1, "num_pairs": PAIRS, "steps": STEPS}
    tiny |= {"crop_size": 16, "load_size": 20, "num_held_out": 2}
    own = {"model": ["load", 0], "folder": photographs, "run_name": run_dir.name}
    return {
        **load_model("both.safetensors"),
        "distill": node("CycleGAN_Distill", **defaults(info["CycleGAN_Distill"]) | own | tiny),
        "text": show_text("distill", 2),
    }


def failure_of(client: Client, graph: Graph) -> str:
    run = client.run_prompt(graph)
    assert run.error is not None, f"ended with {run.ending}"
    assert run.error["node_id"] == "distill"
    assert_one_sentence(run.error["exception_message"])
    return run.error["exception_message"]


def test_student_translates_at_once_and_is_offered(
    client: Client, distilling: Graph, run_dir: Path, small
) -> None:
    name = client.upload_image(small, "small.png")
    distilling |= load_image(name) | translate(model=["distill", 0])
    distilling |= {"grid": node("SaveImage", images=["distill", 1], filename_prefix="grid")}
    run = client.run_prompt(distilling)
    assert run.ending == "execution_success", run.failure
    (result,) = client.images(run, "save")
    assert result.size == small.size
    info = cyclegan_core.inspect_checkpoint(run_dir / STUDENT)
    assert (info.config.base_channels, info.directions) == (2, ("a_to_b",))
    assert {"teacher": "A → B", "steps": STEPS}.items() <= info.metadata.items()

    # Told on the node, in the summary, and by the newest of two previews.
    said = f"output/cyclegan/{run_dir.name}; Load CycleGAN (press R) has the student as "
    for text in (run.outputs["text"]["text"][0], run.texts["distill"][-1]):
        assert "On 2 pictures held out: PSNR to the teacher" in text
        assert f"{said}{run_dir.name}/{STUDENT}." in text
        assert str(run_dir) not in text
    assert any("The teacher translates: crop" in text for text in run.texts["distill"])
    assert run.previews
    (grid,) = client.images(run, "grid")
    assert grid.width == 3 * 16  # picture, student, teacher

    (_, options) = client.object_info()["CycleGAN_Load"]["input"]["required"]["model_name"]
    mine = [choice for choice in options["options"] if choice.startswith(f"{run_dir.name}/")]
    assert mine == [f"{run_dir.name}/{STUDENT}"], "and nothing of what it is made from"

    run = client.run_prompt(distilling)
    assert "distill" not in run.executed_nodes, "nothing has changed"


@pytest.mark.parametrize(("title", "at"), [("The teacher", 2), ("The student", PAIRS + 2)])
def test_cancelled_distillation_ends_as_one_that_never_stopped(
    client: Client, distilling: Graph, run_dir: Path, title: str, at: int
) -> None:
    """Bit for bit, whether it was stopped among the crops or among the steps."""
    undisturbed = run_dir.with_name(f"{run_dir.name}_undisturbed")
    distilling["distill"]["inputs"] |= {"run_name": undisturbed.name, "steps": 40}
    assert client.run_prompt(distilling).ending == "execution_success"

    seen: list[int] = []

    def cancel(message: Message) -> None:
        if message.type == "progress" and message.data["node"] == "distill":
            seen.append(message.data["value"])
            if len(seen) == at:
                client.interrupt()

    distilling["distill"]["inputs"]["run_name"] = run_dir.name
    run = client.run_prompt(distilling, on_message=cancel)
    assert run.ending == "execution_interrupted", run.failure
    assert run.texts["distill"][-1] == (
        f"Cancelled: everything is kept in output/cyclegan/{run_dir.name}; run again to go on."
    )
    assert not (run_dir / STUDENT).exists()
    kept = contents(run_dir / WORK / "pairs")
    if title == "The student":
        assert 1 <= read_run(run_dir / WORK / "training")["step"] < 40

    assert client.run_prompt(distilling).ending == "execution_success"
    assert kept.items() <= contents(run_dir / WORK / "pairs").items()
    ours, theirs = (read_tensors(path / STUDENT) for path in (run_dir, undisturbed))
    assert ours.keys() == theirs.keys()
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_channels": 5}, "base_channels must be at most the teacher's 4"),
        ({"num_blocks": 2}, "num_blocks must be at most the teacher's 1"),
        ({"num_held_out": 6}, "input/photographs has 7 usable pictures, too few to hold 6 out"),
        ({"load_size": 15}, "load_size must be"),
        ({"folder": "nowhere"}, "There is no folder 'nowhere'"),
        ({"run_name": "../x"}, "is not a folder name"),
    ],
)
def test_what_does_not_fit(
    client: Client, distilling: Graph, run_dir: Path, changes: dict[str, Any], said: str
) -> None:
    distilling["distill"]["inputs"] |= changes
    assert said in failure_of(client, distilling)
    assert not run_dir.exists()


def test_way_that_the_teacher_does_not_know(
    client: Client, distilling: Graph, run_dir: Path
) -> None:
    distilling |= load_model("forward.pth", A_TO_B)
    distilling["distill"]["inputs"]["direction"] = B_TO_A
    assert "This model only translates" in failure_of(client, distilling)
    assert not run_dir.exists()


def test_run_of_other_settings_is_left_alone(
    client: Client, distilling: Graph, run_dir: Path
) -> None:
    run = client.run_prompt(distilling)
    assert run.ending == "execution_success", run.failure
    before = contents(run_dir)
    distilling["distill"]["inputs"]["seed"] = 1
    message = failure_of(client, distilling)
    assert f"output/cyclegan/{run_dir.name}/{WORK}/pairs holds pairs that were made with" in message
    assert contents(run_dir) == before
