"""The affine colour maps: fits that must find what was put in, and moments that must match."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cyclegan_core.evaluation.colour import AffineColour, ColourMoments, ColourPairs, match_moments


def colours(seed: int, mixing=None, offset=0.0) -> torch.Tensor:
    """(3,40,30) whose channels are correlated as `mixing` says; about in the middle of [0,1]."""
    values = np.random.default_rng(seed).normal(size=(1200, 3))
    mixed = values @ (np.eye(3) if mixing is None else mixing) * 0.04 + 0.5 + offset
    return torch.from_numpy(mixed.T.reshape(3, 40, 30)).float()


def moments(*pictures: torch.Tensor) -> ColourMoments:
    found = ColourMoments()
    for picture in pictures:
        found.add(picture)
    return found


MIXING = np.array([[1.0, 0.4, 0.1], [0.0, 1.5, 0.3], [0.2, 0.0, 0.6]])


def test_moments_are_numpys() -> None:
    one, other = colours(1, MIXING), colours(2)
    together = np.concatenate([p.flatten(1).double().numpy() for p in (one, other)], axis=1)
    found = moments(one, other)
    np.testing.assert_allclose(found.mean, together.mean(1), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(together, ddof=0), rtol=1e-9)


def test_least_squares_finds_the_map_that_made_the_partners() -> None:
    true = AffineColour(torch.tensor(MIXING) * 0.5, torch.tensor([0.1, -0.05, 0.2]).double())
    pairs = ColourPairs()
    for seed in range(3):
        pairs.add(colours(seed), true(colours(seed)))
    found = pairs.fit()
    # The pictures are float32.
    torch.testing.assert_close(found.matrix, true.matrix, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.offset, true.offset, rtol=0, atol=1e-5)


def test_least_squares_is_numpys_where_no_map_is_exact() -> None:
    one, other = colours(4, MIXING), colours(5)
    pairs = ColourPairs()
    pairs.add(one, other)
    found = pairs.fit()
    inputs = np.c_[one.flatten(1).double().numpy().T, np.ones(1200)]
    expected, *_ = np.linalg.lstsq(inputs, other.flatten(1).double().numpy().T, rcond=None)
    np.testing.assert_allclose(found.matrix, expected[:3], atol=1e-8)
    np.testing.assert_allclose(found.offset, expected[3], atol=1e-8)


def test_the_match_gives_the_targets_mean_and_covariance() -> None:
    source, target = colours(6), colours(7, MIXING, offset=-0.1)
    match = match_moments(moments(source), moments(target))
    assert 0 < match(source).min() < match(source).max() < 1  # nothing was clamped
    found = moments(match(source))
    torch.testing.assert_close(found.mean, moments(target).mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.covariance, moments(target).covariance, rtol=0, atol=1e-7)


def test_the_match_turns_no_hue_for_nothing() -> None:
    """It is the gradient of a convex function: symmetric, and no eigenvalue is negative."""
    match = match_moments(moments(colours(8, MIXING)), moments(colours(9)))
    torch.testing.assert_close(match.matrix, match.matrix.T)
    assert (torch.linalg.eigvalsh(match.matrix) > 0).all()
    alike = match_moments(moments(colours(8, MIXING)), moments(colours(8, MIXING)))
    torch.testing.assert_close(alike.matrix, torch.eye(3).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(alike.offset, torch.zeros(3).double(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["grey", "flat"])
def test_grey_and_flat_pictures_can_be_matched(kind: str) -> None:
    """Their colours leave the map open in two or three directions; it is finite all the same."""
    grey = torch.full((3, 40, 30), 0.25) if kind == "flat" else colours(10)[:1].expand(3, -1, -1)
    target = colours(11, MIXING)
    pairs = ColourPairs()
    pairs.add(grey, target)
    for match in (match_moments(moments(grey), moments(target)), pairs.fit()):
        found = moments(match(grey))
        torch.testing.assert_close(found.mean, moments(target).mean, rtol=0, atol=1e-5)
        assert match.matrix.abs().max() < 10
