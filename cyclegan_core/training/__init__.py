"""The training: the step in the paper's order, its state, and the loop."""

from .losses import Losses
from .presets import PRESETS, Preset
from .trainer import StepReport, Trainer

__all__ = ["PRESETS", "Losses", "Preset", "StepReport", "Trainer"]
