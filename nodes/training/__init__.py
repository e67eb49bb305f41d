"""The nodes that make models of folders of pictures, and show how that went.

- `train`: the training; `inputs`: its widgets and what they mean; `settings`: the node beside it.
- `distill`: a student of a model. `plot`: the curves.
"""

from .distill import DistillCycleGAN
from .plot import PlotCycleGANLosses
from .settings import CycleGANTrainSettings
from .train import TrainCycleGAN

__all__ = ["CycleGANTrainSettings", "DistillCycleGAN", "PlotCycleGANLosses", "TrainCycleGAN"]
