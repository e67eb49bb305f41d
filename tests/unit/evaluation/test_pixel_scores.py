"""PSNR, SSIM, L1 and fine detail against numpy."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch

from cyclegan_core import CycleGANError
from cyclegan_core.evaluation.distances import fine_detail, pair_scores, psnr

GENERATOR = np.random.default_rng(1)
ONE = GENERATOR.random((3, 17, 13))
OTHER = (ONE + 0.2 * GENERATOR.random((3, 17, 13))).clip(0, 1)


def scores(one, other):
    return pair_scores(torch.from_numpy(one).float(), torch.from_numpy(other).float())


def ssim_in_words(x, y):
    """Wang et al. 2004 with the Gaussian window, the borders reflected."""
    height, width = x.shape[1:]
    x, y = (np.pad(picture, ((0, 0), (5, 5), (5, 5)), mode="reflect") for picture in (x, y))
    places = np.arange(11) - 5
    line = np.exp(-(places**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    found = []
    for channel in range(3):
        for top in range(height):
            for left in range(width):
                u = x[channel, top : top + 11, left : left + 11]
                v = y[channel, top : top + 11, left : left + 11]
                mu, mv = (window * u).sum(), (window * v).sum()
                var_u, var_v = (window * u * u).sum() - mu**2, (window * v * v).sum() - mv**2
                cov = (window * u * v).sum() - mu * mv
                c1, c2 = 0.01**2, 0.03**2
                found.append(
                    (2 * mu * mv + c1)
                    * (2 * cov + c2)
                    / ((mu**2 + mv**2 + c1) * (var_u + var_v + c2))
                )
    return np.mean(found)


def test_the_scores_are_their_formulas() -> None:
    found = scores(ONE, OTHER)
    assert list(found) == ["PSNR", "SSIM", "L1"]
    assert found["PSNR"] == pytest.approx(-10 * math.log10(((ONE - OTHER) ** 2).mean()), rel=1e-5)
    assert found["L1"] == pytest.approx(np.abs(ONE - OTHER).mean(), rel=1e-6)
    # torchmetrics convolves in float32.
    assert found["SSIM"] == pytest.approx(ssim_in_words(ONE, OTHER), abs=1e-5)


def test_equal_pictures_are_perfect() -> None:
    found = scores(ONE, ONE)
    assert found == {"PSNR": math.inf, "SSIM": pytest.approx(1, abs=1e-6), "L1": 0}
    assert psnr(torch.zeros(3, 4, 4), torch.ones(3, 4, 4)) == 0


def test_a_missing_package_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
    with pytest.raises(CycleGANError, match="needs torchmetrics"):
        scores(ONE, OTHER)


def test_fine_detail_is_the_laplacian_of_grey() -> None:
    grey = 255 * np.tensordot((0.299, 0.587, 0.114), ONE, 1)
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    found = fine_detail(torch.from_numpy(ONE).float())
    assert found == pytest.approx(np.abs(laplacian).mean(), rel=1e-5)
    assert fine_detail(torch.rand(3, 2, 9)) == 0  # no pixel has all its neighbours
    ramp = torch.linspace(0, 1, 9).expand(3, 9, 9)
    assert fine_detail(ramp) == pytest.approx(0, abs=1e-3)  # what is only smooth has none
