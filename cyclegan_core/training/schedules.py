"""How the learning rate changes over a training, in closed form."""

from __future__ import annotations

import math

from ..config import TrainConfig


def lr_multiplier(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The factor of the learning rate for the step that follows `step` finished ones.

    The rate changes at the start of each epoch, as in the original; a training of less than the
    paper's 200 epochs is cut into 200 parts instead, which then count as epochs. With n constant
    epochs and m epochs of decay, epoch e (from 1) has, by `config.schedule`:

    - constant: 1.
    - linear: 1 − max(0, e − n) / (m + 1); never 0 (paper: n = m = 100).
    - cosine: (1 + cos(π max(0, e − n) / (m + 1))) / 2; ends low.
    - step: a tenth for every `step_epochs` epochs gone by.

    `config.lr_interval` sets the length of an epoch (in steps) by hand.
    """
    interval = config.lr_interval or min(steps_per_epoch, max(1, config.max_steps // 200))
    epochs = max(1, math.ceil(config.max_steps / interval))
    constant = round(epochs * config.constant_fraction)
    gone = step // interval  # epoch e = gone + 1
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return 0.1 ** (gone // config.step_epochs)
    part = max(0, min(gone + 1, epochs) - constant) / (epochs - constant + 1)
    if config.schedule == "linear":
        return 1.0 - part
    return (1 + math.cos(math.pi * part)) / 2
