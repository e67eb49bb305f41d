"""What the host tells a client about the nodes: the page draws them from this alone."""

from __future__ import annotations

import math
import re
import uuid
from typing import Any

import pytest

from .client import Client
from .comfyui import PACK_NAME, Host
from .graphs import A_TO_B, B_TO_A, node, show_text, train
from .samples import write_pictures

NODES = {
    "CycleGAN_Load": (["model_name", "direction", "model_name_b_to_a"], ["CYCLEGAN", "STRING"]),
    "CycleGAN_Translate": (
        [
            "model",
            "image",
            "direction",
            "strength",
            "mask",
            "work_size",
            "detail",
            "memory",
            "precision",
            "statistics",
            "smoothing_frames",
        ],
        ["IMAGE"],
    ),
    "CycleGAN_TranslateVideo": (
        [
            "model",
            "video",
            "direction",
            "strength",
            "statistics",
            "smoothing_frames",
            "work_size",
            "detail",
            "memory",
            "precision",
            "steadiness",
        ],
        ["VIDEO"],
    ),
    "CycleGAN_Reconstruct": (
        ["model", "image", "direction", "memory", "precision"],
        ["IMAGE", "IMAGE", "IMAGE", "FLOAT"],
    ),
    "CycleGAN_Save": (["model", "name", "precision", "overwrite"], ["STRING"]),
    "CycleGAN_Train": (
        [
            "folder_a",
            "folder_b",
            "run_name",
            "steps",
            "max_minutes",
            "image_size",
            "lambda_identity",
            "seed",
            "resume",
            "settings",
            "start_model",
            "folder_test_a",
            "folder_test_b",
            "evaluate_every",
            "patience",
        ],
        ["CYCLEGAN", "LOSS_MAP", "IMAGE", "STRING"],
    ),
    "CycleGAN_TrainSettings": (
        [
            "preset",
            "num_blocks",
            "base_channels",
            "upsample",
            "disc_layers",
            "preprocess",
            "flip",
            "objective",
            "directions",
            "lambda_l1",
            "gan_mode",
            "lambda_a",
            "lambda_b",
            "pool_size",
            "lr",
            "lr_discriminator",
            "schedule",
            "batch_size",
            "ema_decay",
            "sample_every",
            "save_every",
            "accumulate",
            "recompute",
            "cuda_graph",
            "precision",
            "lambda_features",
        ],
        ["CYCLEGAN_TRAIN_SETTINGS"],
    ),
    "CycleGAN_Download": (
        ["catalog", "repo_id", "revision", "filename", "update"],
        ["CYCLEGAN", "STRING"],
    ),
    "CycleGAN_PlotLosses": (["losses", "smoothing"], ["IMAGE"]),
    "CycleGAN_Distill": (
        [
            "model",
            "folder",
            "run_name",
            "base_channels",
            "num_blocks",
            "num_pairs",
            "steps",
            "direction",
            "crop_size",
            "load_size",
            "views",
            "num_held_out",
            "seed",
            "license",
            "lambda_features",
        ],
        ["CYCLEGAN", "IMAGE", "STRING"],
    ),
    "CycleGAN_Examples": ([], ["COMBO", "COMBO", "IMAGE"]),
}
"""Node id → inputs in order of the page, types of the outputs."""


def inputs_of(schema: dict[str, Any]) -> dict[str, list[Any]]:
    """Input name → [type or choices, options], required ones first."""
    return {**schema["input"].get("required", {}), **schema["input"].get("optional", {})}


def choices_of(schema: dict[str, Any], name: str) -> list[str]:
    """Choices of a combo input, which hosts write in two ways."""
    kind, *options = inputs_of(schema)[name]
    return options[0]["options"] if kind == "COMBO" else kind


def test_pack_offers_the_nodes_listed_here_and_no_other(info: dict[str, Any]) -> None:
    ours = {name for name, schema in info.items() if PACK_NAME in schema["python_module"]}
    assert ours == set(NODES)


@pytest.mark.parametrize("node_id", NODES)
def test_inputs_and_outputs_are_the_contract(info: dict[str, Any], node_id: str) -> None:
    inputs, outputs = NODES[node_id]
    assert list(inputs_of(info[node_id])) == inputs
    assert info[node_id]["output"] == outputs


@pytest.mark.parametrize("node_id", NODES)
def test_node_explains_itself(info: dict[str, Any], node_id: str) -> None:
    schema = info[node_id]
    assert len(schema["description"]) > 20
    assert schema["display_name"] != node_id
    assert schema["category"] == "CycleGAN"
    silent = [name for name, (_, *opts) in inputs_of(schema).items() if not opts[0].get("tooltip")]
    assert silent == [], "inputs without a tooltip"
    # The page shows Markdown, in which <name> is an unknown tag: nothing.
    assert not re.search(r"<\w+>", str(schema))


@pytest.mark.parametrize("node_id", NODES)
def test_outputs_are_named_and_explained(info: dict[str, Any], node_id: str) -> None:
    schema = info[node_id]
    tooltips = schema.get("output_tooltips") or [""] * len(schema["output"])
    silent = [n for n, tip in zip(schema["output_name"], tooltips, strict=True) if not tip]
    assert silent == [], "outputs without a tooltip"


def test_what_leaves_files_can_be_run_alone(info: dict[str, Any]) -> None:
    alone = [name for name in NODES if info[name]["output_node"]]
    assert set(alone) == {
        "CycleGAN_Save",
        "CycleGAN_Train",
        "CycleGAN_Download",
        "CycleGAN_Examples",
        "CycleGAN_Distill",
    }


@pytest.mark.parametrize("node_id", NODES)
def test_numbers_have_bounds_and_their_defaults_survive_the_page(
    info: dict[str, Any], node_id: str
) -> None:
    """The page rounds a number to the decimals of its step whenever it is touched."""
    for name, (kind, options) in inputs_of(info[node_id]).items():
        if kind in ("INT", "FLOAT"):
            assert options["min"] <= options["default"] <= options["max"], name
        if kind == "FLOAT":
            decimals = max(0, -math.floor(math.log10(options["step"])))
            assert round(options["default"], decimals) == options["default"], name
            assert round(options["max"], decimals) == options["max"], name


def test_seed_stays_as_it_is(info: dict[str, Any]) -> None:
    """Else the page draws a new one after each run, and no run could go on."""
    assert inputs_of(info["CycleGAN_Train"])["seed"][1]["control_after_generate"] is False


def test_folders_with_pictures_are_listed_and_appear_without_restart(
    client: Client, host: Host, folders: tuple[str, str]
) -> None:
    """ComfyUI makes folders of its own there, such as the empty `3d`."""
    new = {"new", "new/deeper ünd längër", "new/a link"}
    write_pictures(host.input_dir / "new" / "deeper ünd längër", count=1, seed=0)
    (host.input_dir / "new" / "a link").symlink_to(host.input_dir / folders[0])
    (host.input_dir / "new" / "circle").symlink_to(host.input_dir / "new" / "circle")
    write_pictures(host.input_dir / "new" / ".hidden", count=1, seed=0)
    write_pictures(host.output_dir / "made", count=1, seed=0)
    write_pictures(host.output_dir / "cyclegan" / "a run" / "samples", count=1, seed=0)
    for empty in ("3d", "void/below", "of others"):
        (host.input_dir / empty).mkdir(parents=True, exist_ok=True)
    (host.input_dir / "of others" / "model.glb").write_bytes(b"no picture")
    (host.input_dir / "void" / "link").symlink_to(host.input_dir / "void" / "below")
    for name in ("folder_a", "folder_b"):
        choices = choices_of(client.object_info()["CycleGAN_Train"], name)
        found = {
            choice for choice in choices if choice.split("/")[0] in {"3d", "void", "of others"}
        }
        assert found == set()
        assert {choice for choice in choices if choice.startswith("new")} == new
        assert {*folders, "spots"} <= set(choices)
        of_output = [choice for choice in choices if choice.endswith(" [output]")]
        assert of_output == ["made [output]"], "pictures made here, and no training's own"
        assert choices == [*sorted(set(choices) - set(of_output)), *of_output]


def test_training_offers_two_different_folders(client: Client, folders: tuple[str, str]) -> None:
    folder_a, folder_b = (
        inputs_of(client.object_info()["CycleGAN_Train"])[name][1]["default"]
        for name in ("folder_a", "folder_b")
    )
    assert folder_a != folder_b
    assert not folder_b.startswith(f"{folder_a}/")


def test_input_tree_is_walked_once_for_a_prompt(
    client: Client, host: Host, info: dict[str, Any], folders: tuple[str, str]
) -> None:
    """However often the host asks for the list; and a new folder is seen all the same."""
    count = {"count": node("HostTest_CountWalks", folder=str(host.input_dir))}
    count["text"] = show_text("count", 0)
    training = train(info, folders, "walks", image_size=33)  # which Train refuses when it runs
    write_pictures(host.input_dir / "newest", count=1, seed=0)

    def walks() -> int:
        count["count"]["inputs"]["salt"] = uuid.uuid4().hex
        return int(client.run_prompt(count).outputs["text"]["text"][0])

    before = walks()
    assert client.run_prompt(training).error is not None
    assert walks() - before <= 1
    assert "newest" in choices_of(client.object_info()["CycleGAN_Train"], "folder_a")


@pytest.mark.parametrize("node_id", ["CycleGAN_Load", "CycleGAN_Translate", "CycleGAN_Reconstruct"])
def test_direction_is_chosen_by_arrow(info: dict[str, Any], node_id: str) -> None:
    """A model knows its own ways, so a translation needs no choice; a bare file may need one."""
    automatic = [] if node_id == "CycleGAN_Load" else ["auto"]
    assert choices_of(info[node_id], "direction") == [*automatic, A_TO_B, B_TO_A]


def test_defaults_are_choices(info: dict[str, Any]) -> None:
    for node_id in NODES:
        for name, (kind, *options) in inputs_of(info[node_id]).items():
            if kind == "COMBO" or isinstance(kind, list):
                choices = choices_of(info[node_id], name)
                assert options[0].get("default", choices[0]) in choices, (node_id, name)


def test_bundled_model_is_offered_first(info: dict[str, Any]) -> None:
    assert inputs_of(info["CycleGAN_Load"])["model_name"][1]["default"] == "photo2monet.safetensors"


def test_download_offers_a_repository_first(info: dict[str, Any]) -> None:
    default = inputs_of(info["CycleGAN_Download"])["catalog"][1]["default"]
    assert re.search(r"\([\w-]+/[\w-]+\)", default)


FOLDED = {
    "CycleGAN_Load": {"direction"},
    "CycleGAN_Translate": {"memory", "precision", "statistics", "smoothing_frames"},
    "CycleGAN_TranslateVideo": {"memory", "precision", "smoothing_frames"},
    "CycleGAN_Reconstruct": {"memory", "precision"},
    "CycleGAN_Train": {"evaluate_every", "patience"},
    "CycleGAN_Distill": {
        *("crop_size", "load_size", "views", "num_held_out", "seed", "license", "lambda_features")
    },
}
"""Widgets that a page shows only when asked; Train Settings has its own test."""


@pytest.mark.parametrize("node_id", FOLDED)
def test_what_few_need_is_folded_away(info: dict[str, Any], node_id: str) -> None:
    inputs = inputs_of(info[node_id])
    assert {name for name, (_, *o) in inputs.items() if o and o[0].get("advanced")} == FOLDED[
        node_id
    ]


def test_newer_pages_find_a_node_by_what_people_call_it(info: dict[str, Any]) -> None:
    if "search_aliases" not in info["LoadImage"]:
        pytest.skip("this host knows no other names of nodes")
    aliases = {alias for name in NODES for alias in info[name]["search_aliases"]}
    assert {"style transfer", "unpaired", "pix2pix", "horse2zebra"} <= aliases


def test_model_list_holds_both_folders_and_only_weight_files(info: dict[str, Any]) -> None:
    names = choices_of(info["CycleGAN_Load"], "model_name")
    assert {"both.safetensors", "forward.pth", "elsewhere.safetensors"} <= set(names)
    assert "notes.txt" not in names


def test_new_model_file_appears_without_restart(client: Client, host: Host) -> None:
    new = host.models_dir / "fresh.safetensors"
    new.write_bytes((host.models_dir / "both.safetensors").read_bytes())
    try:
        names = choices_of(client.object_info()["CycleGAN_Load"], "model_name")
        assert new.name in names
    finally:
        new.unlink()


def test_host_reports_the_import_time(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(rf"([\d.]+) seconds: .*{PACK_NAME}", host.log_text())
    assert found, "the host's log has no import time of the pack"
    with capsys.disabled():
        print(f"\nThe host imported the pack in {found[1]} s.")  # noqa: T201 - to be read, no gate
