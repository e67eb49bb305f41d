"""Our own files: what is saved comes back, and what is no file of ours or a damaged one is said."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import cycle, product
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cyclegan_core import CheckpointError, ModelConfig, inspect_checkpoint, load_model, save_model
from cyclegan_core.config import DIRECTIONS

from ..weights import NAMED, SMALL, make_model, same
from . import foreign

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
        downsample=next(downsamples),
        num_blocks=next(blocks),
        channels_a=next(channels_a),
        channels_b=next(channels_b),
    )
    # These wander through their values while those below are combined in every way.
    for blocks, channels_a, channels_b, down_paddings, downsamples in [
        (
            *(cycle((1, 2, 0)), cycle((3, 1, 3, 4, 2)), cycle((3, 3, 1))),
            *(cycle(("zero", "reflect")), cycle(("strided", "blur", "strided"))),
        )
    ]
    for (norm, affine), dropout, padding, upsample in product(
        NORMS, (False, True), ("reflect", "zero"), ("transposed", "resize", "bilinear")
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


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_model(make_model(), path)
    return path


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("config", [*RESNETS, *UNETS, NAMED])
def test_every_variant_comes_back(config: ModelConfig, tmp_path: Path) -> None:
    directions = DIRECTIONS if config.dropout else ("b_to_a",)
    model, path = make_model(config, directions), tmp_path / "m.safetensors"
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
        model = make_model()
        save_model(model, tmp_path / "m.safetensors")
    assert same(load_model(tmp_path / "m.safetensors"), model)


def test_a_loaded_model_does_not_hold_its_file(saved: Path) -> None:
    model, expected = load_model(saved), make_model()
    saved.write_bytes(b"\0" * saved.stat().st_size)
    assert same(model, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_half_precision_files_are_half_as_large(dtype, norm: str, tmp_path: Path) -> None:
    model = make_model(replace(SMALL, base_channels=16, norm=norm))
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
    """Change a file's tensors or header; an empty text removes a header entry.

    The checksums go, as older files have none: whatever they hold is to be refused as well.
    """
    with safe_open(path, framework="pt") as file:
        header = {**file.metadata(), "crc32": "", "crc32_header": "", **metadata}
    tensors = load_file(path) | (tensors or {})
    try:
        save_file(tensors, path, {key: value for key, value in header.items() if value})
    except KeyError as error:
        pytest.skip(f"this version of safetensors can't write {error}")


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


@pytest.mark.parametrize(
    "dtype",
    [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.int64, torch.uint16, torch.bool],
)
def test_a_description_of_numbers_that_are_not_supported(dtype: torch.dtype, saved: Path) -> None:
    """Of a file stored in them altogether; the header alone says so."""
    rewrite(saved, tensors={key: value.to(dtype) for key, value in load_file(saved).items()})
    with pytest.raises(CheckpointError) as caught:
        inspect_checkpoint(saved)
    assert str(caught.value) == (
        f"model.safetensors stores 'gen_ab.model.1.weight' as {str(dtype).removeprefix('torch.')}, "
        "which is not supported; convert it to float32 or float16."
    )


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("key", ["gen_ba.model.4.weight", "gen_ab.model.2.running_mean"])
def test_weights_of_another_kind(dtype: torch.dtype, key: str, tmp_path: Path) -> None:
    """One tensor alone, a weight or a statistic; the others are as they should be."""
    path = tmp_path / "m.safetensors"
    save_model(make_model(replace(SMALL, norm="batch")), path)
    rewrite(path, tensors={key: load_file(path)[key].to(dtype)})
    kind = str(dtype).removeprefix("torch.")
    expected = f"m.safetensors stores '{key}' as {kind}, which is not supported; convert it to"
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=expected):
            call(path)


@pytest.mark.parametrize("dtype", [torch.int32, torch.float16])
def test_counters_may_be_any_real_number(dtype: torch.dtype, tmp_path: Path) -> None:
    """Some tools cast every tensor of a file; a count of batches loses nothing by it."""
    path, model = tmp_path / "m.safetensors", make_model(replace(SMALL, norm="batch"))
    save_model(model, path)
    counters = {
        k: v.to(dtype) for k, v in load_file(path).items() if k.endswith("num_batches_tracked")
    }
    rewrite(path, tensors=counters)
    assert same(load_model(path), model)
    assert all(load_model(path).state_dict()[key].dtype == torch.int64 for key in counters)
    key = next(iter(counters))
    rewrite(path, tensors={key: torch.zeros((), dtype=torch.complex64)})
    with pytest.raises(CheckpointError, match=f"stores '{key}' as complex64"):
        load_model(path)


def test_an_empty_file_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({}, path, {"format": "cyclegan", "format_version": "1", "config": config_with()})
    with pytest.raises(CheckpointError, match=r"m.safetensors holds no generator"):
        load_model(path)


def test_wrong_arguments(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="direction must be one of"):
        load_model(saved, direction="forward")
    with pytest.raises(ValueError, match=r"saved as .safetensors; got the name 'm.pth'"):
        save_model(make_model(), tmp_path / "m.pth")
    with pytest.raises(ValueError, match="dtype must be a float type"):
        save_model(make_model(), saved, dtype=torch.int8)
