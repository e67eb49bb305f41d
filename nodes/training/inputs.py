"""The widgets of Train CycleGAN on Folders, and what they mean as settings."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ...cyclegan_core.config import DataConfig, ModelConfig, TrainConfig
from ...cyclegan_core.device import NAMES
from ...cyclegan_core.training import PRESETS
from .. import host
from .settings import SettingsType

NONE = "none"
"""The choice of no folder."""

_LOAD_RATIO = 286 / 256
"""The paper's: pictures are made a little larger than the crop."""


def train_inputs() -> list[io.Input]:
    """All of them, in the order of the page; the folders are listed anew at each call.

    Workflows keep values by position, so that new widgets come last.
    """
    folders = host.picture_folders()
    return [
        *_folder_inputs(folders or [host.NO_FOLDERS]),
        *_length_inputs(),
        *_optional_inputs(),
        *_evaluation_inputs([NONE, *folders]),
    ]


def _folder_inputs(folders: list[str]) -> list[io.Input]:
    folder_a, folder_b = host.default_folders(folders)
    return [
        io.Combo.Input(
            "folder_a",
            options=folders,
            default=folder_a,
            tooltip="Pictures as they are, such as photos (domain A): a folder under ComfyUI's "
            "input or output; press R after adding one. Some hundred pictures are a good start.",
        ),
        io.Combo.Input(
            "folder_b",
            options=folders,
            default=folder_b,
            tooltip="Pictures as they shall become, such as paintings (domain B). No pairs are "
            "needed, and the way back is learned as well.",
        ),
        io.String.Input(
            "run_name",
            default="my_style",
            tooltip="Name of the training; its files go to a folder of this name in "
            "output/cyclegan.",
        ),
    ]


def _length_inputs() -> list[io.Input]:
    on_cpu = host.trains_on_cpu()
    return [
        io.Int.Input(
            "steps",
            default=2000 if on_cpu else 20_000,
            min=1,
            max=10_000_000,
            tooltip="Length of the whole training. On a processor 2,000 to 5,000 give a first "
            "style; on a GPU take some ten thousand. The node says how long that is.",
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
            default=128 if on_cpu else 256,
            min=32,
            max=1024,
            step=4,
            tooltip="Side in pixels of the training crops, a multiple of 4: 128 on a processor, "
            "256 on a GPU. The model later takes pictures of any size.",
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
            "settings",
            optional=True,
            tooltip="From CycleGAN Train Settings. Without: the preset quick on a processor, the "
            "paper's settings on a GPU.",
        ),
        host.CycleGANType.Input(
            "start_model",
            optional=True,
            tooltip="A model to start from instead of fresh weights (fine-tuning). It stays as it "
            "is; its network replaces the settings'.",
        ),
    ]


def _evaluation_inputs(folders: list[str]) -> list[io.Input]:
    folder = {"options": folders, "default": NONE, "optional": True}
    return [
        io.Combo.Input(
            "folder_test_a",
            **folder,
            tooltip="Folder with pictures of domain A that are not trained on, 10 or better 50 and "
            "more: the model is scored on them as it learns, and the best one is kept beside the "
            "last.",
        ),
        io.Combo.Input(
            "folder_test_b",
            **folder,
            tooltip="The same of domain B; choose both or none.",
        ),
        host.advanced(
            io.Int.Input(
                "evaluate_every",
                default=500,
                min=1,
                max=1_000_000,
                optional=True,
                tooltip="Steps from one score to the next, with test folders.",
            )
        ),
        host.advanced(
            io.Int.Input(
                "patience",
                default=0,
                min=0,
                max=1000,
                optional=True,
                tooltip="Stop after so many scores in a row without a new best, with test "
                "folders. 0: never.",
            )
        ),
    ]


def auto_preset(before: dict[str, Any], *, has_start_model: bool) -> str:
    """The preset of a training without settings: "quick" on a processor, else "none".

    A run that is there already goes on as it began, which `before`, its `run.json`, says; and
    `quick` needs fresh networks.
    """
    quick = PRESETS["quick"].train["discriminator"]
    try:
        return "quick" if before["config"]["discriminator"] == quick else "none"
    except (LookupError, TypeError):  # nothing is there, or nothing that we wrote
        return "quick" if host.trains_on_cpu() and not has_start_model else "none"


def configs(
    settings: dict[str, dict[str, Any]], widgets: dict[str, Any], image_size: int
) -> tuple[TrainConfig, DataConfig]:
    """The settings node's, or a preset's, over the node's own widgets over the defaults.

    The two nodes share no widget; only a preset says something about one of Train's.
    """
    model: dict[str, Any] = {
        "num_blocks": 6 if image_size < 256 else 9,
        **settings.get("model", {}),
        "image_size": image_size,
    }
    precision = NAMES[host.training_dtype()]
    train: dict[str, Any] = {"precision": precision, **widgets, **settings.get("train", {})}
    data: dict[str, Any] = {**settings.get("data", {}), "crop_size": image_size}
    # Crops of several scales need pictures with room for the largest.
    data["load_size"] = round(image_size * max(_LOAD_RATIO, data.get("scales", 1.0)))
    return TrainConfig(model=ModelConfig(**model), **train), DataConfig(**data)
