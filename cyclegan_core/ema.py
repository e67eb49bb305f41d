"""Copies of a model's weights: as they are, and averaged over the steps."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from .model import CycleGAN

log = logging.getLogger(__name__)


@torch.no_grad()
def follow(average: CycleGAN, model: CycleGAN, decay: float, *, step: int) -> None:
    """Move `average` by 1 − decay towards `model`: an exponential moving average.

    In the first steps the decay is (1 + step) / (10 + step) if that is less, or the fresh
    weights would stay in the average for the whole of a short training.
    """
    decay = min(decay, (1 + step) / (10 + step))
    means: list[Tensor] = list(average.parameters())
    weights: list[Tensor] = list(model.parameters())
    for mean, weight in zip(average.buffers(), model.buffers(), strict=True):
        if mean.is_floating_point():
            means.append(mean)
            weights.append(weight)
        else:
            mean.copy_(weight)
    torch._foreach_lerp_(means, weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]


@torch.no_grad()
def copy_weights(source: CycleGAN, target: CycleGAN) -> None:
    """Copy every generator that `source` has; what it lacks stays as it is and is named."""
    for direction in target.directions:
        if direction in source.directions:
            target.generator(direction).load_state_dict(source.generator(direction).state_dict())
        else:
            log.warning("The start model has no %s generator; that one starts fresh.", direction)
