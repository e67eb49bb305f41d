"""Train CycleGAN on Folders with test folders: scores out of the box, the best model, the stop."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

import cyclegan_core

from .client import Client, Graph
from .comfyui import Host
from .graphs import show_text, train
from .samples import assert_one_sentence, contents, read_run, write_pictures

METRIC = "KID (EfficientNet-Lite0, 11 blocks)"


@pytest.fixture(scope="module")
def tests(host: Host) -> dict[str, str]:
    """Two folders of held-out pictures, as the widgets have them."""
    names = {"folder_test_a": "held_out/warm", "folder_test_b": "held_out/cold"}
    for seed, name in enumerate(names.values()):
        write_pictures(host.input_dir / name, count=10, seed=40 + seed)
    return names


@pytest.fixture
def training(info: dict[str, Any], folders: tuple[str, str], run_dir: Path) -> Graph:
    return train(info, folders, run_dir.name, steps=3) | {"text": show_text("train", 3)}


def failure_of(client: Client, graph: Graph) -> str:
    run = client.run_prompt(graph)
    assert run.error is not None, f"ended with {run.ending}"
    assert_one_sentence(run.error["exception_message"])
    return run.error["exception_message"]


def test_scores_and_the_best_model(
    client: Client, training: Graph, run_dir: Path, tests: dict[str, str]
) -> None:
    """Every second step and the last; told in the summary, on the node, and by the files."""
    training["train"]["inputs"] |= tests | {"evaluate_every": 2}
    run = client.run_prompt(training)
    assert run.ending == "execution_success", run.failure
    with (run_dir / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["step"] for row in table] == ["2", "3"]
    means = [(float(row[f"a_to_b {METRIC}"]) + float(row[f"b_to_a {METRIC}"])) / 2 for row in table]
    best = 2 if means[0] <= means[1] else 3
    said = f"{METRIC} {means[1]:.4g} after step 3, best {min(means):.4g} after step {best}"
    name = f"{run_dir.name}/best.safetensors"
    assert f"{said}, which is {name}." in run.outputs["text"]["text"][0]
    assert "(colour match " in run.outputs["text"]["text"][0]
    assert run.texts["train"][-1].endswith(f"{said}, which is {name}.")
    model = cyclegan_core.load_model(run_dir / "best.safetensors")
    assert model.training_info["steps"] == best
    assert str(run_dir.parents[2]) not in str(model.training_info)
    (_, options) = client.object_info()["CycleGAN_Load"]["input"]["required"]["model_name"]
    assert name in options["options"]


def test_patience_ends_it(
    client: Client, training: Graph, run_dir: Path, tests: dict[str, str]
) -> None:
    """With a learning rate of next to nothing no score is better than the first."""
    training["train"]["inputs"] |= tests | {"evaluate_every": 1, "patience": 2, "steps": 40}
    training["settings"]["inputs"] |= {"lr": 1e-12, "ema_decay": 0.0}
    run = client.run_prompt(training)
    assert run.ending == "execution_success", run.failure
    step = read_run(run_dir)["step"]
    assert 3 <= step < 40
    said = "stopped early, for the last 2 scores were no better; raise patience to go on"
    assert f"step {step} of 40 ({said})" in run.outputs["text"]["text"][0]
    assert f"Step {step} of 40: {said}." in run.texts["train"][-1]


def test_folders_that_are_trained_on(
    client: Client, host: Host, training: Graph, tests: dict[str, str]
) -> None:
    """It is no fault, but scores say less: a warning before the first step and in the summary."""
    training["train"]["inputs"] |= tests | {"folder_a": tests["folder_test_a"], "steps": 1}
    run = client.run_prompt(training)
    assert run.ending == "execution_success", run.failure
    said = "The test folder of domain A is the training folder"
    assert any(said in text for text in run.texts["train"][:3])
    assert said in run.outputs["text"]["text"][0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"folder_test_b": "none"}, "choose folder_test_a and folder_test_b, or none of them"),
        ({"folder_test_b": "held_out/warm"}, "both test folders are input/held_out/warm"),
        ({"folder_test_a": "held_out/few"}, "'held_out/few' has 9 pictures, and a score needs at"),
        ({"folder_test_a": "held_out/none"}, "'held_out/none' has 0 pictures"),
    ],
)
def test_wrong_test_folders(
    client: Client,
    host: Host,
    training: Graph,
    run_dir: Path,
    tests: dict[str, str],
    changes: dict[str, str],
    said: str,
) -> None:
    write_pictures(host.input_dir / "held_out/few", count=9, seed=1)
    (host.input_dir / "held_out/none").mkdir(exist_ok=True)
    training["train"]["inputs"] |= tests | {"evaluate_every": 1} | changes
    assert said in failure_of(client, training)


def test_failed_score_loses_no_step(
    client: Client, host: Host, training: Graph, run_dir: Path
) -> None:
    """A picture that can't be read ends it with a sentence; what was learned is kept."""
    names = {"folder_test_a": "held_out/lost_a", "folder_test_b": "held_out/lost_b"}
    for seed, name in enumerate(names.values()):
        write_pictures(host.input_dir / name, count=10, seed=seed)
        (host.input_dir / name / "z.png").write_bytes(b"no picture")
    training["train"]["inputs"] |= names | {"evaluate_every": 2}
    assert "z.png" in failure_of(client, training)
    assert read_run(run_dir)["step"] == 2
    assert "model.safetensors" in contents(run_dir)
