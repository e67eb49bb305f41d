"""CycleGAN: unpaired image-to-image translation as a library.

Everything listed in `__all__` is public and stable; the rest may move. The library never knows who
is calling: no host, no device choice, and no effect on import. Only `hub` downloads, and only when
asked to; only `cli`, the command, chooses a device. What needs torch is imported when its name is
used first.
"""

from typing import TYPE_CHECKING

from ._lazy import lazy_names
from ._version import __version__
from .config import DataConfig, Direction, DistillConfig, ModelConfig, TrainConfig
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

if TYPE_CHECKING:
    from .checkpoint.checkpoint import CheckpointInfo, inspect_checkpoint
    from .data.paired_folders import PairedFolders
    from .data.unpaired_folders import UnpairedFolders
    from .distillation.comparison import Comparison
    from .distillation.student import distill
    from .export import ExportReport, export_model
    from .model import CycleGAN, Reconstruction, load_model, save_model
    from .pictures.picture import Picture, read_picture, write_picture
    from .runs.run_folder import RunFolder
    from .training.losses import EquivarianceLosses, Losses, PairedLosses
    from .training.trainer import StepReport, Trainer
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        checkpoint__checkpoint=("CheckpointInfo", "inspect_checkpoint"),
        data__paired_folders=("PairedFolders",),
        data__unpaired_folders=("UnpairedFolders",),
        distillation__comparison=("Comparison",),
        distillation__student=("distill",),
        export=("ExportReport", "export_model"),
        model=("CycleGAN", "Reconstruction", "load_model", "save_model"),
        pictures__picture=("Picture", "read_picture", "write_picture"),
        runs__run_folder=("RunFolder",),
        training__losses=("EquivarianceLosses", "Losses", "PairedLosses"),
        training__trainer=("StepReport", "Trainer"),
    )

__all__ = [
    "CheckpointError",
    "CheckpointInfo",
    "Comparison",
    "CompilerError",
    "CycleGAN",
    "CycleGANError",
    "DataConfig",
    "DatasetError",
    "Direction",
    "DistillConfig",
    "DownloadError",
    "EquivarianceLosses",
    "ExportReport",
    "Losses",
    "MissingDirectionError",
    "ModelConfig",
    "PairedFolders",
    "PairedLosses",
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
    "distill",
    "export_model",
    "inspect_checkpoint",
    "load_model",
    "read_picture",
    "save_model",
    "write_picture",
]
