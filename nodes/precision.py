"""The number format of a node's convolutions, as the widget and the host want it."""

from __future__ import annotations

import logging

import comfy.model_management as mm
import torch
from comfy.cli_args import args
from comfy_api.latest import io

from ..cyclegan_core.device.precision import DTYPES, NAMES, fastest_dtype
from . import host

log = logging.getLogger(__name__)

PRECISIONS: dict[str, torch.dtype | None] = {"auto": None, **DTYPES}


def precision_input() -> io.Combo.Input:
    """The widget."""
    return io.Combo.Input(
        "precision",
        options=list(PRECISIONS),
        default="auto",
        tooltip="auto: what your GPU or CPU is fast at; the log says which. fp32: exact. "
        "bf16 / fp16: faster and smaller; a result that overflows is done again in fp32.",
    )


def choose_dtype(precision: str) -> torch.dtype:
    """The widget's value as a dtype; "auto" is what the device is good at, and is logged."""
    dtype = host.chosen(PRECISIONS, "precision", precision)
    if dtype is not None:
        return dtype
    dtype = _auto_dtype(mm.get_torch_device())
    log.info("CycleGAN translates in %s.", NAMES[dtype])
    return dtype


def _auto_dtype(device: torch.device) -> torch.dtype:
    """What the host thinks of its GPU; of a CPU it has no opinion, unless by a flag."""
    if device.type != "cpu":
        return host.gpu_dtype()
    return torch.float32 if args.force_fp32 or args.fp32_unet else fastest_dtype(device)
