"""How long a training takes on this machine: measured before it starts, and told in words."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from dataclasses import replace

import torch

from ..config import TrainConfig
from ..data.training_data import TrainingData
from ..errors import TrainingDivergedError
from ..model import CycleGAN
from ..progress import duration
from ..training.trainer import Trainer

_PATIENCE = 3.0
"""Seconds of measuring from which on no further step is made."""
_LONG = 30 * 60
"""Seconds from which on a shorter training is proposed for a first look."""
_FIRST_LOOK = 20 * 60
"""Seconds that a first look may take."""
_ROUND = (100, 200, 500, 1000, 2000, 3000, 5000, 10_000, 20_000, 50_000)
"""Numbers of steps that are proposed."""
_HOPELESS = 12 * 3600
"""Seconds from which on a training on a processor is called hopeless."""
_BUSY = 1.5
"""Programs that want to compute for each core, from which on it is busy beside a training."""
_SMALL = 128
"""Pixels each way that a processor trains on in reasonable time, and channels of 32."""


def time_step(
    config: TrainConfig,
    data: TrainingData,
    *,
    device: str | torch.device = "cpu",
    model: CycleGAN | None = None,
    is_copying: bool = False,
) -> float:
    """Seconds that a step takes, measured with networks that are thrown away.

    The steps of a warm-up, which `is_copying` measures, are shorter than those after it, so that a
    few of the training itself would promise too much. The other arguments are those of `Trainer`.
    The quickest of up to three steps counts; slow ones are not made as often.
    """
    config = replace(
        config,
        max_steps=1000,
        warmup_steps=1000 if is_copying else 0,
        cuda_graph=False,  # recorded for a few steps it would cost more than it gains
        compile=False,
    )
    trainer = Trainer(config, data, device=device, model=model)
    try:
        with torch.inference_mode(mode=False):
            sample = data.sample(0)
            batch = [x[None].expand(config.batch_size, -1, -1, -1) for x in (sample.a, sample.b)]
            times: list[float] = []
            while len(times) < 3 and sum(times) < _PATIENCE:  # the first also chooses algorithms
                started = time.perf_counter()
                with suppress(TrainingDivergedError):  # the training itself will say so
                    trainer.train_step(*batch)
                    trainer.read()  # waits for the device
                times.append(time.perf_counter() - started)
            return min(times)
    finally:
        trainer.release()


def estimate(  # noqa: PLR0913 - all that decides how long it takes
    seconds_per_step: float,
    steps: int,
    config: TrainConfig,
    *,
    image_size: int,
    on_cpu: bool,
    max_minutes: float | None = None,
    copying: tuple[int, float] = (0, 0.0),
) -> str:
    """What to expect of the next `steps` steps, and what to choose instead, in a sentence or two.

    Args:
        seconds_per_step: see `time_step`.
        steps: that are left.
        config: the training's settings.
        image_size: side of the crops in pixels.
        on_cpu: whether a processor trains.
        max_minutes: after which it stops for now, if it does.
        copying: how many of the steps are the warm-up's, and seconds for each.
    """
    copies, seconds_per_copy = copying
    while_copying = copies * seconds_per_copy
    total = while_copying + seconds_per_step * (steps - copies)
    text = f"A step takes {_seconds(seconds_per_step)} here"
    if copies:
        text = f"A step takes {_seconds(seconds_per_copy)} here while it learns to copy"
        text += f", then {_seconds(seconds_per_step)}" if steps > copies else ""
    text += f": {steps:,} steps are {duration(total)}"
    if on_cpu and total > _HOPELESS:
        choices = [f"image_size {_SMALL}"] if image_size > _SMALL else []
        if config.model.base_channels > 32 or image_size <= _SMALL:
            choices.append("the preset quick")
        choices.append("some thousand steps" if steps > 5000 else "fewer steps")
        return (
            f"{text}. That is hopeless on a processor: choose {' and '.join(choices)}, or train "
            "on a graphics card."
        )
    look = _FIRST_LOOK - while_copying
    short = (n for n in _ROUND if (n - copies) * seconds_per_step <= look)
    first_look = max((n for n in short if n >= _enough(config)), default=0)
    if total > _LONG and 0 < first_look < steps:
        text += f"; for a first look take {first_look:,}"
    if max_minutes is not None and total > 60 * max_minutes:
        limit = 60 * max_minutes
        if limit < while_copying:
            reached = int(limit / seconds_per_copy)
        else:
            reached = int(copies + (limit - while_copying) / seconds_per_step)
        text += (
            f". It stops for now after {max_minutes:g} minutes, about {reached:,} steps further; "
            "run again to go on"
        )
    return f"{text}."


def warmup_note(config: TrainConfig) -> str:
    """What a training comes to that ends soon after its warm-up, or within; empty if none does."""
    warmup, steps = config.warmup_steps, config.max_steps
    enough = _enough(config)
    if steps >= enough:
        return ""
    first = f"The first {warmup:,} of {steps:,}" if warmup < steps else f"All {steps:,}"
    return (
        f"{first} steps only learn to copy (warm-up"
        + (f", {warmup:,} steps" if warmup >= steps else "")
        + f"): a style shows after; take {enough:,} steps or more."
    )


def copying_note(config: TrainConfig, step: int) -> str:
    """A sentence, with a space before it, about a training that stopped in its warm-up; or none."""
    if step >= config.warmup_steps:
        return ""
    return f" So far it has learned to copy; a style begins after step {config.warmup_steps:,}."


def _enough(config: TrainConfig) -> int:
    """The least steps after which a style shows, if there is a warm-up."""
    return 9 * config.warmup_steps // 5


def busy_note() -> str:
    """What to know where other programs compute too; empty if they don't, or nobody says.

    Small networks suffer most: at every layer all threads wait for the one that has no processor.
    """
    cores = os.cpu_count()
    if cores is None or not hasattr(os, "getloadavg"):  # Windows has none
        return ""
    load = os.getloadavg()[0]
    if load <= _BUSY * cores:
        return ""
    return (
        f"Other programs keep the processor busy (load {load:.1f} on {cores} cores): steps take "
        "several times as long as alone."
    )


class Pace:
    """How fast the steps of this session are, the latest ones counting, and what is left.

    The steps of a warm-up are shorter than those after it and tell nothing about them, so that
    both have a pace of their own.
    """

    def __init__(
        self, num_steps: int, *, warmup: int = 0, seconds_per_step: float | None = None
    ) -> None:
        """Nothing is known yet.

        Args:
            num_steps: of the whole training.
            warmup: how many of them are its warm-up.
            seconds_per_step: of those after the warm-up, see `time_step`. Where it is not given,
                what is left during the warm-up is "at least" so much.
        """
        self._num_steps = num_steps
        self._warmup = min(warmup, num_steps)
        self._seconds_per_step = seconds_per_step
        self._times: deque[tuple[int, float]] = deque(maxlen=50)

    def on_step(self, step: int) -> str:
        """Note that `step` is done; how long the rest takes, empty if nothing is known or left."""
        if step == self._warmup + 1:  # which also makes what the steps after it use
            self._times.clear()
        self._times.append((step, time.monotonic()))
        (first, since), (last, now) = self._times[0], self._times[-1]
        if last == first or step >= self._num_steps:
            return ""
        seconds = (now - since) / (last - first)
        if step >= self._warmup or self._warmup == self._num_steps:
            return duration(seconds * (self._num_steps - step))
        after = self._num_steps - self._warmup
        if self._seconds_per_step is None:
            return f"at least {duration(seconds * (self._num_steps - step))}"
        return duration(seconds * (self._warmup - step) + self._seconds_per_step * after)


def _seconds(value: float) -> str:
    """Two digits of seconds, or milliseconds."""
    if value < 0.1:
        return f"{max(1, round(value * 1000))} ms"
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
