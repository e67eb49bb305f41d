"""The median over views forgets the grid of the network's strides."""

import pytest
import torch
from torch import Tensor

from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.distillation.self_ensemble import MAX_VIEWS, translate_views

from ..checkpoint.foreign import scramble


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    config = ModelConfig(base_channels=4, num_blocks=0, norm="none")
    model = CycleGAN(config, directions=("a_to_b",)).eval()
    scramble(model, 5)
    return model


@pytest.fixture(scope="module")
def picture() -> Tensor:
    return torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(2))


def inner(picture: Tensor) -> Tensor:
    """What no border reaches, of a picture that begins at row and column 1 of its neighbour's."""
    return picture[..., 20:36, 20:36]


def test_one_view_is_the_plain_translation(model, picture) -> None:
    plain = model.translate(picture, "a_to_b")
    assert torch.equal(translate_views(model, picture, "a_to_b", views=1), plain)


def test_all_views_follow_a_shift_and_a_mirror_which_one_does_not(model, picture) -> None:
    def errors(views: int) -> tuple[float, float]:
        here = translate_views(model, picture, "a_to_b", views=views)
        there = translate_views(model, picture[..., 1:, 1:], "a_to_b", views=views)
        mirrored = translate_views(model, picture.flip(-1), "a_to_b", views=views).flip(-1)
        shift = inner(here[..., 1:, 1:]) - inner(there)
        return float(shift.abs().max()), float((inner(here) - inner(mirrored)).abs().max())

    assert max(errors(MAX_VIEWS)) < 1e-5
    assert min(errors(1)) > 1e-2


@pytest.mark.parametrize("size", [(1, 1), (5, 30)])
@pytest.mark.parametrize("views", [2, 7])
def test_any_size_and_number_of_views(model, size, views) -> None:
    output = translate_views(model, torch.rand(2, 3, *size), "a_to_b", views=views)
    assert output.shape == (2, 3, *size)
    assert 0 <= float(output.min()) <= float(output.max()) <= 1
