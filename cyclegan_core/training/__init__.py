"""The training: the step in the paper's order, its state, and the loop.

The presets are settings, which the command line needs at once; the rest needs torch, and waits.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_names
from .presets import PRESETS, Preset

if TYPE_CHECKING:
    from .losses import Losses
    from .trainer import StepReport, Trainer
else:
    __getattr__, __dir__ = lazy_names(
        __name__, losses=("Losses",), trainer=("StepReport", "Trainer")
    )

__all__ = ["PRESETS", "Losses", "Preset", "StepReport", "Trainer"]
