"""Networks that are no CycleGAN generator are named, and changed generators are noticed."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import nn

from cyclegan_core import CheckpointError, inspect_checkpoint, load_model

from ..weights import prefixed, save
from . import foreign
from .strangers import STRANGERS, keys, patch_discriminator

FORWARD = foreign.upstream(blocks=1).state_dict()


@pytest.mark.parametrize("network", STRANGERS)
@pytest.mark.parametrize("prefix", ["", "netG.module."])
def test_other_networks_are_named(network: str, prefix: str, tmp_path: Path) -> None:
    path = save(prefixed(STRANGERS[network], prefix), tmp_path / "net.pth")
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError) as caught:
            call(path)
        article = "an" if network in ("AttentionGAN", "AnimeGAN", "upscaling") else "a"
        assert f"net.pth holds {article} {network}" in str(caught.value)
        assert "use it with the program it comes from" in str(caught.value)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (patch_discriminator().state_dict(), "holds a discriminator"),
        (patch_discriminator().model.state_dict(), "holds a discriminator"),
        (keys(net__0__weight=(4, 3, 1, 1), net__5__weight=(1, 8, 1, 1)), "discriminator"),
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


def test_mmgen_without_its_last_bias_is_refused(tmp_path: Path) -> None:
    state = foreign.mmgen("batch").state_dict()
    (last,) = [key for key, value in state.items() if key.endswith("bias") and len(value) == 3]
    del state[last]
    path = save({f"generators.zebra.{k}": v for k, v in state.items()}, tmp_path / "net.pth")
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"model\.19\.bias' is absent instead of 3"):
            call(path)


def test_recognising_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        load_model(save(FORWARD, tmp_path / "net.pth"))
    assert not caplog.records
