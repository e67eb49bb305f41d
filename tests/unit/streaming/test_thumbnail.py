"""Thumbnails: the result with the statistics of a reduced copy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from cyclegan_core import CycleGAN, load_model, read_picture
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.streaming.plan import StreamPlan
from cyclegan_core.streaming.stream import _reduced, thumbnail

from .test_stream import SMALL, TRAINED, make, photo, plan

ASTRONAUT = Path(__file__).parents[1] / "astronaut.jpg"


def quick(model: CycleGAN, images: Tensor, how: StreamPlan | None = None) -> Tensor:
    result = torch.empty_like(images)
    (direction,) = model.directions[:1]
    source, sink = TensorRows(images[0]), TensorRows(result[0])
    thumbnail(model.generator(direction), model.config, source, sink, how or StreamPlan())
    return result


@pytest.mark.parametrize("size", [(3, 5), (37, 50), (512, 9)])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_exact_up_to_512_pixels(size, norm) -> None:
    config = replace(SMALL, norm=norm)
    model, images = make(config).double(), photo(1, 3, *size).double()
    whole = model.translate(images, memory="whole")
    result = quick(model, images, plan(config, size[1], 8, torch.float64))
    # float64; a norm of a map that is almost constant multiplies its rounding by 300.
    torch.testing.assert_close(result, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_exact_at_any_size_without_instance_norm(norm) -> None:
    config = replace(SMALL, norm=norm, num_blocks=9)
    model, images = make(config).double(), photo(1, 3, 600, 20).double()
    whole = model.translate(images, memory="whole")
    result = quick(model, images, plan(config, 20, 4, torch.float64))
    torch.testing.assert_close(result, whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("size", "reduced"),
    [
        ((700, 1000), (358, 512)),
        ((5000, 40), (512, 40)),
        ((100, 3000), (64, 512)),
        ((512, 300), (512, 300)),
        ((1, 2000), (1, 512)),
    ],
)
def test_the_reduced_copy_averages_areas(size, reduced) -> None:
    picture = photo(1, *size).double()
    result = _reduced(TensorRows(picture))
    # float64, summed in another order.
    wanted = F.adaptive_avg_pool2d(picture, reduced)
    torch.testing.assert_close(result, wanted, rtol=0, atol=1e-12)


def test_how_close_it_is_on_a_photo() -> None:
    """A photo of 1024×256 in full detail, with its mirror image: statistics from every 2×2."""
    picture = read_picture(ASTRONAUT).pixels[None, :, :256]
    images = torch.cat([picture, picture.flip(-1)], 3)
    model = load_model(TRAINED)
    (direction,) = model.directions[:1]
    error = (quick(model, images) - model.translate(images, direction, memory="whole")).abs()
    # 0.0091 and 0.085 were seen; other kernels round otherwise.
    assert 0 < error.mean() < 0.015
    assert error.quantile(0.999) < 0.12
