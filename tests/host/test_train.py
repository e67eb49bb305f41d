"""Train CycleGAN on Folders: what a training gives, leaves on disk, and does when queued again."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import cyclegan_core
from cyclegan_core.pictures.captions import caption_height

from .client import Client, Graph, Run
from .comfyui import Host
from .graphs import load_image, load_model, node, save_image, show_text, train, translate
from .samples import (
    ONE_LEVEL,
    contents,
    level_difference,
    read_run,
    read_tensors,
    to_tensor,
    write_pictures,
)

STEPS = 4
RUN = "everything"
RUN_DIR = f"cyclegan/{RUN}"
"""Below the host's output folder."""
GRID = (6 * 32, caption_height(32) + 4 * 32)
"""Six pictures side by side under their captions, four rows."""


def train_graph(
    info: dict[str, Any], folders: tuple[str, str], run_dir: Path, **inputs: Any
) -> Graph:
    """A training whose summary is shown by the node `text`."""
    return train(info, folders, run_dir.name, **inputs) | {"text": show_text("train", 3)}


def succeed(client: Client, graph: Graph) -> Run:
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    return run


def summary_of(run: Run) -> str:
    return run.outputs["text"]["text"][0]


def progress_of(run: Run) -> list[tuple[int, int]]:
    """Steps and total, each once: a new preview is sent with the same step again."""
    seen = [(p["value"], p["max"]) for p in run.of_type("progress") if p["node"] == "train"]
    return list(dict.fromkeys(seen))


@pytest.fixture(scope="module")
def everything(
    client: Client, info: dict[str, Any], folders: tuple[str, str], small: Image.Image
) -> Run:
    """A training from scratch with a node on each of its outputs."""
    graph = train(info, folders, RUN, steps=STEPS)
    graph["settings"]["inputs"]["sample_every"] = 3  # the last step has samples all the same
    graph |= load_image(client.upload_image(small, "small.png"))
    graph |= translate(model=["train", 0])
    graph |= {
        "keep": node("CycleGAN_Save", model=["train", 0], name="kept", overwrite=True),
        "ours": node("CycleGAN_PlotLosses", losses=["train", 1], smoothing=0.5),
        "chart": save_image("ours"),
        "theirs": node("LossGraphNode", loss=["train", 1], filename_prefix="loss"),
        "grid": save_image("train", 2),
        "text": show_text("train", 3),
    }
    graph["keep"]["inputs"]["precision"] = "fp32"
    return succeed(client, graph)


@pytest.fixture
def trained(everything: Run, host: Host) -> cyclegan_core.CycleGAN:
    """The model file of that training."""
    return cyclegan_core.load_model(host.output_dir / RUN_DIR / "model.safetensors")


def test_run_folder_holds_what_the_design_says(everything: Run, host: Host) -> None:
    folder = host.output_dir / RUN_DIR
    wanted = {f"samples/step_{step:07d}.jpg" for step in (1, 3, 4)}
    wanted |= {"run.json", "losses.csv", "state.safetensors", "model.safetensors"}
    assert set(contents(folder)) == wanted
    assert (read_run(folder)["step"], read_run(folder)["max_steps"]) == (STEPS, STEPS)
    with (folder / "losses.csv").open(encoding="utf-8") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]


def test_returned_model_is_the_file_and_translates_in_the_same_prompt(
    client: Client,
    host: Host,
    everything: Run,
    trained: cyclegan_core.CycleGAN,
    small: Image.Image,
) -> None:
    returned = read_tensors(host.models_dir / "kept.safetensors")
    written = read_tensors(host.output_dir / RUN_DIR / "model.safetensors")
    assert returned.keys() == written.keys()
    assert all(torch.equal(returned[name], written[name]) for name in written)
    (result,) = client.images(everything, "save")
    assert level_difference(result, trained.translate(to_tensor(small))) <= ONE_LEVEL


def test_model_is_listed_and_loads_by_name_and_the_state_is_not_offered(
    client: Client,
    everything: Run,
    trained: cyclegan_core.CycleGAN,
    graph: Graph,
    small: Image.Image,
) -> None:
    (_, options) = client.object_info()["CycleGAN_Load"]["input"]["required"]["model_name"]
    listed = [name for name in options["options"] if name.startswith(RUN)]
    assert listed == [f"{RUN}/model.safetensors"]
    (result,) = client.save_images(graph | load_model(listed[0]))
    assert level_difference(result, trained.translate(to_tensor(small))) <= ONE_LEVEL


def test_progress_counts_steps_and_previews_show_the_samples(everything: Run) -> None:
    assert progress_of(everything) == [(step, STEPS) for step in range(STEPS + 1)]
    previews = [Image.open(io.BytesIO(preview)) for preview in everything.previews]
    assert [preview.format for preview in previews] == ["JPEG"] * 3
    assert len({*everything.previews}) == 3, "one per grid, the last one included"
    assert "train" not in everything.outputs, "a page would draw the last one twice"
    # 1024 is the preview's longest side; the grid's shape stays.
    assert {preview.size for preview in previews} == {(1024, round(1024 * GRID[1] / GRID[0]))}


def test_losses_become_charts_in_our_node_and_in_the_built_in_one(
    client: Client, everything: Run
) -> None:
    (ours,), (theirs,) = client.images(everything, "chart"), client.images(everything, "theirs")
    assert ours.size == (960, 540)
    for chart in (ours, theirs):
        colours = chart.convert("RGB").getcolors(chart.width * chart.height)
        assert colours is not None
        assert len(colours) > 2


def test_samples_and_summary_tell_what_happened(client: Client, everything: Run) -> None:
    (grid,) = client.images(everything, "grid")
    assert grid.size == GRID
    summary = summary_of(everything)
    made, *_, losses = summary.split("\n\n")
    assert made.startswith("A model that turns pictures of warm into cold and back. Everything is")
    assert losses.startswith("Losses of the last step: gan_ab ")
    assert f"{RUN}: step 4 of 4 (finished)" in summary
    assert "4 pictures in input/spots/warm" in summary
    assert "Everything is in output/cyclegan/everything." in summary
    assert f"{RUN}/model.safetensors" in summary


def test_what_stands_on_the_node(everything: Run, host: Host) -> None:
    """Before, while and after it trains; and nowhere a path of the server."""
    texts = everything.texts["train"]
    assert texts[0] == "Reading the pictures …"
    assert re.search(r"^A step takes [\d.]+ m?s here: 4 steps are \d+ s\.$", texts[2], re.MULTILINE)
    assert "It learns warm → cold, and the way back." in texts[2]
    assert "Warning: input/spots/warm has only 4 pictures; below 100" in texts[2]
    assert texts[-1] == (
        "Step 4 of 4: finished.\n"
        f"Saved in output/cyclegan/{RUN}. Load CycleGAN (press R) has the model as "
        f"{RUN}/model.safetensors."
    )
    assert str(host.base_dir) not in "".join([*texts, summary_of(everything)])


def test_what_is_no_picture_is_named_before_the_first_step(
    client: Client, host: Host, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    folder = host.input_dir / "with_notes"
    write_pictures(folder, count=2, seed=0)
    (folder / "notes.jpg").write_text("no picture")
    run = succeed(client, train(info, ("with_notes", folders[1]), run_dir.name, steps=1))
    for text in run.texts["train"][2], run.texts["train"][-1]:
        assert "Left out of input/with_notes: notes.jpg is not a picture that can be read" in text


def test_model_is_named_after_its_folders(trained: cyclegan_core.CycleGAN) -> None:
    assert trained.config.domains("a_to_b") == ("warm", "cold")


def test_one_step_is_enough_for_both_charts(
    client: Client, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    graph = train_graph(info, folders, run_dir, steps=1)
    graph["ours"] = node("CycleGAN_PlotLosses", losses=["train", 1], smoothing=0.95)
    graph["chart"] = save_image("ours")
    graph["theirs"] = node("LossGraphNode", loss=["train", 1], filename_prefix="loss")
    run = succeed(client, graph)
    assert client.images(run, "chart")[0].size == (960, 540)
    assert len(client.images(run, "theirs")) == 1


def test_only_a_change_trains_on(
    client: Client, host: Host, info: dict[str, Any], run_dir: Path
) -> None:
    """Queued again: from the cache. A new picture: run again. More steps: on from the last."""
    folders = ("changing/a", "changing/b")
    for seed, name in enumerate(folders):
        write_pictures(host.input_dir / name, count=2, seed=seed)
    graph = train_graph(info, folders, run_dir, steps=2)
    assert "train" in succeed(client, graph).executed_nodes
    before = contents(run_dir)
    losses = (run_dir / "losses.csv").read_text(encoding="utf-8").splitlines()

    again = succeed(client, graph)
    assert "train" not in again.executed_nodes
    assert "train" in again.of_type("execution_cached")[0]["nodes"]

    write_pictures(host.input_dir / folders[0], count=3, seed=7)
    changed = succeed(client, graph)
    assert "train" in changed.executed_nodes
    assert "step 2 of 2 (it was finished before; raise steps to train on)" in summary_of(changed)
    assert "3 pictures in" in summary_of(changed)
    assert contents(run_dir) == before

    more = succeed(client, train_graph(info, folders, run_dir, steps=5))
    assert progress_of(more) == [(step, 5) for step in range(2, 6)]
    assert "step 5 of 5 (finished)" in summary_of(more)
    rows = (run_dir / "losses.csv").read_text(encoding="utf-8").splitlines()
    assert rows[:3] == losses
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4", "5"]


def test_run_stopped_by_the_clock_goes_on_when_queued_again(
    client: Client, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    """The time is over after the first step of each session."""
    graph = train_graph(info, folders, run_dir, steps=3, max_minutes=1e-6)
    for step in (1, 2):
        assert f"step {step} of 3 (stopped by max_minutes" in summary_of(succeed(client, graph))
        assert read_run(run_dir)["step"] == step
    assert "step 3 of 3 (finished)" in summary_of(succeed(client, graph))


def test_linked_names_are_taken(
    client: Client, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    """Before the prompt runs, the host has no value for them."""
    graph = train_graph(info, folders, run_dir, steps=1)
    graph["name"] = node("PrimitiveString", value=run_dir.name)
    graph["train"]["inputs"]["run_name"] = ["name", 0]
    succeed(client, graph)
    assert read_run(run_dir)["step"] == 1


def test_training_without_settings_is_quick_on_a_processor(
    client: Client, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    nothing = {"settings": None, "start_model": None}  # some hosts give what is not connected so
    run = succeed(client, train_graph(info, folders, run_dir, steps=1, image_size=64, **nothing))
    config = read_run(run_dir)["config"]
    assert config["discriminator"] == "patch_features"
    assert config["model"]["base_channels"] == 32
    assert config["sample_every"] == 100
    assert "the preset quick, which suits a processor" in summary_of(run)
    assert (
        "All 1 steps only learn to copy (warm-up, 1,000 steps): a style shows after; take 1,800 "
        "steps or more." in run.texts["train"][2]
    )
    run = succeed(client, load_model(f"{run_dir.name}/model.safetensors") | show_info())
    assert run.texts["load"] == [
        "warm → cold, cold → warm (it has only learned to copy so far: step 1, and the style "
        "begins after step 1,000)"
    ]


def show_info() -> Graph:
    """A node that has Load run, and shows its info."""
    return {"info": show_text("load", 1)}


def test_training_without_settings_goes_on_as_its_run_began(
    client: Client, host: Host, info: dict[str, Any], folders: tuple[str, str], run_dir: Path
) -> None:
    """Here with the paper's networks, which take an eternity on a processor; so they are small."""
    begun = train_graph(info, folders, run_dir, steps=1)
    begun["settings"]["inputs"] |= {"base_channels": 64, "num_blocks": 6}
    succeed(client, begun)
    run = succeed(client, train_graph(info, folders, run_dir, steps=2, settings=None))
    assert (read_run(run_dir)["step"], read_run(run_dir)["config"]["lr"]) == (2, 2e-4)
    assert "No settings were connected: those of the paper" in summary_of(run)


def test_page_begins_with_what_suits_a_processor(info: dict[str, Any]) -> None:
    required = info["CycleGAN_Train"]["input"]["required"]
    assert (required["steps"][1]["default"], required["image_size"][1]["default"]) == (2000, 128)
    assert required["folder_a"][1]["default"] != required["folder_b"][1]["default"]


def test_new_widgets_come_last(info: dict[str, Any]) -> None:
    """Workflows keep the values of widgets by position."""
    order = info["CycleGAN_Train"]["input_order"]
    assert order["required"][-1] == "resume"
    assert order["optional"] == [
        *("settings", "start_model"),
        *("folder_test_a", "folder_test_b", "evaluate_every", "patience"),
    ]


@pytest.mark.parametrize("source", ["load", "copy"])
def test_start_model_is_trained_on_a_copy(
    client: Client,
    host: Host,
    info: dict[str, Any],
    folders: tuple[str, str],
    run_dir: Path,
    both: cyclegan_core.CycleGAN,
    graph: Graph,
    small: Image.Image,
    source: str,
) -> None:
    """Adam's first step moves no weight by more than the learning rate: so it began at `both`."""
    training = train_graph(info, folders, run_dir, steps=1, start_model=[source, 0])
    training |= load_model("both.safetensors")
    training["copy"] = node("HostTest_CopyModel", model=["load", 0])  # in inference mode
    # A preset whose warm-up is for fresh networks alone.
    training["settings"]["inputs"] |= {"preset": "quick", "ema_decay": 0.0, "lr": 1e-3}
    training["train"]["inputs"] |= {"image_size": 64}
    succeed(client, training)
    after = read_tensors(run_dir / "model.safetensors")
    moved = [(after[name] - weight).abs().max() for name, weight in both.state_dict().items()]
    assert 1e-4 < float(max(moved)) < 1.01e-3

    (result,) = client.save_images(graph)
    assert level_difference(result, both.translate(to_tensor(small))) <= ONE_LEVEL


def test_training_evicts_the_models_of_others(
    client: Client,
    host: Host,
    info: dict[str, Any],
    folders: tuple[str, str],
    run_dir: Path,
    graph: Graph,
) -> None:
    """The host tells in its log whenever it loads a model that it does not hold."""

    def loads() -> int:
        return host.log_text().count("Requested to load CycleGAN")

    client.save_images(graph)
    held = loads()
    client.save_images(graph | translate(strength=0.5))
    assert loads() == held
    succeed(client, train_graph(info, folders, run_dir, steps=1))
    assert loads() == held
    client.save_images(graph | translate(strength=0.25))
    assert loads() == held + 1
