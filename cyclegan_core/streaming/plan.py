"""What streaming is told to take: precision, memory of a strip, and where maps are stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..config import ModelConfig
from ..device.precision import HALVES
from ..validation import check_int
from .feature_maps import Store

_MAPS_PER_STRIP = 4
"""Full-size maps of a strip that are there at a time, the convolutions' workspace included."""

_ENOUGH_ROWS = 128
"""Longer strips are not faster."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamPlan:
    """How much memory streaming takes, and where."""

    dtype: torch.dtype | None = None
    """bfloat16 or float16 for the convolutions and the stored maps; None or float32 for the
    precision of the weights. Statistics are float64 always."""
    strip_bytes: int = 512 * 2**20
    """What a strip's working set may take; strips get shorter as pictures get wider."""
    store: Store = "device"
    """Where stored maps live: the weights' "device", "host" RAM, or files in a folder."""

    def __post_init__(self) -> None:
        if self.dtype not in (None, torch.float32, *HALVES):
            raise ValueError(
                "dtype must be float32, bfloat16 or float16 of torch, such as torch.bfloat16; "
                f"got {self.dtype!r}."
            )
        check_int("strip_bytes", self.strip_bytes, least=1)
        if not isinstance(self.store, Path) and self.store not in ("device", "host"):
            raise ValueError(f"store must be device, host or a folder's Path; got {self.store!r}.")


def stored_bytes(
    config: ModelConfig, height: int, width: int, dtype: torch.dtype | None = None
) -> int:
    """What the maps need that streaming stores for a picture; `dtype` None means float32.

    128 bytes per pixel at 64 base channels in float32; nothing without instance norm.
    """
    if config.norm != "instance":
        return 0
    height, width = config.padded_size(height, width)
    numbers = 4 * config.base_channels * (height // 4) * (width // 4)
    return 2 * numbers * (dtype or torch.float32).itemsize


def strip_rows(
    config: ModelConfig, width: int, dtype: torch.dtype, strip_bytes: int, *, kept_rows: int = 0
) -> int:
    """Rows of a strip whose working set stays within `strip_bytes`: a multiple of 4, at least 4.

    `kept_rows` more are kept between strips. They are rows of the picture or of a map at quarter
    size, which are as large: a quarter of the pixels, four times the channels.
    """
    # Where a map is enlarged before it is convolved, or reduced after it, the largest is of twice
    # the size.
    is_twice = config.upsample != "transposed" or config.downsample == "blur"
    largest = 2 if is_twice else 1
    row = largest * config.base_channels * config.padded_size(1, width)[1] * dtype.itemsize
    rows = (strip_bytes // row - kept_rows) // _MAPS_PER_STRIP
    return max(4, min(rows, _ENOUGH_ROWS) // 4 * 4)
