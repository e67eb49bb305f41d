"""The ways that pictures can go through a network, chosen by the memory there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..config import ModelConfig
from ..device.memory import Limits, free_bytes, whole_pass_bytes
from ..streaming.plan import StreamPlan, stored_bytes

Memory = Literal["auto", "whole", "streamed", "thumbnail"]
"""How a picture goes through the network."""

CHUNK_PIXELS = 2**21
"""Most pixels per pass on an accelerator: more is not faster."""

STRIP_BYTES = 2**29
"""Most working memory of a strip."""

_LEAST_STRIP_BYTES = 2**24
_SAFE_SHARE = {"cpu": 0.6, "cuda": 0.9}
"""Of the free memory; a system that runs out of its own kills instead of raising."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to take pictures through a network."""

    chunk: int = 1
    """Pictures at a time; of small ones on an accelerator."""
    plan: StreamPlan | None = None
    """How strips go; None for whole pictures."""

    def __str__(self) -> str:
        if self.plan is None:
            return f"{self.chunk} at a time" if self.chunk > 1 else "in one pass"
        place = "a file" if isinstance(self.plan.store, Path) else f"{self.plan.store} memory"
        return f"in strips of {self.plan.strip_bytes // 2**20} MB with maps in {place}"


@dataclass(slots=True)
class Ways:
    """What a translation may try for its pictures."""

    config: ModelConfig
    memory: Memory
    weights: Tensor
    """Any of the network's, for device and precision."""
    half: torch.dtype | None
    """The half precision wanted, if any."""
    limits: Limits
    pending_bytes: int = 0
    """Of the results: a system counts their pages as free until they are written."""

    def best_first(self, height: int, width: int, pictures: int) -> Iterator[Way]:
        """What to try, best first; nothing that certainly does not fit."""
        device = self.weights.device
        room = self._room()
        needed = whole_pass_bytes(self.config, height, width, self._precision)
        is_unet = self.config.generator == "unet"
        if self._is_whole or (self.memory == "auto" and needed <= room):
            chunk = min(CHUNK_PIXELS // (height * width), pictures)
            if chunk * needed > room:
                chunk = int(room // needed)
            if chunk > 1 and device.type != "cpu":
                yield Way(chunk)
            yield Way()
        if self._is_whole:
            return
        if is_unet:  # streaming says why it can't
            yield self._way(_LEAST_STRIP_BYTES, "device")
            return
        large = int(max(_LEAST_STRIP_BYTES, min(STRIP_BYTES, room // 4)))
        small = max(_LEAST_STRIP_BYTES, large // 16)
        maps = self._stored(height, width)
        strips = sorted({large, small}, reverse=True)
        for strip in strips:
            if maps + strip <= room:
                yield self._way(strip, "device")
        if not maps:
            return
        host = self._room_on(torch.device("cpu"), self.limits.free_host_bytes)
        for strip in strips:
            if device.type != "cpu" and maps <= host:
                yield self._way(strip, "host")
        for strip in strips:
            if self.limits.scratch is not None:
                yield self._way(strip, self.limits.scratch)

    def _way(self, strip_bytes: int, store: Literal["device", "host"] | Path) -> Way:
        return Way(plan=StreamPlan(dtype=self.half, strip_bytes=strip_bytes, store=store))

    @property
    def _is_whole(self) -> bool:
        """Whether one pass is all there is, as for a U-Net: its bottleneck sees the picture."""
        is_unet = self.config.generator == "unet"
        return self.memory == "whole" or (self.memory == "auto" and is_unet)

    def _room(self) -> float:
        return self._room_on(self.weights.device, self.limits.free_bytes)

    def _room_on(self, device: torch.device, free: int | None) -> float:
        """Bytes that may be used on a device; infinite where there is no way to tell."""
        known = free_bytes(device) if free is None else free
        if known is None:
            return math.inf
        if free is None and device.type == "cpu":
            known = max(0, known - self.pending_bytes)
        return _SAFE_SHARE.get(device.type, 0.8) * known

    def _stored(self, height: int, width: int) -> int:
        """Bytes of feature maps that strips leave behind; a thumbnail's leave none."""
        if self.memory == "thumbnail":
            return 0
        return stored_bytes(self.config, height, width, self._precision)

    @property
    def _precision(self) -> torch.dtype:
        return self.half or self.weights.dtype

    def too_large(self, height: int, width: int) -> str:
        """The sentence for a picture that no way was small enough for."""
        if self._is_whole:
            return self._too_large_for_one_pass(height, width)
        room, least = self._room(), _LEAST_STRIP_BYTES
        maps = self._stored(height, width)
        what = (
            f"A picture of {width}×{height} needs {_figure(maps + least)} of memory beside itself"
        )
        advice = "make it smaller, or close other programs"
        if room < maps + least:
            what += f" and its result, and {_figure(room)} can be used"
            fitting = _scaled(height, width, (room - least) / max(1, maps), 4)
            advice = f"about {fitting} would fit" if fitting else advice
        else:
            what += " and its result, and that could not be had"
        if self.config.generator == "resnet" and maps and self.limits.scratch is None:
            advice += "; the command's --scratch allows any size"
        return f"{what}; {advice}."

    def _too_large_for_one_pass(self, height: int, width: int) -> str:
        """The sentence for one pass that was tried and ran out of memory."""
        needed = whole_pass_bytes(self.config, height, width, self._precision)
        # What is free by now counts as well: the limits were wrong, or are those of another time.
        room = min(self._room(), self._room_on(self.weights.device, None))
        is_known = room < needed
        share = room / needed if is_known else 0.5  # it ran out all the same, so: half of it
        fitting = _scaled(height, width, share, self.config.size_multiple)
        size = f"about {fitting} {'would' if is_known else 'may'} fit"
        other = "choose memory 'auto' or 'streamed', which take it in strips"
        if self.config.generator == "unet":
            other = "choose a model with a resnet generator, which can take it in strips"
        return (
            f"A picture of {width}×{height} needs {_figure(needed)} of memory in one pass beside "
            f"itself and its result, and "
            f"{f'{_figure(room)} can be used' if is_known else 'that could not be had'}; "
            f"{size if fitting else 'make it smaller'}, or {other}."
        )


def wanted_bytes(config: ModelConfig, memory: Memory, size: torch.Size) -> int:
    """What a host should try to free for a batch of pictures (B,H,W), beyond the weights."""
    count, height, width = size
    if memory == "thumbnail":
        return STRIP_BYTES
    if memory == "streamed":
        return STRIP_BYTES + stored_bytes(config, height, width)
    chunk = max(1, min(count, CHUNK_PIXELS // max(1, height * width)))
    return chunk * whole_pass_bytes(config, height, width)


def _figure(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _scaled(height: int, width: int, share: float, multiple: int) -> str:
    """The size with this share of the pixels, in whole multiples; empty if that is none."""
    scale = max(0.0, share) ** 0.5
    columns, rows = (int(scale * side) // multiple * multiple for side in (width, height))
    return f"{columns}×{rows}" if scale < 1 and min(rows, columns) > 0 else ""
