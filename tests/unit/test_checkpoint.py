"""Our own files: what is saved comes back, whole or not at all; folders; two files as one model."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import fields, replace
from itertools import cycle, product
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cyclegan_core import (
    CheckpointError,
    CycleGAN,
    ModelConfig,
    inspect_checkpoint,
    load_model,
    save_model,
)
from cyclegan_core.checkpoint import atomic_write
from cyclegan_core.config import DIRECTIONS

from . import foreign

SMALL = ModelConfig(base_channels=4, num_blocks=1)
NORMS = [("instance", False), ("instance", True), ("batch", False), ("none", False)]
RESNETS = [
    replace(
        SMALL,
        norm=norm,
        norm_affine=affine,
        dropout=dropout,
        padding=padding,
        upsample=upsample,
        down_padding=next(down_paddings),
        num_blocks=next(blocks),
        channels_a=next(channels_a),
        channels_b=next(channels_b),
    )
    # These wander through their values while those below are combined in every way.
    for blocks, channels_a, channels_b, down_paddings in [
        (cycle((1, 2, 0)), cycle((3, 1, 3, 4, 2)), cycle((3, 3, 1)), cycle(("zero", "reflect")))
    ]
    for (norm, affine), dropout, padding, upsample in product(
        NORMS, (False, True), ("reflect", "zero"), ("transposed", "resize")
    )
]
UNETS = [
    ModelConfig(
        generator="unet",
        base_channels=1,
        num_downs=downs,
        norm=norm,
        norm_affine=affine,
        dropout=dropout,
        upsample=upsample,
        channels_a=1,
    )
    for ((norm, affine), dropout, upsample), downs in zip(
        product(NORMS, (False, True), ("transposed", "resize")), cycle((5, 6, 7)), strict=False
    )
]
NAMED = replace(
    SMALL, domain_a="photo", domain_b="Monet – 'x'", image_size=512, value_range=(0.0, 1.0)
)


def make(config: ModelConfig = SMALL, directions=DIRECTIONS, seed: int = 1) -> CycleGAN:
    model = CycleGAN(config, directions=directions)
    foreign.scramble(model, seed)
    return model


def same(one: CycleGAN, other: CycleGAN) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[key], second[key]) for key in first
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(make(), path)
    return path


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("config", [*RESNETS, *UNETS, NAMED])
def test_every_variant_comes_back(config: ModelConfig, tmp_path: Path) -> None:
    for directions in (DIRECTIONS, ("b_to_a",)):
        model, path = make(config, directions), tmp_path / "m.safetensors"
        model.training_info = {"steps": 7, "data": ["a", None]}
        save_model(model, path)
        loaded = load_model(path, direction="a_to_b")
        assert loaded.config == config
        assert loaded.directions == directions
        assert loaded.training_info == model.training_info
        assert same(loaded, model)
        info = inspect_checkpoint(path)
        assert (info.layout, info.config, info.directions) == ("cyclegan", config, directions)
        assert (info.dtype, info.metadata, info.path) == ("float32", model.training_info, path)
        assert info.knows_direction
        assert info.num_parameters == sum(p.numel() for p in model.parameters())


def test_every_setting_is_varied_above() -> None:
    configs = [*RESNETS, *UNETS, NAMED]
    for field in fields(ModelConfig):
        assert len({getattr(config, field.name) for config in configs}) > 1, field.name


def test_our_tensors_are_recognised_without_their_header(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(load_file(saved), path)
    assert same(load_model(path), load_model(saved))
    assert inspect_checkpoint(path).layout == "upstream"


def test_a_loaded_model_can_be_trained_even_if_loaded_in_inference_mode(saved: Path) -> None:
    with torch.inference_mode():
        model = load_model(saved)
    assert not model.training
    assert not any(p.is_inference() for p in model.state_dict().values())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in model.parameters())
    model.train()
    model.gen_ab(torch.rand(1, 3, 16, 16)).square().mean().backward()
    weight = model.gen_ab.model[1].weight
    assert weight.grad is not None
    with torch.no_grad():
        weight.sub_(weight.grad)


def test_a_model_in_inference_mode_can_be_saved(tmp_path: Path) -> None:
    with torch.inference_mode():
        model = make()
        save_model(model, tmp_path / "m.safetensors")
    assert same(load_model(tmp_path / "m.safetensors"), model)


def test_a_loaded_model_does_not_hold_its_file(saved: Path) -> None:
    model, expected = load_model(saved), make()
    saved.write_bytes(b"\0" * saved.stat().st_size)
    assert same(model, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_half_precision_files_are_half_as_large(dtype, norm: str, tmp_path: Path) -> None:
    model = make(replace(SMALL, base_channels=16, norm=norm))
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    save_model(model, full)
    save_model(model, half, dtype=dtype)
    assert half.stat().st_size < 0.6 * full.stat().st_size
    assert inspect_checkpoint(half).dtype == str(dtype).removeprefix("torch.")
    loaded = load_model(half)
    for key, tensor in loaded.state_dict().items():
        expected = model.state_dict()[key]
        if expected.is_floating_point():
            expected = expected.to(dtype).float()
        assert torch.equal(tensor, expected)


def test_half_precision_torch_files_are_read_in_float32(tmp_path: Path) -> None:
    network = foreign.scramble(foreign.upstream()).half()
    torch.save(network.state_dict(), tmp_path / "net.pth")
    assert inspect_checkpoint(tmp_path / "net.pth").dtype == "float16"
    model = load_model(tmp_path / "net.pth")
    assert torch.equal(model.gen_ab.model[1].weight, network.model[1].weight.float())


# --- damaged, foreign, or newer ----------------------------------------------------------------


def rewrite(path: Path, *, tensors=None, **metadata: str) -> None:
    """Change a file's tensors or header; an empty text removes a header entry."""
    with safe_open(path, framework="pt") as file:
        header = {**file.metadata(), **metadata}
    tensors = load_file(path) | (tensors or {})
    save_file(tensors, path, {key: value for key, value in header.items() if value})


def config_with(**changes: object) -> str:
    return json.dumps({**SMALL.to_dict(), **changes})


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"format_version": "2"}, "format version 2, but this version of CycleGAN reads 1; update"),
        ({"format_version": ""}, "has format version unknown"),
        ({"config": ""}, "The header of model.safetensors is not valid JSON"),
        ({"config": "[" * 99999}, "is not valid JSON"),
        ({"config": "[1]"}, "is not valid JSON"),
        ({"training": "{"}, "is not valid JSON"),
        ({"config": config_with(colour=3)}, r"can't be used \(unknown setting 'colour'; it may"),
        ({"config": config_with(norm="layer")}, r"can't be used \(norm must be one of"),
        ({"config": config_with(num_blocks="9")}, r"can't be used \(num_blocks must be"),
        ({"config": config_with(value_range=3)}, "can't be used"),
        ({"config": config_with(num_blocks=2)}, r"'gen_ab.model.11.conv_block.1.weight' is absent"),
        ({"config": config_with(num_blocks=0)}, "does not fit the network it describes"),
        ({"config": config_with(num_blocks=10**9)}, "settings that do not fit its tensors"),
        ({"config": config_with(base_channels=10**12)}, "settings that do not fit its tensors"),
        ({"config": config_with(base_channels=8)}, "is 4x3x7x7 instead of 8x3x7x7"),
        ({"config": config_with(norm_affine=True)}, r"'gen_ab.model.2.weight' is absent"),
        ({"config": config_with(generator="unet")}, "does not fit the network it describes"),
        ({"config": config_with(channels_a=1)}, "is 4x3x7x7 instead of 4x1x7x7"),
    ],
)
def test_header_and_tensors_must_agree(metadata, expected: str, saved: Path) -> None:
    rewrite(saved, **metadata)
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=expected) as caught:
            call(saved)
        assert "model.safetensors" in str(caught.value)
        assert len(str(caught.value)) < 400


def test_other_tensors_in_our_file(saved: Path) -> None:
    rewrite(saved, tensors={"disc_a.model.0.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"has an unknown tensor 'disc_a.model.0.weight'"):
        load_model(saved)


def test_weights_that_are_no_numbers(saved: Path) -> None:
    key = "gen_ba.model.4.bias"
    for value in (torch.nan, torch.inf, -torch.inf):
        rewrite(saved, tensors={key: torch.full((8,), value)})
        with pytest.raises(CheckpointError, match=f"NaN or infinite values in '{key[7:]}'"):
            load_model(saved)
    rewrite(saved, tensors={key: torch.zeros(8, dtype=torch.float8_e4m3fn)})
    with pytest.raises(CheckpointError, match="as float8_e4m3fn, which is not supported"):
        load_model(saved)


def test_an_empty_file_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({}, path, {"format": "cyclegan", "format_version": "1", "config": config_with()})
    with pytest.raises(CheckpointError, match=r"m.safetensors holds no generator"):
        load_model(path)


def test_wrong_arguments(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="direction must be one of"):
        load_model(saved, direction="forward")
    with pytest.raises(ValueError, match=r"saved as .safetensors; got the name 'm.pth'"):
        save_model(make(), tmp_path / "m.pth")
    with pytest.raises(ValueError, match="dtype must be a float type"):
        save_model(make(), saved, dtype=torch.int8)


# --- saving is atomic --------------------------------------------------------------------------


def test_saving_replaces_and_leaves_nothing_beside(saved: Path) -> None:
    other = make(seed=9)
    save_model(other, saved)
    assert same(load_model(saved), other)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_saving_follows_links_and_the_umask(saved: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(saved)
    save_model(make(seed=9), link)
    assert link.is_symlink()
    assert same(load_model(saved), make(seed=9))
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file(failure: BaseException, saved: Path) -> None:
    before = saved.read_bytes()

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise failure

    expected = CheckpointError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        atomic_write(saved, write)
    if expected is CheckpointError:
        assert "model.safetensors can't be written" in str(caught.value)
        assert "(No space left on device); check" in str(caught.value)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_a_full_disk_leaves_the_old_file(saved: Path) -> None:
    """Files may not grow beyond 20 kB for a moment, which writers see like a full disk."""
    resource = pytest.importorskip("resource")
    before, large = saved.read_bytes(), make(replace(SMALL, base_channels=8))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"can't be written to .* \(File too large\)"):
            save_model(large, saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(
            CheckpointError, match=r"can't be written to .*check that the folder exists"
        ):
            save_model(make(), folder / "m.safetensors")
    (tmp_path / "m.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"m.safetensors can't be written"):
        save_model(make(), tmp_path / "m.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "m.safetensors"]


def test_weights_that_diverged_are_not_saved(saved: Path) -> None:
    before, model = saved.read_bytes(), make()
    with torch.no_grad():
        model.gen_ba.model[4].weight[0, 0, 0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"'gen_ba.model.4.weight' holds .* as float16"):
        save_model(model, saved, dtype=torch.float16)
    assert saved.read_bytes() == before


# --- two files as one model --------------------------------------------------------------------


def test_a_second_file_gives_the_other_direction(tmp_path: Path) -> None:
    there, back = (foreign.scramble(foreign.upstream(), seed) for seed in (1, 2))
    torch.save(there.state_dict(), tmp_path / "there.pth")
    torch.save({"netG": back.state_dict()}, tmp_path / "back.pth")
    model = load_model(tmp_path / "there.pth", path_b_to_a=tmp_path / "back.pth")
    assert model.directions == DIRECTIONS
    assert torch.equal(model.gen_ab.model[1].weight, there.model[1].weight)
    assert torch.equal(model.gen_ba.model[1].weight, back.model[1].weight)


def test_a_second_file_of_ours_may_hold_both_directions(saved: Path, tmp_path: Path) -> None:
    other = make(NAMED, seed=5)
    other.config = replace(other.config, value_range=(-1.0, 1.0))
    save_model(other, tmp_path / "other.safetensors")
    model = load_model(saved, path_b_to_a=tmp_path / "other.safetensors")
    assert torch.equal(model.gen_ba.model[1].weight, other.gen_ba.model[1].weight)
    assert torch.equal(model.gen_ab.model[1].weight, make().gen_ab.model[1].weight)
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
        CheckpointError, match=r"generators of a.pth differ in norm_affine, num_blocks"
    ):
        load_model(tmp_path / "a.pth", path_b_to_a=tmp_path / "b.pth")


# --- folders -----------------------------------------------------------------------------------


def hub_folder(folder: Path, settings: dict[str, object] | None, *, header: bool = False) -> Path:
    folder.mkdir()
    save_model(make(NAMED), folder / "model.safetensors")
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
    assert same(model, make(NAMED))
    assert inspect_checkpoint(folder).config == NAMED


def test_hub_mixin_there_and_back(tmp_path: Path) -> None:
    model = make(NAMED)
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
    save_model(make(NAMED), folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"and the config.json beside it disagree"):
        load_model(folder)


def test_config_json_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "hub", {"model_type": "gan", "input_shape": [3, 256, 256]})
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
        torch.save(foreign.patch_discriminator().state_dict(), tmp_path / other)
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
