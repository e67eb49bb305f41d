"""Models that lie in two files, or in a folder: a pair of halves, a Hub repository."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cyclegan_core import CheckpointError, CycleGAN, inspect_checkpoint, load_model, save_model
from cyclegan_core.config import DIRECTIONS

from ..weights import NAMED, SMALL, make_model, same
from . import foreign, strangers


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(make_model(), path)
    return path


def test_a_second_file_gives_the_other_direction(tmp_path: Path) -> None:
    there, back = (foreign.scramble(foreign.upstream(), seed) for seed in (1, 2))
    torch.save(there.state_dict(), tmp_path / "there.pth")
    torch.save({"netG": back.state_dict()}, tmp_path / "back.pth")
    model = load_model(tmp_path / "there.pth", path_b_to_a=tmp_path / "back.pth")
    assert model.directions == DIRECTIONS
    assert torch.equal(model.gen_ab.model[1].weight, there.model[1].weight)
    assert torch.equal(model.gen_ba.model[1].weight, back.model[1].weight)


def test_a_second_file_of_ours_may_hold_both_directions(saved: Path, tmp_path: Path) -> None:
    other = make_model(NAMED, seed=5)
    other.config = replace(other.config, value_range=(-1.0, 1.0))
    save_model(other, tmp_path / "other.safetensors")
    model = load_model(saved, path_b_to_a=tmp_path / "other.safetensors")
    assert torch.equal(model.gen_ba.model[1].weight, other.gen_ba.model[1].weight)
    assert torch.equal(model.gen_ab.model[1].weight, make_model().gen_ab.model[1].weight)
    assert model.config == SMALL, "the first file's names count"


def test_channels_of_the_second_file_are_turned(tmp_path: Path) -> None:
    for name, channels in (("there", (1, 3)), ("back", (3, 1))):
        state = foreign.upstream(channels=channels).state_dict()
        torch.save(state, tmp_path / f"{name}.pth")
    model = load_model(tmp_path / "there.pth", path_b_to_a=tmp_path / "back.pth")
    assert (model.config.channels_a, model.config.channels_b) == (1, 3)
    with pytest.raises(CheckpointError, match="differ in channels_a, channels_b, so they can't be"):
        load_model(tmp_path / "there.pth", path_b_to_a=tmp_path / "there.pth")


def test_halves_of_different_networks_are_refused(tmp_path: Path) -> None:
    torch.save(foreign.upstream().state_dict(), tmp_path / "a.pth")
    torch.save(foreign.vintagify(blocks=3).state_dict(), tmp_path / "b.pth")
    with pytest.raises(
        CheckpointError, match=r"generators of a.pth and b.pth differ in norm_affine, num_blocks"
    ):
        load_model(tmp_path / "a.pth", path_b_to_a=tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.full((4,), torch.nan), "holds NaN or infinite values in 'model.1.bias'"),
        (torch.zeros(5), "does not fit the network it describes: 'gen_{}.model.1.bias' is 5 ins"),
        (torch.zeros(4, dtype=torch.int8), "stores 'gen_{}.model.1.bias' as int8"),
    ],
)
def test_the_file_that_is_damaged_is_named(
    value: torch.Tensor, expected: str, tmp_path: Path
) -> None:
    """Of two that were given, and of two in a folder; the other one is sound."""
    there, back = tmp_path / "gen_AB.safetensors", tmp_path / "gen_BA.safetensors"
    for damaged, way in ((there, "ab"), (back, "ba")):
        save_model(make_model(directions=["a_to_b"]), there)
        save_model(make_model(directions=["b_to_a"]), back)
        with safe_open(damaged, framework="pt") as file:
            header = file.metadata()
        del header["crc32"]  # which would be the first to complain
        tensors = load_file(damaged) | {f"gen_{way}.model.1.bias": value}
        save_file(tensors, damaged, header)
        sentence = f"{damaged.name} {expected.format(way)}"
        with pytest.raises(CheckpointError, match=re.escape(sentence)):
            load_model(there, path_b_to_a=back)
        with pytest.raises(CheckpointError, match=re.escape(sentence)):
            load_model(tmp_path)


def test_the_file_with_too_few_tensors_is_named(tmp_path: Path) -> None:
    """A header that promises a thousand blocks, before a network of that size is made."""
    for name, direction in (("there", "a_to_b"), ("back", "b_to_a")):
        path = tmp_path / f"{name}.safetensors"
        save_model(make_model(directions=[direction]), path)
        with safe_open(path, framework="pt") as file:
            header = file.metadata()
        header["config"] = json.dumps({**SMALL.to_dict(), "num_blocks": 1000})
        del header["crc32_header"]
        tensors = load_file(path)
        if name == "there":
            tensors |= {f"gen_ab.{number}": torch.zeros(1) for number in range(1000)}
        save_file(tensors, path, header)
    with pytest.raises(CheckpointError, match=r"back.safetensors has settings that do not fit its"):
        load_model(
            tmp_path / "there.safetensors",
            path_b_to_a=tmp_path / "back.safetensors",
        )


# --- folders -----------------------------------------------------------------------------------


def hub_folder(folder: Path, settings: dict[str, object] | None, *, header: bool = False) -> Path:
    folder.mkdir()
    save_model(make_model(NAMED), folder / "model.safetensors")
    if not header:
        save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    if settings is not None:
        (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("header", [False, True])
def test_hub_folder(nested: bool, header: bool, tmp_path: Path) -> None:  # noqa: FBT001
    settings = NAMED.to_dict()
    extra = {"_commit_hash": "x", "library_name": "cyclegan", "tags": []}
    content = {"config": settings, **extra} if nested else {**settings, **extra}
    folder = hub_folder(tmp_path / "hub", content, header=header)
    model = load_model(folder)
    assert model.config == NAMED
    assert same(model, make_model(NAMED))
    assert inspect_checkpoint(folder).config == NAMED


def test_hub_mixin_there_and_back(tmp_path: Path) -> None:
    model = make_model(NAMED)
    model.save_pretrained(tmp_path / "hub")
    assert same(load_model(tmp_path / "hub"), model)
    assert same(CycleGAN.from_pretrained(tmp_path / "hub"), model)


def test_bad_config_json(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", {**NAMED.to_dict(), "colour": 3})
    with pytest.raises(
        CheckpointError, match=r"config.json holds settings .*unknown setting 'colour'"
    ):
        load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json is not valid JSON"):
        load_model(folder)
    (folder / "config.json").write_text(json.dumps({**NAMED.to_dict(), "num_blocks": 2}))
    with pytest.raises(CheckpointError, match="does not fit the network it describes"):
        load_model(folder)
    save_model(make_model(NAMED), folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"and the config.json beside it disagree"):
        load_model(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "gan", "input_shape": [3, 256, 256]},
        {"model_type": "gan", "image_size": 256},
        {"norm": "instance", "ngf": 64, "dropout": 0.5},
        {"generator": {"num_blocks": 9}, "discriminator": {}},
        {"config": {"image_size": [256, 256], "num_blocks": 9}},
    ],
)
def test_config_json_of_somebody_else_is_left_alone(
    settings: dict[str, object], tmp_path: Path
) -> None:
    folder = hub_folder(tmp_path / "hub", settings)
    assert load_model(folder).directions == DIRECTIONS


def test_config_json_adds_to_a_foreign_file(tmp_path: Path) -> None:
    torch.save(foreign.upstream(blocks=1).state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps(NAMED.to_dict()))
    assert load_model(tmp_path).config == NAMED
    (tmp_path / "config.json").write_text(json.dumps(replace(NAMED, norm="batch").to_dict()))
    with pytest.raises(CheckpointError, match=r"disagree about norm; delete config.json"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("latest_net_G_A.pth", "latest_net_G_B.pth"),
        ("gen_AB.pth", "gen_BA.pth"),
        ("netG_A2B.pth", "netG_B2A.pth"),
        ("G_AB_190.pth", "G_BA_190.pth"),
        ("g_A_best.pth.tar", "g_B_best.pth.tar"),
        ("G_A2B_epoch33.pth", "G_B2A_epoch33.pth"),
        ("net_gen_ab.pth", "net_gen_ba.pth"),
    ],
)
def test_a_pair_of_files_in_a_folder(names: tuple[str, str], tmp_path: Path) -> None:
    networks = [foreign.scramble(foreign.upstream(), seed) for seed in (1, 2)]
    for name, network in zip(names, networks, strict=True):
        torch.save(network.state_dict(), tmp_path / name)
        other = name.replace("G_", "D_").replace("g_", "d_").replace("gen_", "disc_")
        torch.save(strangers.patch_discriminator().state_dict(), tmp_path / other)
    (tmp_path / "README.md").write_text("hello")
    (tmp_path / ".hidden.pth").write_bytes(b"")
    model = load_model(tmp_path)
    assert torch.equal(model.gen_ab.model[1].weight, networks[0].model[1].weight)
    assert torch.equal(model.gen_ba.model[1].weight, networks[1].model[1].weight)
    assert inspect_checkpoint(tmp_path).directions == DIRECTIONS


def test_one_file_in_a_folder(tmp_path: Path) -> None:
    torch.save(foreign.upstream().state_dict(), tmp_path / "latest_net_G.pth")
    assert load_model(tmp_path, direction="b_to_a").directions == ("b_to_a",)


def test_several_files_in_a_folder_are_listed(tmp_path: Path) -> None:
    for name in ("5_net_G_A.pth", "5_net_G_B.pth", "9_net_G_A.pth"):
        torch.save(foreign.upstream().state_dict(), tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several .*\(5_net_G_A.pth, 5_net_G_B.pth, 9_net_G"):
        load_model(tmp_path)
