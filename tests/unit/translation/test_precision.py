"""Half precision: close to float32, and float32 itself where half precision overflows."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from cyclegan_core import CycleGAN, CycleGANError, ModelConfig

from ..test_model import RESNET, UNET, make, photo

HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("config", [RESNET, UNET, replace(RESNET, norm="batch")])
def test_half_precision_is_close(config: ModelConfig) -> None:
    model, images = make(config), photo(2, 3, 33, 35)
    exact = model.translate(images)
    assert torch.equal(model.translate(images, dtype=torch.float32), exact)
    # Rounding of 2^-9 and 2^-12 per layer; the eight layers amplify it by less than ten.
    for dtype, tolerance in ((torch.bfloat16, 0.08), (torch.float16, 0.01)):
        result = model.translate(images, dtype=dtype)
        assert result.dtype == torch.float32
        difference = (result - exact).abs().max()
        assert 0 < difference < tolerance


def test_a_callers_autocast_does_not_change_float32() -> None:
    model, images = make(), photo(1, 3, 16, 16)
    expected = model.translate(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.translate(images), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_another_precision_translate_too(dtype: torch.dtype) -> None:
    model, images = make(), photo(1, 3, 12, 12)
    exact = model.translate(images)
    result = model.to(dtype).translate(images)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, exact, rtol=0, atol=0.08)


def too_large_for_half(model: CycleGAN) -> CycleGAN:
    """Scale the first convolution beyond 65504; instance norm makes it harmless in float32."""
    with torch.no_grad():
        model.gen_ab.model[1].weight.mul_(1e6)
    return model


def test_an_overflow_falls_back_to_float32_and_is_logged(caplog) -> None:
    model, images = too_large_for_half(make()), photo(1, 3, 16, 16)
    exact = model.translate(images)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        result = model.translate(images, dtype=torch.float16)
    assert torch.equal(result, exact)
    (record,) = caplog.records
    assert record.name == "cyclegan_core.translation.translate"
    assert record.getMessage().startswith("A result in torch.float16 is not finite")


def test_bfloat16_does_not_overflow(caplog) -> None:
    too_large_for_half(make()).translate(photo(1, 3, 16, 16), dtype=torch.bfloat16)
    assert not caplog.records


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [None, *HALVES])
def test_broken_weights_are_named(dtype, caplog) -> None:
    model = make()
    with torch.no_grad():
        model.gen_ab.model[4].bias[0] = torch.nan
    with pytest.raises(CycleGANError, match="because the weights hold NaN or infinite values"):
        model.translate(photo(1, 3, 8, 8), dtype=dtype)
    model.translate(photo(1, 3, 8, 8), "b_to_a", dtype=dtype)


@pytest.mark.parametrize("dtype", [None, *HALVES])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_a_broken_picture_is_named(dtype, value: float, caplog) -> None:
    images = photo(2, 3, 8, 8)
    images[1, 2, 3, 4] = value
    done: list[int] = []
    with pytest.raises(CycleGANError, match="The picture holds NaN or infinite values"):
        make().translate(images, dtype=dtype, on_progress=lambda now, _: done.append(now))
    assert done == [1]  # the good one before it was done
