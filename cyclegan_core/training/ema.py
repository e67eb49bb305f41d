"""Copies of a model's weights: as they are, and averaged over the steps."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ..model import CycleGAN

log = logging.getLogger(__name__)


def share_of_new(decay: float, *, step: int) -> float:
    """What the weights after `step` finished steps and one more count for in their average.

    In the first steps the decay is (1 + step) / (10 + step) if that is less, or the fresh
    weights would stay in the average for the whole of a short training.
    """
    return 1 - min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def follow(average: CycleGAN, model: CycleGAN, share: Tensor) -> None:
    """Move `average` by `share` towards `model`: an exponential moving average.

    `share` is a number on their device; 0 leaves the average as it is.
    """
    means: list[Tensor] = list(average.parameters())
    weights: list[Tensor] = list(model.parameters())
    for mean, weight in zip(average.buffers(), model.buffers(), strict=True):
        if mean.is_floating_point():
            means.append(mean)
            weights.append(weight)
        else:
            mean.copy_(torch.where(share > 0, weight, mean))
    shares = [share.to(means[0].dtype)] * len(means)
    torch._foreach_lerp_(means, weights, shares)  # pyright: ignore[reportPrivateImportUsage]


@torch.no_grad()
def copy_weights(source: CycleGAN, target: CycleGAN) -> None:
    """Copy every generator that `source` has; what it lacks stays as it is and is named."""
    for direction in target.directions:
        if direction in source.directions:
            target.generator(direction).load_state_dict(source.generator(direction).state_dict())
        else:
            log.warning("The start model has no %s generator; that one starts fresh.", direction)
