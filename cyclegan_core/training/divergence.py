"""Whether a step is finite: noted on the device, and put into words when the host reads it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..device.distributed import spread
from .losses import Terms
from .optimiser import LossScale

_ADVICE = "lower the learning rate, or remove flat or damaged pictures"
_NETWORKS = ("generators", "discriminators")
"""Whose gradients' norms a row has, in its order; without discriminators only the first."""
_IN_ORDER = (
    *("cycle_a", "cycle_b", "identity_b", "identity_a", "l1_b", "features_b", "l1_a", "features_a"),
    *("gan_ab", "gan_ba"),
    *("equivariance_ab", "equivariance_ba", "disc_b", "disc_a"),
)
"""A step's terms in the order in which they are computed: the first bad one is named."""


def check_finite(
    terms: Terms,
    names: Sequence[str],
    norms: list[Tensor],
    loss_scale: LossScale,
    diverged: Tensor,
) -> tuple[Tensor, Tensor]:
    """Note on the device whether a step is sound; from one that is not on, nothing moves.

    Args:
        terms: the step's terms.
        names: those that a row has, see `term_names`; one that this step lacks is 0.
        norms: of the gradients of generators and discriminators, averaged over the ranks and
            unscaled.
        loss_scale: the scale of the step's losses, which is moved.
        diverged: a boolean on the device, set once a step is not finite.

    Returns:
        The step's row, (terms + norms + 2,): both, whether a term is bad on some rank, the loss
        scale before. And a boolean: leave this step out.
    """
    zero = torch.zeros((), device=diverged.device)
    values = torch.stack([terms.get(name, zero) for name in names])
    is_bad = spread(~torch.isfinite(values).all())
    overflow = ~torch.isfinite(torch.stack(norms)).all()
    scale = loss_scale.tensor
    row = torch.stack([*values, *norms, is_bad, scale])
    # Without a loss scale it is 1, and cannot be lowered.
    diverged.logical_or_(is_bad | (overflow & (scale <= 1)))
    loss_scale.note(overflow, frozen=diverged)
    return row, diverged | overflow


def problem(row: Tensor, names: Sequence[str], *, is_scaled: bool) -> str | None:
    """What is wrong with the step of `row`, on the CPU, as a clause; None if it is sound.

    Args:
        row: of `check_finite`.
        names: those of its terms.
        is_scaled: whether losses are scaled, so that an overflow may only mean a step left out.
    """
    numbers: list[float] = row.tolist()
    terms = dict(zip(names, numbers, strict=False))
    for name in _IN_ORDER:
        if name in terms and not math.isfinite(terms[name]):
            return f"{name} is {terms[name]}, so the weights were left as they were; {_ADVICE}"
    norms, (is_bad, scale) = numbers[len(names) : -2], numbers[-2:]
    if is_bad:
        return "another process's loss is not finite"
    if all(map(math.isfinite, norms)) or scale > 1:
        return None
    if is_scaled:
        return (
            "a gradient overflows fp16 whatever its scale, so the weights were left as they were; "
            "use bf16 or fp32, or lower the learning rate"
        )
    who, norm = next(
        pair for pair in zip(_NETWORKS, norms, strict=False) if not math.isfinite(pair[1])
    )
    return f"the gradient of the {who} is {norm}, so the weights were left as they were; {_ADVICE}"


def lowered_scale(row: Tensor, names: Sequence[str]) -> float | None:
    """The loss scale after a sound step that overflowed and was left out; None if it did not."""
    return None if torch.isfinite(row[len(names) : -2]).all() else float(row[-1]) / 2
