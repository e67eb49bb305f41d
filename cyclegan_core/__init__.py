"""CycleGAN: unpaired image-to-image translation as a library.

Everything listed in `__all__` is public and stable; the rest may move. The core never knows who
is calling: no host, no device choice, no download, and no effect on import.
"""

from ._version import __version__
from .checkpoint.checkpoint import CheckpointInfo, inspect_checkpoint, load_model, save_model
from .config import Direction, ModelConfig, TrainConfig
from .data.transforms import DataConfig
from .data.unpaired_folders import UnpairedFolders
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
from .model import CycleGAN, Reconstruction
from .pictures.picture import Picture, read_picture, write_picture
from .runs.run_folder import RunFolder
from .training.losses import Losses
from .training.trainer import StepReport, Trainer

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
