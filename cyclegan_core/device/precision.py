"""The number format that is fastest on a device, found by measurement."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What people choose from."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}
"""What people call them."""

HALVES = (torch.bfloat16, torch.float16)
"""The half precisions."""

_CLEARLY = 1.4
"""How many times as fast half precision must be: it has a price."""

_SECONDS = 0.05
"""After which no further measurement is begun, if there are enough."""

_FEWEST = 8
"""Measurements of each format, a millisecond each: on a busy machine most are interrupted."""


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision widened; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def half_precision(
    device: torch.device, dtype: torch.dtype | None
) -> AbstractContextManager[object]:
    """Convolutions in `dtype`; None means in the weights' own, whatever the caller's autocast."""
    if dtype is None and not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    # A pass uses each weight once. And a cache of converted weights would end with this context,
    # while a CUDA graph recorded in it went on reading them.
    return torch.autocast(device.type, dtype, enabled=dtype is not None, cache_enabled=False)


@cache
def fastest_dtype(device: torch.device) -> torch.dtype:
    """float32, or a half precision whose convolutions are clearly faster on this device.

    It costs up to 0.1 s on a CPU, once per process and device, and logs what it found.
    """
    half = _candidate(device)
    if half is None:
        return torch.float32
    ratio = _times_as_fast(device, half)
    chosen = half if ratio >= _CLEARLY else torch.float32
    log.info(
        "%s: %s is %.1f times as fast as fp32; auto takes %s.",
        device,
        NAMES[half],
        ratio,
        NAMES[chosen],
    )
    return chosen


def _candidate(device: torch.device) -> torch.dtype | None:
    """The half precision that translations can trust: bfloat16 overflows no earlier than fp32."""
    if device.type == "cuda":
        has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if has_bfloat16 else torch.float16
    return {"cpu": torch.bfloat16, "mps": torch.float16}.get(device.type)


@torch.no_grad()
def _times_as_fast(device: torch.device, half: torch.dtype) -> float:
    """How fast a convolution like those of the residual blocks is in `half`, of fp32."""
    channels = 64 if device.type == "cpu" else 256
    started = time.perf_counter()
    with half_precision(device, None), _one_thread():
        # Not random, so that the caller's dice stay as they are.
        x = torch.ones(1, channels, 32, 32, device=device)
        weight = torch.ones(channels, channels, 3, 3, device=device)
        x, weight = (part.contiguous(memory_format=torch.channels_last) for part in (x, weight))
        pairs = {dtype: (x.to(dtype), weight.to(dtype)) for dtype in (torch.float32, half)}
        best = dict.fromkeys(pairs, float("inf"))
        for turn in range(20):  # the least of short ones: what else runs here does not count
            for dtype, (pixels, kernel) in pairs.items():
                seconds = _seconds(pixels, kernel)
                if turn:  # the first one sets things up
                    best[dtype] = min(best[dtype], seconds)
            if turn >= _FEWEST and time.perf_counter() - started > _SECONDS:
                break
    return best[torch.float32] / best[half]


@contextmanager
def _one_thread() -> Generator[None]:
    """Threads that wait for each other on a busy machine would be all that is measured."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seconds(x: Tensor, weight: Tensor) -> float:
    """Of one convolution."""
    _wait(x.device)
    start = time.perf_counter()
    torch.nn.functional.conv2d(x, weight, padding=1)
    _wait(x.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
