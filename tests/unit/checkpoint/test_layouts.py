"""Every foreign layout: the loaded network computes what the foreign one computes.

The bound is 0 where both run the same kernels on the same numbers, 1e-6 where a bias moved into a
running mean or another kernel pads, which rounds differently, and 1e-5 where other kernels blur.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cyclegan_core import CheckpointError, inspect_checkpoint, load_model
from cyclegan_core.config import ModelConfig

from ..weights import PICTURE, difference, save
from . import foreign, strangers

_CUT = {"downsample": "blur", "upsample": "bilinear"}

# id -> (network, layout, settings that differ from the defaults, bound)
NETWORKS: dict[str, tuple[nn.Module, str, dict[str, object], float]] = {
    "upstream": (foreign.upstream(), "upstream", {}, 0),
    "upstream 9 blocks": (foreign.upstream(blocks=9), "upstream", {"num_blocks": 9}, 0),
    "upstream 1 block": (foreign.upstream(blocks=1), "upstream", {"num_blocks": 1}, 0),
    "upstream width": (foreign.upstream(width=6), "upstream", {"base_channels": 6}, 0),
    "upstream affine": (foreign.upstream("affine"), "upstream", {"norm_affine": True}, 0),
    "upstream batch": (foreign.upstream("batch"), "upstream", {"norm": "batch"}, 0),
    "upstream none": (foreign.upstream("none"), "upstream", {"norm": "none"}, 0),
    "upstream resize": (foreign.upstream(upsample=True), "upstream", {"upsample": "resize"}, 0),
    "vintagify": (
        foreign.vintagify(),
        "vintagify",
        {"norm_affine": True, "image_size": 512},
        0,
    ),
    "eriklindernoren": (foreign.eriklindernoren(), "eriklindernoren", {"upsample": "resize"}, 0),
    "lornatang": (foreign.lornatang(), "lornatang", {"norm": "batch"}, 1e-6),
    "upit": (foreign.upit(), "upit", {}, 0),
    "upit dropout": (foreign.upit(dropout=True), "upit", {"dropout": True}, 0),
    "aladdinpersson": (
        foreign.Aladdinpersson(),
        "aladdinpersson",
        {"down_padding": "reflect"},
        1e-6,
    ),
    **{
        f"cut {name}": (foreign.cut(norm=norm, **ways), "cut", settings, 1e-5)
        for name, norm, ways, settings in [
            ("", "instance", {}, _CUT),
            ("down", "instance", {"up": False}, {"downsample": "blur"}),
            ("up", "instance", {"down": False}, {"upsample": "bilinear"}),
            ("9", "instance", {"blocks": 9}, _CUT | {"num_blocks": 9}),
            ("1", "instance", {"blocks": 1}, _CUT | {"num_blocks": 1}),
            ("batch", "batch", {}, _CUT | {"norm": "batch"}),
        ]
    },
    "arnab39": (foreign.arnab39(), "arnab39", {}, 0),
    "arnab39 dropout": (foreign.arnab39(dropout=True), "arnab39", {"dropout": True}, 0),
    **{
        f"upstream {norm} {padding} {dropout=}": (
            foreign.upstream(norm, padding=padding, dropout=dropout),
            "upstream",
            {
                "norm": "instance" if norm == "affine" else norm,
                "norm_affine": norm == "affine",
                "padding": padding,
                "dropout": dropout,
            },
            0,
        )
        for norm in ("instance", "affine", "batch")
        for padding, dropout in (("reflect", True), ("zero", False), ("zero", True))
    },
}


@pytest.mark.parametrize("case", NETWORKS)
def test_same_output_as_the_foreign_network(case: str, tmp_path: Path) -> None:
    network, layout, expected, bound = NETWORKS[case]
    foreign.scramble(network)
    path = save(network.state_dict(), tmp_path / "net.pth")
    model = load_model(path, direction="b_to_a")
    assert difference(model, "b_to_a", network) <= bound
    defaults = {"num_blocks": 2, "base_channels": foreign.WIDTH}
    assert model.config == ModelConfig(**{**defaults, **expected})
    assert model.directions == ("b_to_a",)
    info = inspect_checkpoint(path)
    assert (info.layout, info.config) == (layout, model.config)
    assert not info.knows_direction
    assert info.num_parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("norm", ["batch", "instance", "affine", "none"])
@pytest.mark.parametrize(("downs", "dropout"), [(5, False), (6, True), (7, False)])
def test_unet(norm: str, downs: int, dropout: bool, tmp_path: Path) -> None:  # noqa: FBT001
    network = foreign.scramble(foreign.unet(norm, downs=downs, dropout=dropout, width=2))
    path = save({"state_dict": network.state_dict()}, tmp_path / "net.pth")
    model = load_model(path)
    picture = torch.rand(1, 3, 2**downs, 2 ** (downs + 1)) * 2 - 1
    assert difference(model, "a_to_b", network, picture) == 0
    assert model.config == ModelConfig(
        generator="unet",
        num_downs=downs,
        base_channels=2,
        norm="instance" if norm == "affine" else norm,
        norm_affine=norm == "affine",
    )


def test_unet_with_too_few_levels_is_refused(tmp_path: Path) -> None:
    network = foreign.Named("model", foreign.Skip([nn.Conv2d(3, 4, 4), foreign.Skip(
        [nn.LeakyReLU(), nn.Conv2d(4, 4, 4), nn.ReLU(), nn.ConvTranspose2d(4, 4, 4)]
    ), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4)]))  # fmt: skip
    path = save(network.state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"net.pth holds a U-Net of 2 levels, where at least"):
        load_model(path)


@pytest.mark.parametrize("norm", ["instance", "affine", "batch"])
@pytest.mark.parametrize("dropout", [False, True])
def test_mmgen_takes_rgb_and_names_its_domains(norm: str, dropout: bool, tmp_path: Path) -> None:  # noqa: FBT001
    horse, zebra = (foreign.scramble(foreign.mmgen(norm, dropout=dropout), seed) for seed in (1, 2))
    state = {f"generators.horse.{k}": v for k, v in horse.state_dict().items()}
    state |= {f"generators.zebra.{k}": v for k, v in zebra.state_dict().items()}
    state |= {
        f"discriminators.zebra.{k}": v
        for k, v in strangers.patch_discriminator().state_dict().items()
    }
    path = save({"meta": {"epoch": 3}, "state_dict": state, "optimizer": {}}, tmp_path / "x.pth")
    model = load_model(path)
    for direction, network in (("a_to_b", zebra), ("b_to_a", horse)):
        with torch.no_grad():
            theirs = network(PICTURE.flip(1)).flip(1)
            ours = model.generator(direction)(PICTURE)
        assert theirs.std() > 0.01
        # Three channels are summed in another order, and each norm amplifies that (seen: 3e-6).
        assert (ours - theirs).abs().max() <= 1e-5
    assert (model.config.domain_a, model.config.domain_b) == ("horse", "zebra")
    assert (model.config.norm_affine, model.config.dropout) == (norm == "affine", dropout)
    assert inspect_checkpoint(path).layout == "mmgen"


def test_mmgen_with_one_generator_names_its_target(tmp_path: Path) -> None:
    network = foreign.scramble(foreign.mmgen())
    state = {f"generators.zebra.{k}": v for k, v in network.state_dict().items()}
    path = save({"state_dict": state}, tmp_path / "x.pth")
    assert load_model(path).config.domain_b == "zebra"
    assert load_model(path, direction="b_to_a").config.domain_a == "zebra"


def test_statistics_of_old_pytorch_are_dropped(tmp_path: Path) -> None:
    network = foreign.scramble(foreign.upstream())
    state = network.state_dict()
    for key in [k for k in state if k.endswith("bias") and not k.startswith("model.18")]:
        stem, place, _ = key.rsplit(".", 2)
        norm = f"{stem}.{int(place) + 1}"
        state[f"{norm}.running_mean"] = torch.randn_like(state[key])
        state[f"{norm}.running_var"] = torch.rand_like(state[key])
    del state["model.20.running_mean"], state["model.20.running_var"]
    model = load_model(save(state, tmp_path / "net.pth"))
    assert difference(model, "a_to_b", network) == 0
    assert model.config.norm == "instance"


def test_batch_norm_with_a_bias_before_it(tmp_path: Path) -> None:
    layers = foreign.resnet_layers(norm=foreign.batch, bias=True)
    network = foreign.scramble(foreign.Named("model", layers))
    model = load_model(save(network.state_dict(), tmp_path / "net.pth"))
    assert difference(model, "a_to_b", network) <= 1e-6
    assert model.config.norm == "batch"


def test_numbers_that_are_not_supported(tmp_path: Path) -> None:
    """Float8 has no arithmetic, and here a bias has to move into a mean."""
    layers = foreign.resnet_layers(norm=foreign.batch, bias=True)
    state = foreign.scramble(foreign.Named("model", layers)).state_dict()
    stored = {k: v.to(torch.float8_e4m3fn) for k, v in state.items() if v.is_floating_point()}
    save_file(stored, tmp_path / "net.safetensors")
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"net.safetensors stores .* as float8_e4m3fn"):
            call(tmp_path / "net.safetensors")


def test_lornatang_before_2023_has_no_statistics(tmp_path: Path) -> None:
    network = foreign.scramble(foreign.Named("main", foreign.resnet_layers(block_name="res")))
    model = load_model(save(network.state_dict(), tmp_path / "netG_A2B.pth"))
    assert difference(model, "a_to_b", network) == 0
    assert model.config.norm == "instance"


@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (1, 1), (4, 2)])
def test_channels(channels: tuple[int, int], tmp_path: Path) -> None:
    network = foreign.scramble(foreign.upstream(channels=channels))
    path = save(network.state_dict(), tmp_path / "net.pth")
    picture = torch.rand(1, channels[0], 16, 20) * 2 - 1
    model = load_model(path)
    assert difference(model, "a_to_b", network, picture) == 0
    assert (model.config.channels_a, model.config.channels_b) == channels
    back = load_model(path, direction="b_to_a")
    assert difference(back, "b_to_a", network, picture) == 0
    assert (back.config.channels_b, back.config.channels_a) == channels


def test_grey_eriklindernoren_is_refused(tmp_path: Path) -> None:
    path = save(foreign.eriklindernoren(channels=1).state_dict(), tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="pictures of 1 channels, which makes them smaller"):
        load_model(path)


def test_cut_with_another_blur_is_refused(tmp_path: Path) -> None:
    state = foreign.cut().state_dict()
    state["model.7.filt"] = torch.full_like(state["model.7.filt"], 1 / 9)
    path = save(state, tmp_path / "net.pth")
    with pytest.raises(
        CheckpointError, match=r"net\.pth blurs with another filter at 'model.7.filt'"
    ):
        load_model(path)


def test_the_discriminator_of_cut_is_called_one(tmp_path: Path) -> None:
    path = save(strangers.patch_discriminator(blur=True).state_dict(), tmp_path / "net_D.pth")
    with pytest.raises(CheckpointError, match="holds a discriminator, which can't translate"):
        load_model(path)
