"""Every foreign layout: the loaded network computes what the foreign one computes.

The bound is 0 where both run the same kernels on the same numbers, and 1e-6 where a bias moved
into a running mean or another kernel pads, which rounds differently.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cyclegan_core import CheckpointError, CycleGAN, inspect_checkpoint, load_model
from cyclegan_core.config import Direction, ModelConfig
from cyclegan_core.layouts import find_generators

from . import foreign

PICTURE = torch.rand(2, 3, 36, 32, generator=torch.Generator().manual_seed(5)) * 2 - 1
MONET_DIR = Path(__file__).parents[3] / "shared" / "data" / "weights" / "monettransformer"

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


def save(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def difference(
    model: CycleGAN, direction: Direction, network: nn.Module, picture: Tensor = PICTURE
) -> float:
    with torch.no_grad():
        ours, theirs = model.generator(direction)(picture), network.eval()(picture)
    assert theirs.std() > 0.01, "the test network must do something"
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item()


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
        for k, v in foreign.patch_discriminator().state_dict().items()
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


# --- wrappers and directions -------------------------------------------------------------------

TWO = [foreign.scramble(foreign.upstream(blocks=1), seed) for seed in (1, 2)]
FORWARD, BACKWARD = (network.state_dict() for network in TWO)
PAIRS = [
    ("netG_A", "netG_B"),
    ("G_A", "G_B"),
    ("g_A", "g_B"),
    ("G_A2B", "G_B2A"),
    ("netG_A2B", "netG_B2A"),
    ("genA2B", "genB2A"),
    ("model_genA2B_state_dict", "model_genB2A_state_dict"),
    ("G_AB", "G_BA"),
    ("gen_AB", "gen_BA"),
    ("gen_ab", "gen_ba"),
    ("net_gen_ab", "net_gen_ba"),
    ("G_XtoY", "G_YtoX"),
    ("generator_A", "generator_B"),
]


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize("names", PAIRS)
@pytest.mark.parametrize("is_flat", [False, True])
def test_two_generators_and_their_directions(
    names: tuple[str, str],
    is_flat: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    if is_flat:
        content = prefixed(FORWARD, names[0] + ".") | prefixed(BACKWARD, names[1] + ".")
    else:
        content = {names[1]: BACKWARD, names[0]: FORWARD, "epoch": 3, "name": "horses"}
    path = save(content, tmp_path / "both.pth")
    for direction in ("a_to_b", "b_to_a"):
        model = load_model(path, direction=direction)
        assert difference(model, "a_to_b", TWO[0]) == 0
        assert difference(model, "b_to_a", TWO[1]) == 0
    info = inspect_checkpoint(path)
    assert info.directions == ("a_to_b", "b_to_a")
    assert info.knows_direction


@pytest.mark.parametrize(
    ("make", "names"),
    [(foreign.upit, ("G_A", "G_B")), (foreign.arnab39, ("Gab", "Gba"))],
)
def test_layouts_whose_names_mean_the_target(make, names: tuple[str, str], tmp_path: Path) -> None:
    back, there = (foreign.scramble(make(), seed) for seed in (1, 2))
    state = prefixed(back.state_dict(), f"{names[0]}.")
    state |= prefixed(there.state_dict(), f"{names[1]}.module.")
    state |= prefixed(foreign.patch_discriminator().model.state_dict(), "D_A.")
    model = load_model(save({"model": state, "opt": [1, 2]}, tmp_path / "model.pth"))
    assert difference(model, "a_to_b", there) == 0
    assert difference(model, "b_to_a", back) == 0


def test_one_named_generator_keeps_its_direction(tmp_path: Path) -> None:
    path = save({"netG_B": BACKWARD}, tmp_path / "x.pth")
    assert load_model(path, direction="a_to_b").directions == ("b_to_a",)


WRAPPERS = [
    "module.",
    "_orig_mod.",
    "netG.",
    "generator.",
    "model.",
    "state_dict.",
    "params.",
    "x1.",
]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(WRAPPERS), max_size=4),
    st.lists(st.sampled_from([*WRAPPERS, "params_ema."]), max_size=4),
    st.sampled_from(["upstream", "upit", "aladdinpersson", "lornatang", "upstream batch"]),
)
def test_wrappers_in_any_order(nested: list[str], dotted: list[str], case: str) -> None:
    network, layout, _, _ = NETWORKS[case]
    state = prefixed(network.state_dict(), "".join([*nested, *dotted]))
    (found,) = find_generators("x.pth", state)
    # A flat layout inside `model.` has the same keys as upstream, and is the same network.
    flat = layout == "upit" and [*nested, *dotted][-1:] == ["model."]
    assert found.layout == ("upstream" if flat else layout)
    assert found.direction is None
    (bare,) = find_generators("x.pth", network.state_dict())
    assert found.tensors.keys() == bare.tensors.keys()
    assert (found.settings, found.in_channels) == (bare.settings, bare.in_channels)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.sampled_from(["state_dict", "model", "params_ema", "ema"]), max_size=5))
def test_nested_dictionaries(tmp_path_factory, names: list[str]) -> None:
    content: dict[str, object] = OrderedDict(FORWARD)
    for name in names:
        content = {name: content, "epoch": 3, "list": [1, (2.0, None)], "opt": {"state": {0: {}}}}
    path = save(content, tmp_path_factory.mktemp("nested") / "net.pth")
    assert difference(load_model(path), "a_to_b", TWO[0]) == 0


@pytest.mark.parametrize("names", [("params", "params_ema"), ("model", "model_ema"), ("G", "ema")])
def test_averaged_weights_are_preferred(names: tuple[str, str], tmp_path: Path) -> None:
    path = save({names[0]: FORWARD, names[1]: BACKWARD}, tmp_path / "net.pth")
    assert difference(load_model(path), "a_to_b", TWO[1]) == 0


def test_lornatang_averages_are_not_preferred(tmp_path: Path) -> None:
    raw, average = (foreign.scramble(foreign.lornatang(), seed) for seed in (1, 2))
    content = {
        "ema_state_dict": {
            "n_averaged": torch.tensor(3),
            **prefixed(average.state_dict(), "module."),
        },
        "state_dict": raw.state_dict(),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(4, 3, 7, 7)}}},
    }
    model = load_model(save(content, tmp_path / "g_A_best.pth.tar"))
    assert difference(model, "a_to_b", raw) <= 1e-6


def test_optimizer_beside_a_bare_generator_is_ignored(tmp_path: Path) -> None:
    content = {**FORWARD, "optimizer": {"state": {0: {"exp_avg": torch.zeros(4, 3, 7, 7)}}}}
    assert difference(load_model(save(content, tmp_path / "x.pth")), "a_to_b", TWO[0]) == 0


# --- refusals ----------------------------------------------------------------------------------


def test_unclear_directions_are_listed(tmp_path: Path) -> None:
    path = save({"first": FORWARD, "second": BACKWARD}, tmp_path / "two.pth")
    expected = r"two.pth holds 2 generators \(first, second\) and does not say which"
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=expected):
            call(path)


def test_one_named_and_one_unnamed_generator_are_listed(tmp_path: Path) -> None:
    path = save({"G_A": FORWARD, "other": BACKWARD}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match=r"2 generators \(G_A, other\)"):
        load_model(path)


def test_two_different_generators_are_refused(tmp_path: Path) -> None:
    other = foreign.upstream(blocks=2).state_dict()
    path = save({"G_A": FORWARD, "G_B": other}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match=r"two generators of two.pth differ in num_blocks"):
        load_model(path)


@pytest.mark.parametrize("network", foreign.STRANGERS)
@pytest.mark.parametrize("prefix", ["", "netG.module."])
def test_other_networks_are_named(network: str, prefix: str, tmp_path: Path) -> None:
    path = save(prefixed(foreign.STRANGERS[network], prefix), tmp_path / "net.pth")
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError) as caught:
            call(path)
        assert f"net.pth holds a {network}" in str(caught.value)
        assert "use it with the program it comes from" in str(caught.value)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (foreign.patch_discriminator().state_dict(), "holds a discriminator"),
        (foreign.patch_discriminator().model.state_dict(), "holds a discriminator"),
        (foreign.keys(net__0__weight=(4, 3, 1, 1), net__5__weight=(1, 8, 1, 1)), "discriminator"),
        ({}, "holds no weights"),
        ({"epoch": 3}, "holds no weights"),
        ([1, 2, "x"], "holds no weights"),
        (torch.zeros(3), r"its first tensors are ''"),
        (
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3)).state_dict(),
            r"no CycleGAN generator in a known layout \(its first tensors are '0.weight', '0.bias'",
        ),
    ],
)
def test_no_generator(state: object, expected: str, tmp_path: Path) -> None:
    path = save(state, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=expected) as caught:
        load_model(path)
    assert str(caught.value).startswith("net.pth ")


def test_a_changed_generator_is_refused(tmp_path: Path) -> None:
    extra = {**FORWARD, "model.30.weight": torch.zeros(3, 3, 1, 1)}
    missing = {key: value for key, value in FORWARD.items() if key != "model.4.weight"}
    hole = dict(foreign.upstream(blocks=3).state_dict())
    del hole["model.11.conv_block.1.weight"]
    wrong = {**FORWARD, "model.7.weight": torch.zeros(16, 8, 5, 5)}
    mixed = {**FORWARD, "model.2.weight": torch.ones(4), "model.2.bias": torch.ones(4)}
    for state, expected in (
        (extra, "has an unknown part, 'model.30.weight'"),
        (missing, "lacks the tensor 'model.4.weight'"),
        (hole, "lacks the tensor 'model.11.conv_block.1.weight'"),
        (wrong, "'gen_ab.model.7.weight' is 16x8x5x5 instead of 16x8x3x3"),
        (mixed, "mixes several kinds of norm layers"),
        ({**FORWARD, "model.1.bias": torch.full((4,), torch.nan)}, "NaN .* in 'model.1.bias'"),
    ):
        with pytest.raises(CheckpointError, match=expected):
            load_model(save(state, tmp_path / "net.pth"))


def test_monettransformer_is_refused() -> None:
    if not MONET_DIR.is_dir():
        pytest.skip("the shared data lie beside the repository only where it is developed")
    for path in sorted(MONET_DIR.glob("*.pth")):
        for call in (load_model, inspect_checkpoint):
            with pytest.raises(CheckpointError, match="holds a MonetTransformer network"):
                call(path)


def test_recognising_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        load_model(save(FORWARD, tmp_path / "net.pth"))
    assert not caplog.records
