"""CycleGAN: unpaired image-to-image translation as a library.

Everything listed in `__all__` is public and stable; the rest may move. The core never knows who
is calling: no host, no device choice, no download, and no effect on import.
"""

from .checkpoint import CheckpointInfo, inspect_checkpoint, load_model, save_model
from .config import Direction, ModelConfig
from .errors import (
    CheckpointError,
    CycleGANError,
    DatasetError,
    DownloadError,
    MissingDirectionError,
    PictureError,
    TrainingDivergedError,
)
from .model import CycleGAN, Reconstruction
from .pictures import Picture, read_picture, write_picture

__version__ = "0.1.0"

__all__ = [
    "CheckpointError",
    "CheckpointInfo",
    "CycleGAN",
    "CycleGANError",
    "DatasetError",
    "Direction",
    "DownloadError",
    "MissingDirectionError",
    "ModelConfig",
    "Picture",
    "PictureError",
    "Reconstruction",
    "TrainingDivergedError",
    "__version__",
    "inspect_checkpoint",
    "load_model",
    "read_picture",
    "save_model",
    "write_picture",
]
