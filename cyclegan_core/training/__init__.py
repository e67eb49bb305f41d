"""The training: the step in the paper's order, its state, and the loop.

trainer: the loop, what is checked before it, and the export.
step: one step in the paper's order. step_graph: the same recorded as a CUDA graph.
losses: the terms of both objectives, CycleGAN's and pix2pix's, and the discriminators they need.
state: all that a step moves. state_file: the same as one file, and back.
divergence: what is not finite, and what that means in words.
optimiser: Adam, learning rates, the loss scale, the averaged weights.
image_pool: earlier fakes for the discriminators.
presets: starting points by kind of task.

The presets are settings, which the command line needs at once; the rest needs torch, and waits.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names
from .presets import PRESETS, Preset

if TYPE_CHECKING:
    from .losses import EquivarianceLosses, Losses, PairedLosses, by_name
    from .state_file import FixedSettingError
    from .trainer import StepReport, Trainer
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        losses=("EquivarianceLosses", "Losses", "PairedLosses", "by_name"),
        state_file=("FixedSettingError",),
        trainer=("StepReport", "Trainer"),
    )

__all__ = [
    "PRESETS",
    "EquivarianceLosses",
    "FixedSettingError",
    "Losses",
    "PairedLosses",
    "Preset",
    "StepReport",
    "Trainer",
    "by_name",
]
