"""Channels of pictures and of models: what is converted, and what is refused with which error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cyclegan_core import CycleGANError
from cyclegan_core.device.precision import half_precision
from cyclegan_core.fitting import to_channels

from .commands import SMALL, Shell, draw, save


def test_grey_and_rgb_become_each_other() -> None:
    grey = torch.rand(2, 1, 3, 4)
    rgb = to_channels(grey, 3)
    assert torch.equal(rgb, grey.repeat(1, 3, 1, 1))
    # Pillow's weights add up to 1, but for the rounding of three products.
    assert torch.allclose(to_channels(rgb, 1), grey, rtol=0, atol=3e-7)
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    assert to_channels(red, 1).item() == pytest.approx(0.299)
    assert to_channels(torch.rand(1, 5, 2, 2), 5).shape == (1, 5, 2, 2)


@pytest.mark.parametrize(
    ("given", "wanted", "kind", "sentence"),
    [
        (3, 4, CycleGANError, "The model takes pictures of 4 channels, not grey or RGB ones;"),
        (1, 2, CycleGANError, "The model takes pictures of 2 channels, not grey or RGB ones;"),
        (4, 3, ValueError, "this model takes 3-channel pictures; got 4 channels."),
    ],
)
def test_what_does_not_fit(given: int, wanted: int, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        to_channels(torch.rand(1, given, 2, 2), wanted)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(("channels_a", "channels_b"), [(4, 3), (3, 2)])
def test_the_command_says_once_that_a_model_is_not_for_files(
    channels_a: int, channels_b: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "odd.safetensors", tmp_path / "out"
    save(model, replace(SMALL, channels_a=channels_a, channels_b=channels_b))
    for name in ("a.png", "b.png"):
        draw(tmp_path / "in" / name)
    for command in ("translate", "reconstruct"):
        result = Shell(capsys)(command, tmp_path / "in", "-o", out, "-m", model)
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            f"cyclegan: {model} makes pictures of {channels_b} channels from {channels_a}, and "
            "files are grey (1) or RGB (3); choose another model.\n"
        )
    assert not out.exists()


def test_half_precision_keeps_no_converted_weights() -> None:
    """A CUDA graph would go on reading them when they are gone."""
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with torch.no_grad(), half_precision(x.device, torch.bfloat16):
        before = layer(x)
        layer.weight.data.mul_(-1)
        after = layer(x)
    assert before.dtype == torch.bfloat16
    assert not torch.equal(before, after)
