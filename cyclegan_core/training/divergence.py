"""What steps leave on the device, and what the host makes of it when it reads them later."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..device.distributed import spread
from ..errors import TrainingDivergedError
from .losses import Losses

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger(__name__)

_ADVICE = "lower the learning rate, or remove flat or damaged pictures"
_PLAYERS = ("generators", "discriminators")
_IN_ORDER = (
    *("cycle_a", "cycle_b", "identity_b", "identity_a", "gan_ab", "gan_ba"),
    *("disc_b", "disc_a"),
)
"""A step's terms in the order in which they are computed: the first bad one is named."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What the host knows of a training between two steps, apart from what it has read."""

    step: int
    """Finished steps."""
    position: int
    names: str
    """Of the pictures of the step that follows."""
    dice: tuple[Any, ...]
    counts: tuple[int, int]
    """Slots in use of pool_a and pool_b."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A step that the host knows nothing about yet."""

    before: Moment
    row: Tensor
    """What `judge` made of it, on the device."""


def now(trainer: Trainer) -> Moment:
    """What the host knows before the next step."""
    counts = trainer.pool_a.count, trainer.pool_b.count
    dice = trainer.pool_rng.getstate()
    return Moment(trainer.step, trainer.position, trainer.names, dice, counts)


def go_back(trainer: Trainer, moment: Moment) -> None:
    """Know what was known at `moment`; nothing on the device must have changed since."""
    trainer.step, trainer.position = moment.step, moment.position
    trainer.pool_rng.setstate(moment.dice)
    trainer.pool_a.count, trainer.pool_b.count = moment.counts


def judge(trainer: Trainer, terms: dict[str, Tensor], norms: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Note on the device whether a step is sound; from one that is not on, nothing moves.

    Sets `trainer.diverged`, and moves the loss scale.

    Args:
        trainer: whose step it is.
        terms: the step's terms.
        norms: of the gradients of both players, averaged over the ranks and unscaled.

    Returns:
        The step's row, (12,): eight terms, two norms, whether a term is bad on some rank, the loss
        scale before. And a boolean: leave this step out.
    """
    zero = torch.zeros((), device=trainer.device)
    values = torch.stack([terms.get(name, zero) for name in Losses._fields])
    is_bad = spread(~torch.isfinite(values).all())
    overflow = ~torch.isfinite(torch.stack(norms)).all()
    scale = trainer.loss_scale.tensor
    row = torch.stack([*values, *norms, is_bad, scale])
    # Without a loss scale it is 1, and cannot be lowered.
    trainer.diverged.logical_or_(is_bad | (overflow & (scale <= 1)))
    trainer.loss_scale.note(overflow, frozen=trainer.diverged)
    return row, trainer.diverged | overflow


def read(trainer: Trainer) -> None:
    """Read the rows of all unread steps into the history.

    Raises:
        TrainingDivergedError: a step went wrong. The trainer is as it was before that step; steps
            after it, which have changed nothing, are forgotten.
    """
    if not trainer.unread:
        return
    unread, trainer.unread = trainer.unread, []
    table = torch.stack([each.row for each in unread]).cpu()
    for each, row in zip(unread, table, strict=True):
        step = each.before.step + 1
        problem = _problem(row.tolist(), is_scaled=trainer.loss_scale.active)
        if problem is not None:
            go_back(trainer, each.before)
            trainer.diverged.fill_(False)
            of = f" (the batch was {each.before.names})" if each.before.names else ""
            raise TrainingDivergedError(f"Step {step}: {problem}{of}.")
        if not torch.isfinite(row[8:10]).all():
            log.info("Step %d overflowed fp16 and is left out; scale %g.", step, row[11] / 2)
        trainer.history.append(row[: len(Losses._fields)])


def _problem(row: list[float], *, is_scaled: bool) -> str | None:
    """What is wrong with a step, if anything is."""
    terms = dict(zip(Losses._fields, row[:8], strict=True))
    for name in _IN_ORDER:
        if not math.isfinite(terms[name]):
            return f"{name} is {terms[name]}, so the weights were left as they were; {_ADVICE}"
    norms, is_bad, scale = row[8:10], row[10], row[11]
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
        pair for pair in zip(_PLAYERS, norms, strict=True) if not math.isfinite(pair[1])
    )
    return f"the gradient of the {who} is {norm}, so the weights were left as they were; {_ADVICE}"
