"""The colour filter that a translation has to beat: an affine map of RGB, fitted in closed form."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_NEGLIGIBLE = 1e-7
"""A variance of colours, of white 1, that counts as none: a quarter of a level of 255, squared,
is ten times as much."""


@dataclass(frozen=True, slots=True)
class AffineColour:
    """colour' = colour · matrix + offset, the same at every pixel."""

    matrix: Tensor
    """(3,3) float64."""
    offset: Tensor
    """(3,) float64."""

    def __call__(self, picture: Tensor) -> Tensor:
        """(3,H,W) in [0,1] -> the same, clamped to [0,1]."""
        matrix, offset = self.matrix.to(picture), self.offset.to(picture)
        mapped = torch.einsum("chw,cd->dhw", picture, matrix) + offset.view(3, 1, 1)
        return mapped.clamp(0, 1)


class ColourMoments:
    """Mean and covariance of the colours of a set of pictures, added one by one."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = torch.zeros(3, dtype=torch.float64)
        self._products = torch.zeros(3, 3, dtype=torch.float64)

    def add(self, picture: Tensor) -> None:
        """Take in every pixel of a picture (3,H,W) in [0,1]."""
        colours = picture.flatten(1).double().cpu()
        self._count += colours.shape[1]
        self._sum += colours.sum(1)
        self._products += colours @ colours.T

    @property
    def mean(self) -> Tensor:
        """(3,)."""
        return self._sum / self._count

    @property
    def covariance(self) -> Tensor:
        """(3,3)."""
        return self._products / self._count - torch.outer(self.mean, self.mean)


class ColourPairs:
    """What a least-squares fit from the colours of pictures to those of their partners needs."""

    def __init__(self) -> None:
        self._gram = torch.zeros(4, 4, dtype=torch.float64)
        self._targets = torch.zeros(4, 3, dtype=torch.float64)

    def add(self, picture: Tensor, partner: Tensor) -> None:
        """Take in every pixel of two pictures (3,H,W) in [0,1] of one size."""
        colours = picture.flatten(1).double().cpu().T
        inputs = torch.cat([colours, torch.ones(len(colours), 1, dtype=torch.float64)], dim=1)
        self._gram += inputs.T @ inputs
        self._targets += inputs.T @ partner.flatten(1).double().cpu().T

    def fit(self) -> AffineColour:
        """The map with the least squared error; the least such map where several have it."""
        solution = torch.linalg.pinv(self._gram, hermitian=True) @ self._targets
        return AffineColour(solution[:3], solution[3])


def match_moments(source: ColourMoments, target: ColourMoments) -> AffineColour:
    """The affine map that gives the source's colours the target's mean and covariance.

    Many maps do; this is the one that moves colours least in the mean square (the optimal
    transport between two normal distributions): Σₛ^-½ (Σₛ^½ Σₜ Σₛ^½)^½ Σₛ^-½. Maps from Cholesky
    factors or principal axes may turn one hue into another for no reason. Directions in which the
    source has no variance, as grey pictures have two, are left out.
    """
    root = _power(source.covariance, 0.5)
    back = _power(source.covariance, -0.5)
    matrix = back @ _power(root @ target.covariance @ root, 0.5) @ back
    return AffineColour(matrix, target.mean - source.mean @ matrix)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric matrix without negative eigenvalues; of the negligible ones 0."""
    values, vectors = torch.linalg.eigh(matrix)
    floor = _NEGLIGIBLE if exponent < 0 else 0.0
    powers = torch.where(values > floor, values.clamp(min=1e-300) ** exponent, 0.0)
    return vectors @ torch.diag(powers) @ vectors.T
