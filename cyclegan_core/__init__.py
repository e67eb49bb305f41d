"""CycleGAN: unpaired image-to-image translation as a library.

Everything listed in `__all__` is public and stable; the rest may move. The core never knows who
is calling: no host, no device choice, no download, and no effect on import.
"""

from ._version import __version__
from .checkpoint import CheckpointInfo, inspect_checkpoint, load_model, save_model
from .config import Direction, ModelConfig, TrainConfig
from .data import UnpairedFolders
from .errors import (
    CheckpointError,
    CompilerError,
    CycleGANError,
    DatasetError,
    DownloadError,
    MissingDirectionError,
    PictureError,
    TrainingDivergedError,
)
from .losses import Losses
from .model import CycleGAN, Reconstruction
from .pictures import Picture, read_picture, write_picture
from .run_folder import RunFolder
from .trainer import StepReport, Trainer
from .transforms import DataConfig

__all__ = [
    "CheckpointError",
    "CheckpointInfo",
    "CompilerError",
    "CycleGAN",
    "CycleGANError",
    "DataConfig",
    "DatasetError",
    "Direction",
    "DownloadError",
    "Losses",
    "MissingDirectionError",
    "ModelConfig",
    "Picture",
    "PictureError",
    "Reconstruction",
    "RunFolder",
    "StepReport",
    "TrainConfig",
    "Trainer",
    "TrainingDivergedError",
    "UnpairedFolders",
    "__version__",
    "inspect_checkpoint",
    "load_model",
    "read_picture",
    "save_model",
    "write_picture",
]
