"""Everything that is ComfyUI's: picture layout, folders, the GPU, progress and cancel."""

from .folders import (
    input_folder,
    input_folders,
    model_names,
    model_path,
    register_model_folder,
    run_folder,
    save_dir,
)
from .gpu import choose_dtype, gpu_dtype, lease, limits, precision_input, training_device
from .images import mask_to_b1hw, to_bchw, to_bhwc
from .progress import Cancelled, TrainProgress, bytes_progress, picture_progress, stop_if_cancelled
from .types import CATEGORY, DIRECTIONS, CycleGANType, chosen

__all__ = [
    "CATEGORY",
    "DIRECTIONS",
    "Cancelled",
    "CycleGANType",
    "TrainProgress",
    "bytes_progress",
    "choose_dtype",
    "chosen",
    "gpu_dtype",
    "input_folder",
    "input_folders",
    "lease",
    "limits",
    "mask_to_b1hw",
    "model_names",
    "model_path",
    "picture_progress",
    "precision_input",
    "register_model_folder",
    "run_folder",
    "save_dir",
    "stop_if_cancelled",
    "to_bchw",
    "to_bhwc",
    "training_device",
]
