"""What of a frame is carried on to the next: along the film's motion, and never past a change."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from cyclegan_core import CycleGAN
from cyclegan_core.config import FilmSettings
from cyclegan_core.translation.motion import Steady, flow, moved

from ..weights import make_model


def scene(seed: int = 0, side: int = 96) -> Tensor:
    """(1,3,H,W): soft spots of many sizes."""
    rng = torch.Generator().manual_seed(seed)
    sizes = (side // 24, side // 12, side // 6)
    parts = [torch.rand(1, 3, size, size, generator=rng) for size in sizes]
    return (
        sum(F.interpolate(part, (side, side), mode="bicubic") for part in parts).div(3).clamp(0, 1)
    )


def shifted(picture: Tensor, right: float, down: float) -> Tensor:
    """The picture with all of it moved."""
    way = torch.tensor([-right, -down]).view(1, 2, 1, 1).expand(1, 2, *picture.shape[2:])
    return moved(picture, way, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.25), (-1.5, 2.25), (9.0, -7.5)])
def test_the_flow_is_the_motion(right: float, down: float) -> None:
    before = scene().mean(1, keepdim=True)
    found = flow(before, shifted(before, right, down))[:, :, 28:-28, 28:-28]
    error = (found - torch.tensor([-right, -down]).view(1, 2, 1, 1)).abs()
    assert float(error.quantile(0.9)) < 0.15, "some places are at the edge, or have no contrast"


def test_what_a_network_paints_anew_on_what_moves_grows_calm() -> None:
    """The paint is noise, so that all of it would swim."""
    rng = torch.Generator().manual_seed(1)
    film = [shifted(scene(), 0.7 * number, -0.4 * number) for number in range(8)]
    paint = [frame + 0.1 * torch.randn(frame.shape, generator=rng) for frame in film]
    steady = Steady(0.8)
    calm = [steady.blend(frame, painted) for frame, painted in zip(film, paint, strict=True)]
    inside = (..., slice(16, -16), slice(16, -16))

    def swim(parts: list[Tensor]) -> float:
        way = torch.tensor([-0.7, 0.4]).view(1, 2, 1, 1).expand(1, 2, 96, 96)
        return float(
            sum((b - moved(a, way))[inside].square().mean() for a, b in pairwise(parts[3:]))
        )

    assert swim(calm) < 0.15 * swim(paint)
    error = (calm[-1] - film[-1])[inside].square().mean()
    assert error < 0.4 * (paint[-1] - film[-1])[inside].square().mean(), "it is no blur either"


def test_what_comes_into_view_is_free_of_what_hid_it() -> None:
    ground, film = scene(), []
    for number in range(4):
        frame = ground.clone()
        frame[..., 30:60, 10 + 12 * number : 34 + 12 * number] = 1.0
        film.append(frame)
    steady = Steady(0.9)
    results = [steady.blend(frame, 1 - frame) for frame in film]
    for frame, result in zip(film, results, strict=True):
        torch.testing.assert_close(result, 1 - frame, rtol=0, atol=0.05)


def test_another_scene_begins_anew() -> None:
    steady = Steady(0.9)
    steady.blend(scene(), torch.zeros(1, 3, 96, 96))
    ones = torch.ones(1, 3, 96, 96)
    assert torch.equal(steady.blend(scene(5), ones), ones)
    larger = torch.ones(1, 3, 80, 100)
    assert torch.equal(steady.blend(larger / 2, larger), larger)


def test_what_stands_still_is_not_resampled() -> None:
    """A still scene in which something moves: its paint stays, to the bit, where it is the same."""
    paint = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    steady = Steady(0.9)
    for number in range(3):
        frame = scene()
        frame[..., 40:50, 8 * number : 8 * number + 10] = 1.0
        result = steady.blend(frame, paint)
    torch.testing.assert_close(result[..., 60:, :], paint[..., 60:, :], rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 5), (700, 30)])
def test_any_size_has_a_flow(size: tuple[int, int]) -> None:
    frames = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(3))
    steady = Steady(0.5)
    for frame in frames.split(1):
        result = steady.blend(frame, frame)
    assert torch.isfinite(result).all()
    assert result.shape == (1, 1, *size)


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    return make_model()


def test_it_is_blended_after_the_network(model: CycleGAN) -> None:
    film = torch.cat([shifted(scene(side=24), 0.5 * number, 0) for number in range(3)])
    own = model.translate(film)
    assert torch.equal(model.translate(film, steadiness=0), own)
    by_hand = Steady(0.8)
    pairs = zip(film.split(1), own.split(1), strict=True)
    expected = torch.cat([by_hand.blend(frame, painted) for frame, painted in pairs])
    steady = model.translate(film, steadiness=0.8)
    assert torch.equal(steady, expected)
    assert torch.equal(steady[0], own[0])
    assert not torch.equal(steady[1], own[1])


def test_a_steady_film_goes_on_from_its_state(model: CycleGAN) -> None:
    film = torch.cat([shifted(scene(side=24), 0.5 * number, 0) for number in range(5)])
    settings = FilmSettings(statistics="smoothed", steadiness=0.8)
    whole = model.film(settings=settings).translate(film)
    first = model.film(settings=settings)
    begun = first.translate(film[:3])
    state = {name: part.clone() for name, part in first.state().items()}
    begun_before = begun.clone()
    begun.zero_()  # a caller's own business
    second = model.film(settings=settings)
    second.load_state(state)
    assert torch.equal(torch.cat([begun_before, second.translate(film[3:])]), whole)
    assert torch.equal(first.translate(film[3:]), whole[3:])
