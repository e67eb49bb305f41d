"""Wrappers around generators, and the directions and copies that their names tell."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclegan_core import CheckpointError, inspect_checkpoint, load_model
from cyclegan_core.checkpoint.layouts import find_generators

from ..weights import difference, prefixed, save
from . import foreign, strangers

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
    state |= prefixed(strangers.patch_discriminator().model.state_dict(), "D_A.")
    model = load_model(save({"model": state, "opt": [1, 2]}, tmp_path / "model.pth"))
    assert difference(model, "a_to_b", there) == 0
    assert difference(model, "b_to_a", back) == 0


def test_one_named_generator_keeps_its_direction(tmp_path: Path) -> None:
    path = save({"netG_B": BACKWARD}, tmp_path / "x.pth")
    assert load_model(path, direction="a_to_b").directions == ("b_to_a",)


NETWORKS = {
    "upstream": foreign.upstream(),
    "vintagify": foreign.vintagify(),
    "lornatang": foreign.lornatang(),
    "upit": foreign.upit(),
    "aladdinpersson": foreign.Aladdinpersson(),
}
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
    st.sampled_from(sorted(NETWORKS)),
)
def test_wrappers_in_any_order(nested: list[str], dotted: list[str], case: str) -> None:
    layout, network = case, NETWORKS[case]
    state = prefixed(network.state_dict(), "".join([*nested, *dotted]))
    (found,) = find_generators("x.pth", state)
    # A flat layout inside `model.` has the same keys as upstream, and is the same network.
    flat = layout == "upit" and [*nested, *dotted][-1:] == ["model."]
    assert found.layout == ("upstream" if flat else layout)
    assert found.direction is None
    (bare,) = find_generators("x.pth", network.state_dict())
    assert found.tensors.keys() == bare.tensors.keys()
    assert found.config == bare.config


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
