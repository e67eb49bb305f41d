"""The loan of the host's GPU, what may be used of it, and in which number format."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import get_args

import comfy.model_management as mm
import comfy.model_patcher
import torch
from comfy.cli_args import args
from comfy_api.latest import io

from ...cyclegan_core import CycleGAN, Direction
from ...cyclegan_core.config import Memory, Statistics
from ...cyclegan_core.device import DTYPES, NAMES, fastest_dtype
from ...cyclegan_core.translation import Limits, TranslateSettings, wanted_bytes
from .types import advanced, chosen, direction_of

log = logging.getLogger(__name__)

PRECISIONS: dict[str, torch.dtype | None] = {"auto": None, **DTYPES}
MEMORIES: dict[str, Memory] = {name: name for name in get_args(Memory)}
STATISTICS: dict[str, Statistics] = {name: name for name in get_args(Statistics)}


@contextmanager
def lease(
    model: CycleGAN, shape: tuple[int, ...], dtype: torch.dtype, memory: Memory = "auto"
) -> Generator[CycleGAN]:
    """Borrow the host's GPU for a model while pictures, `shape` (B,H,W) of them, go through it.

    The host is asked for the memory of the plan that will be taken, with convolutions in `dtype`.
    The host's memory manager loads the weights, evicting others if it must, and from then on
    counts them as its own and may evict them between runs. Where it left them on another device
    (some hosts do so with plain modules), they are moved for the loan and moved back at its
    end; otherwise they stay on the GPU until the host evicts them.
    """
    device = mm.get_torch_device()
    most = Limits(free_bytes=int(mm.get_total_memory(device)))
    settings = TranslateSettings(memory=memory, dtype=dtype, limits=most)
    working = wanted_bytes(model.config, settings, torch.Size(shape), device)
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


def gpu_dtype() -> torch.dtype:
    """The half precision that the host thinks its GPU is good at; without either, float32."""
    device = mm.get_torch_device()
    if mm.should_use_bf16(device):
        return torch.bfloat16
    return torch.float16 if mm.should_use_fp16(device) else torch.float32


def memory_input() -> io.Combo.Input:
    """The widget for the memory strategy, the same on every node that translates."""
    return advanced(
        io.Combo.Input(
            "memory",
            options=list(MEMORIES),
            default="auto",
            optional=True,
            tooltip="How a picture goes through the network. auto: whole where it fits, else "
            "streamed. whole: in one pass (about 900 bytes of memory per pixel). streamed: in "
            "strips, with the same result (about 130 bytes per pixel). thumbnail: a fast, small "
            "preview whose tones differ a little.",
        )
    )


def precision_input() -> io.Combo.Input:
    """The widget for the number format, the same on every node that translates."""
    return advanced(
        io.Combo.Input(
            "precision",
            options=list(PRECISIONS),
            default="auto",
            optional=True,
            tooltip="auto: what your GPU or CPU is fast at; the log says which. fp32: exact. "
            "bf16 / fp16: faster and smaller; a result that overflows is done again in fp32.",
        )
    )


def how_to_translate(
    model: CycleGAN, direction: str, memory: str, precision: str
) -> tuple[Direction, Memory, torch.dtype]:
    """What three widgets that all translating nodes have say, for this model.

    Raises:
        ValueError: there is no such choice.
        MissingDirectionError: the model does not know that way.
    """
    way = direction_of(model, direction)
    return way, chosen(MEMORIES, "memory", memory), _dtype_of(precision)


def _dtype_of(precision: str) -> torch.dtype:
    """The widget's value as a dtype; "auto" is what the device is good at, and is logged."""
    dtype = chosen(PRECISIONS, "precision", precision)
    if dtype is not None:
        return dtype
    dtype = _auto_dtype(mm.get_torch_device())
    log.info("CycleGAN translates in %s.", NAMES[dtype])
    return dtype


def _auto_dtype(device: torch.device) -> torch.dtype:
    """The dtype that the host likes on its GPU; on a CPU, unless a flag says fp32, the fastest."""
    if device.type != "cpu":
        return gpu_dtype()
    return torch.float32 if args.force_fp32 or args.fp32_unet else fastest_dtype(device)


def trains_on_cpu() -> bool:
    """Whether a training would run on the processor."""
    return mm.get_torch_device().type == "cpu"


def training_dtype() -> torch.dtype:
    """What a training's convolutions compute in, where nobody chose it."""
    dtype = _auto_dtype(mm.get_torch_device())
    return torch.float32 if trains_on_cpu() and dtype == torch.float16 else dtype
