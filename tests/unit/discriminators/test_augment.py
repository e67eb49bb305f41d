"""Augmentation against plain arithmetic: each change alone, picture by picture."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core.discriminators.augment import NUM_DRAWS, augment


@pytest.fixture
def images():
    return torch.rand(3, 3, 8, 12, generator=torch.Generator().manual_seed(0)) * 2 - 1


def draws(**values) -> torch.Tensor:
    """0.5, which changes nothing, but for the named places."""
    names = ("brightness", "saturation", "contrast", "down", "right")
    assert len(names) == NUM_DRAWS
    row = torch.full((3, NUM_DRAWS), 0.5)
    for name, value in values.items():
        row[:, names.index(name)] = torch.tensor(value)
    return row


def test_without_strength_it_is_the_same_tensor(images):
    assert augment(images, torch.rand(3, NUM_DRAWS), colour=0.0, shift=0.0) is images


def test_draws_in_the_middle_change_nothing(images):
    assert_close(augment(images, draws(), colour=0.5, shift=0.5), images)


def test_brightness_is_per_picture(images):
    found = augment(images, draws(brightness=[0.0, 0.5, 1.0]), colour=0.2, shift=0.0)
    for result, image, by in zip(found, images, (-0.2, 0.0, 0.2), strict=True):
        assert_close(result, image + by)


def test_saturation_moves_colours_from_their_grey(images):
    found = augment(images, draws(saturation=[0.0, 0.5, 1.0]), colour=1.0, shift=0.0)
    grey = images.mean(1, keepdim=True).expand_as(images)
    assert_close(found[0], grey[0])
    assert_close(found[2], 2 * images[2] - grey[2])


def test_contrast_moves_numbers_from_the_pictures_mean(images):
    found = augment(images, draws(contrast=[0.0, 0.5, 1.0]), colour=1.0, shift=0.0)
    assert_close(found[0], images[0].mean().expand_as(images[0]))
    assert_close(found[2], 2 * images[2] - images[2].mean())


def test_a_shift_reflects_at_the_border(images):
    """By a quarter of 8 rows, which are 2, and of 12 columns, which are 3."""
    found = augment(images, draws(down=[0.0, 0.5, 1.0]), colour=0.0, shift=0.25)
    assert torch.equal(found[0], images[0, :, [2, 1, 0, 1, 2, 3, 4, 5]])
    assert torch.equal(found[1], images[1])
    assert torch.equal(found[2], images[2, :, [2, 3, 4, 5, 6, 7, 6, 5]])
    found = augment(images, draws(right=[0.0, 0.5, 1.0]), colour=0.0, shift=0.25)
    assert torch.equal(found[0], images[0, :, :, [3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8]])


def test_gradients_reach_every_pixel_that_is_shown():
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    drawn = torch.rand(2, NUM_DRAWS)
    assert torch.autograd.gradcheck(
        lambda x: augment(x, drawn, colour=0.3, shift=0.25), images, fast_mode=True
    )


def test_grey_pictures_and_half_precision():
    images = torch.rand(2, 1, 8, 8).bfloat16()
    found = augment(images, torch.rand(2, NUM_DRAWS), colour=0.2, shift=0.125)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
