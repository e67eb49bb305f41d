"""The widgets of Train CycleGAN on Folders."""

from __future__ import annotations

from comfy_api.latest import io

from ..cyclegan_core.config import TrainConfig
from . import host
from .train_settings import SettingsType

_NO_FOLDERS = "put folders of pictures into ComfyUI's input folder, then press R"
"""The only choice while there is nothing to choose."""


def train_inputs() -> list[io.Input]:
    """All of them, in the order of the page; the folders are listed anew at each call."""
    return [*_folder_inputs(), *_length_inputs(), *_optional_inputs()]


def _folder_inputs() -> list[io.Input]:
    folders = host.picture_folders() or [_NO_FOLDERS]
    folder_a, folder_b = host.default_folders(folders)
    return [
        io.Combo.Input(
            "folder_a",
            options=folders,
            default=folder_a,
            tooltip="Folder under ComfyUI's input or output with pictures of domain A (press R "
            "after adding one). Some hundred pictures are a good start.",
        ),
        io.Combo.Input(
            "folder_b",
            options=folders,
            default=folder_b,
            tooltip="Folder under ComfyUI's input or output with pictures of domain B. No pairs "
            "are needed.",
        ),
        io.String.Input(
            "run_name",
            default="my_style",
            tooltip="Name of the training; its files go to a folder of this name in "
            "output/cyclegan.",
        ),
    ]


def _length_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "steps",
            default=20_000,
            min=1,
            max=10_000_000,
            tooltip="Length of the whole training. A style shows after some thousand steps.",
        ),
        io.Float.Input(
            "max_minutes",
            default=60.0,
            min=0.0,
            max=100_000.0,
            step=0.5,
            tooltip="Stop for now after so many minutes, so that the queue stays usable; queue "
            "again to go on. 0: no limit.",
        ),
        io.Int.Input(
            "image_size",
            default=256,
            min=32,
            max=1024,
            step=4,
            tooltip="Side in pixels of the training crops, a multiple of 4. The model later takes "
            "pictures of any size.",
        ),
        io.Float.Input(
            "lambda_identity",
            default=TrainConfig().lambda_identity,
            min=0.0,
            max=10.0,
            step=0.1,
            tooltip="Keeps colours as they are; 0 for domains that look nothing alike. A preset of "
            "CycleGAN Train Settings goes before it.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFF,
            control_after_generate=False,  # else the page draws a new one each time: no resume
            tooltip="Decides the fresh weights and the order of pictures; fixed for a run.",
        ),
        io.Boolean.Input(
            "resume",
            default=True,
            tooltip="Go on with the run of this name if there is one. Off: an existing run is an "
            "error, nothing is ever overwritten.",
        ),
    ]


def _optional_inputs() -> list[io.Input]:
    return [
        SettingsType.Input(
            "settings", optional=True, tooltip="From CycleGAN Train Settings, for experts."
        ),
        host.CycleGANType.Input(
            "start_model",
            optional=True,
            tooltip="A model to start from instead of fresh weights (fine-tuning). It stays as it "
            "is; its network replaces the settings'.",
        ),
    ]
