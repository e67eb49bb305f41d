"""Everything that is ComfyUI's: picture layout, folders, the GPU, progress and cancel."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

import comfy.model_management as mm
import comfy.model_patcher
import comfy.utils
import folder_paths
import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..cyclegan_core import CycleGAN, Direction
from ..cyclegan_core.config import Memory
from ..cyclegan_core.pictures.files import find_pictures
from ..cyclegan_core.runs.run_folder import STATE_NAME
from ..cyclegan_core.training.feature_network import FEATURES_NAME
from ..cyclegan_core.translation.plan import Limits, TranslateSettings, wanted_bytes

CycleGANType = io.Custom("CYCLEGAN")
"""The socket; on its wire travels a `CycleGAN`, shared and cached: no node may change it."""

T = TypeVar("T")

CATEGORY = "CycleGAN"
MODEL_FOLDER = "cyclegan"
MODEL_EXTENSIONS = frozenset([".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar"])
BUNDLED_DIR = Path(__file__).parent.parent / "weights"

DIRECTIONS: dict[str, Direction] = {"A→B": "a_to_b", "B→A": "b_to_a"}
"""Widget labels and what they mean."""

PREVIEW_PIXELS = 1024
"""Longest side of the live preview."""

Cancelled = mm.InterruptProcessingException
"""What the host raises when the user cancels."""

_MAX_NAME = 100
"""Characters of a run's name; file systems allow some more."""


def register_model_folder() -> None:
    """Make models/cyclegan known to the host, then the bundled weights, then trained runs.

    Paths of `extra_model_paths.yaml`, registered before, stay. The host lists every file of a
    folder without extensions, hence ours are set.
    """
    own = Path(folder_paths.models_dir) / MODEL_FOLDER
    with suppress(OSError):  # a read-only folder still holds models to load
        own.mkdir(parents=True, exist_ok=True)
    for folder in (own, BUNDLED_DIR, runs_dir()):
        folder_paths.add_model_folder_path(MODEL_FOLDER, str(folder))
    paths, extensions = folder_paths.folder_names_and_paths[MODEL_FOLDER]
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (
        paths,
        {*extensions, *MODEL_EXTENSIONS},
    )


def model_names() -> list[str]:
    """What the user can choose in a loader: the host's list, less training states and features."""
    names = folder_paths.get_filename_list(MODEL_FOLDER)
    return [name for name in names if Path(name).name not in (STATE_NAME, FEATURES_NAME)]


def model_path(name: str) -> Path | None:
    """The file behind a name of `model_names`, or None."""
    full = folder_paths.get_full_path(MODEL_FOLDER, name)
    return Path(full) if full else None


def save_dir() -> Path:
    """Where models of the user's own are written."""
    return Path(folder_paths.models_dir) / MODEL_FOLDER


def runs_dir() -> Path:
    """Where trainings leave their run folders."""
    return Path(folder_paths.get_output_directory()) / MODEL_FOLDER


def run_folder(name: str) -> Path:
    """The folder of a run, inside `runs_dir`.

    Raises:
        ValueError: the name is empty or would lead elsewhere.
    """
    name = name.strip()
    is_path = name in (".", "..") or set(name) & set('/\\:*?"<>|') or not name.isprintable()
    if not name or is_path or len(name) > _MAX_NAME:
        raise ValueError(
            f"run_name {name[:_MAX_NAME]!r} is not a folder name; use letters, digits, - and _."
        )
    return runs_dir() / name


def input_folders() -> list[str]:
    """Folders under the host's input folder with pictures in or below them.

    As relative paths with forward slashes.
    """
    root = Path(folder_paths.get_input_directory())
    found: list[str] = []
    for parent, folders, _ in os.walk(root, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # A link is offered like a folder, but what lies below it is not listed.
        with_pictures = (Path(parent, name) for name in folders)
        found += [
            path.relative_to(root).as_posix() for path in with_pictures if any(find_pictures(path))
        ]
    return sorted(found)


def input_folder(name: str) -> Path:
    """The folder behind a name of `input_folders`.

    Raises:
        ValueError: the name leads out of the input folder.
        FileNotFoundError: there is no such folder.
    """
    # By the letters only: a link inside the input folder may well lead to another disk.
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or set(name) & set("\\:\0"):
        raise ValueError(f"'{name}' is not a folder under ComfyUI's input; choose a listed one.")
    path = Path(folder_paths.get_input_directory()) / relative
    if not path.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{name}' under ComfyUI's input; put pictures there and press R."
        )
    return path


def chosen(table: Mapping[str, T], widget: str, label: str) -> T:
    """What a combo's label means. Hosts up to 0.3.75 don't check the choices of V3 nodes."""
    if label not in table:
        raise ValueError(f"{widget} must be one of {', '.join(table)}; got {label!r}.")
    return table[label]


def to_bchw(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """IMAGE (B,H,W,C) of any float type -> (B,C,H,W) float32 in [0,1], alpha (B,1,H,W) or None.

    They are views where nothing has to be changed: a video is not copied.
    """
    pixels = image.movedim(-1, 1).float()
    # Of the host's layout: `aminmax` would copy any other.
    low, high = torch.aminmax(image) if image.numel() else (image.new_zeros(()),) * 2
    if low < 0 or high > 1:
        pixels = pixels.clamp(0, 1)
    if pixels.shape[1] in (2, 4):
        return pixels[:, :-1], pixels[:, -1:]
    return pixels, None


def to_bhwc(pixels: Tensor, alpha: Tensor | None = None) -> Tensor:
    """(B,C,H,W) in [0,1], grey or RGB -> IMAGE with RGB or RGBA where and how the host keeps it."""
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    if alpha is not None:
        pixels = torch.cat([pixels, alpha.to(pixels)], dim=1)
    image = pixels.movedim(1, -1).contiguous().to(mm.intermediate_device())
    intermediate_dtype = getattr(mm, "intermediate_dtype", None)  # newer hosts
    return image.to(intermediate_dtype()) if intermediate_dtype else image


def mask_to_b1hw(mask: Tensor, like: Tensor) -> Tensor:
    """MASK (B,H,W) or (H,W) of any size -> (1 or B,1,H,W) with the size and device of `like`."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).to(like).clamp(0, 1)
    if mask.shape[0] not in (1, like.shape[0]):
        raise ValueError(
            f"The mask has {mask.shape[0]} frames and the image {like.shape[0]}; connect one mask "
            "for all frames, or one per frame."
        )
    if mask.shape[-2:] == like.shape[-2:]:
        return mask
    return torch.nn.functional.interpolate(mask, like.shape[-2:], mode="bilinear")


def gpu_dtype() -> torch.dtype:
    """The half precision that the host thinks its GPU is good at; without either, float32."""
    device = mm.get_torch_device()
    if mm.should_use_bf16(device):
        return torch.bfloat16
    return torch.float16 if mm.should_use_fp16(device) else torch.float32


@contextmanager
def lease(
    model: CycleGAN, image: Tensor, dtype: torch.dtype, memory: Memory = "auto"
) -> Generator[CycleGAN]:
    """Borrow the host's GPU for a model while the pictures `image` (B,H,W,C) go through it.

    The host is asked for the memory of the plan that will be taken, with convolutions in `dtype`.
    The host's memory manager loads the weights, evicting others if it must, and from then on
    counts them as its own and may evict them between runs. Where it left them on another device
    (some hosts do so with plain modules), they are moved for the loan and moved back at its end.
    """
    device = mm.get_torch_device()
    most = Limits(free_bytes=int(mm.get_total_memory(device)))
    settings = TranslateSettings(memory=memory, dtype=dtype, limits=most)
    working = wanted_bytes(model.config, settings, image.shape[:3], device)
    # Weights moved in inference mode could never be trained afterwards.
    with torch.inference_mode(mode=False):
        mm.load_models_gpu([_patcher(model)], memory_required=working)
        found_on = next(model.parameters()).device
        try:
            model.to(device)
            yield model
        finally:
            if found_on != next(model.parameters()).device:
                model.to(found_on)


def limits() -> Limits:
    """What the host says is free on its device, inside a `lease`."""
    device = mm.get_torch_device()
    if device.type == "cpu":
        return Limits()  # the core also knows a container's limit and the process's own
    return Limits(free_bytes=int(mm.get_free_memory(device)))


def _patcher(model: CycleGAN) -> comfy.model_patcher.ModelPatcher:
    """The host's view of a model. It lives on the model, so that both go at the same time."""
    patcher = model.__dict__.get("host_patcher")
    if patcher is None:
        patcher = comfy.model_patcher.ModelPatcher(
            model, mm.get_torch_device(), mm.unet_offload_device()
        )
        model.__dict__["host_patcher"] = patcher
    return patcher


@contextmanager
def training_device() -> Generator[torch.device]:
    """The device for a training, with all other models evicted; its memory is free afterwards."""
    mm.unload_all_models()
    mm.soft_empty_cache()
    try:
        yield mm.get_torch_device()
    finally:
        mm.soft_empty_cache()


def stop_if_cancelled() -> None:
    """Raise `Cancelled` if the user has cancelled."""
    mm.throw_exception_if_processing_interrupted()


class TrainProgress:
    """A training's bar and live preview; raises `Cancelled` when the user cancels."""

    def __init__(self, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(total)
        self._shown: Path | None = None

    def update(self, step: int, samples: Path | None) -> None:
        """Move the bar to `step`; show the grid at `samples` if it is a new one."""
        stop_if_cancelled()
        preview = None
        if samples is not None and samples != self._shown:
            self._shown = samples
            with Image.open(samples) as grid:
                preview = ("JPEG", grid.convert("RGB"), PREVIEW_PIXELS)
        self._bar.update_absolute(step, preview=preview)


def bytes_progress() -> Callable[[int, int], None]:
    """A callback for downloads: bytes on the node's bar, and a raise when the user cancels."""
    bars: list[comfy.utils.ProgressBar] = []

    def on_bytes(done: int, total: int) -> None:
        stop_if_cancelled()
        if not bars:
            bars.append(comfy.utils.ProgressBar(total))
        bars[0].update_absolute(done, total)

    return on_bytes


def progress(total: int) -> Callable[[int, int], None]:
    """A callback for the core that moves the node's bar, and raises when the user cancels."""
    bar = comfy.utils.ProgressBar(total)

    def on_progress(done: int, total: int) -> None:
        stop_if_cancelled()
        bar.update_absolute(done, total)

    return on_progress
