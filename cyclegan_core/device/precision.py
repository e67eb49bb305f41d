"""The number format that is fastest on a device, found by measurement."""

from __future__ import annotations

import ctypes
import logging
import math
import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Literal

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""What people choose from."""

NAMES: dict[torch.dtype, Precision] = {dtype: name for name, dtype in DTYPES.items()}
"""What people call them."""

HALVES = (torch.bfloat16, torch.float16)
"""The half precisions."""

_CLEARLY = 1.4
"""How many times as fast half precision must be: it has a price."""

_SECONDS = 0.5
"""After which no further measurement is begun; on an idle machine a tenth of it is enough."""

_ALIKE = 1.1
"""How far measurements that confirm the quickest one may be from it, as a factor."""

_CONFIRMED = 5
"""Measurements, with the quickest one, that have to be alike before it is believed."""

_FEWEST = 10
"""Measurements of each format at least."""


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

    It is measured once per process and device, which costs 0.1 s, or 0.5 s on a busy machine, and
    logs what it found.
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
    """How many times as fast as in fp32 a residual block's convolution is in `half`.

    Whatever else runs on the machine makes measurements longer, never shorter. So they are short,
    less than a millisecond; the formats take turns; and the quickest of each counts, as soon as
    others confirm it.
    """
    channels = 64 if device.type == "cpu" else 256
    deadline = time.perf_counter() + _SECONDS
    with half_precision(device, None), _one_thread():
        # Not random, so that the state of the caller's rng stays as it is.
        x = torch.ones(1, channels, 32, 32, device=device)
        weight = torch.ones(channels, channels, 3, 3, device=device)
        x, weight = (part.contiguous(memory_format=torch.channels_last) for part in (x, weight))
        pairs = {dtype: (x.to(dtype), weight.to(dtype)) for dtype in (torch.float32, half)}
        times: dict[torch.dtype, list[float]] = {dtype: [] for dtype in pairs}
        for pixels, kernel in pairs.values():
            _seconds(pixels, kernel)  # the first one sets things up
        while True:
            for dtype, (pixels, kernel) in pairs.items():
                times[dtype].append(_seconds(pixels, kernel))
            is_sure = all(
                sum(seconds <= _ALIKE * min(all_seconds) for seconds in all_seconds) >= _CONFIRMED
                for all_seconds in times.values()
            )
            is_enough = is_sure and len(times[half]) >= _FEWEST
            if is_enough or time.perf_counter() > deadline:
                return min(times[torch.float32]) / min(times[half])


@contextmanager
def _one_thread() -> Generator[None]:
    """Let what this thread computes on the CPU be computed by it alone; others are not concerned.

    Threads that wait for each other on a busy machine would be all that is measured. And
    `torch.set_num_threads` would also decide for threads that begin to use torch meanwhile, where
    OpenMP's own function is for the calling thread alone. Where that can't be found, as on
    Windows, which looks for it in torch's own file only, nothing changes.
    """
    before = torch.get_num_threads()  # which also sets this thread up, if torch is new to it
    try:
        set_threads = ctypes.CDLL(sys.modules["torch._C"].__file__).omp_set_num_threads
    except (OSError, AttributeError):
        yield
        return
    set_threads(1)
    try:
        yield
    finally:
        set_threads(before)


def _seconds(x: Tensor, weight: Tensor) -> float:
    """How long one convolution takes."""
    _wait(x.device)
    start = time.perf_counter()
    torch.nn.functional.conv2d(x, weight, padding=1)
    _wait(x.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    """Wait for what the device has been told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_finite(tensor: Tensor) -> bool:
    """Whether floats hold no NaN and no infinity; twice as fast as asking every number."""
    extremes = torch.aminmax(tensor) if tensor.numel() else ()
    return all(math.isfinite(extreme.item()) for extreme in extremes)
