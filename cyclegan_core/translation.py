"""One translation: the way each picture goes through a network, chosen by the memory there is.

`whole` takes a picture in one pass; `streamed` gives the same result strip by strip, an order of
magnitude smaller (see `streaming`); `thumbnail` is an approximation that is smaller still. `auto`
is whole where it fits, else streamed; what runs out of memory nevertheless goes on in the next
smaller way.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from .config import ModelConfig
from .errors import CycleGANError
from .fitting import half_precision, pad, to_channels
from .memory import Limits, free_bytes, is_out_of_memory, whole_pass_bytes
from .norms import at_least_float32
from .rows import RowSink, RowSource, TensorRows
from .streaming import StreamPlan, stored_bytes, stream, thumbnail
from .strips import NonFiniteError, non_finite_error

log = logging.getLogger(__name__)

Memory = Literal["auto", "whole", "streamed", "thumbnail"]
"""How a picture goes through the network."""

OnProgress = Callable[[int, int], None]
"""Called as (work done, work in all), in pictures or strips; it cancels by raising."""

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
class Translation:
    """A network and the way that it goes through the pictures of one call."""

    network: nn.Module
    config: ModelConfig
    channels: tuple[int, int]
    """What the network takes and gives."""
    memory: Memory
    dtype: torch.dtype | None
    limits: Limits
    pending_bytes: int = 0
    """Of the results: a system counts their pages as free until they are written."""
    _has_overflowed: bool = False

    @property
    def weights(self) -> Tensor:
        """Any of them, for device and precision."""
        return next(self.network.parameters())

    @property
    def half(self) -> torch.dtype | None:
        """The half precision wanted, if any."""
        return self.dtype if self.dtype in (torch.bfloat16, torch.float16) else None

    def batch(self, images: Tensor, result: Tensor, on_progress: OnProgress) -> None:
        """(B,C,H,W) in [0,1] into (B,C',H,W), in as few passes as the memory allows."""
        total, done = len(images), 0
        if result.device.type == "cpu":
            self.pending_bytes = result.numel() * result.element_size()

        def advance(way: Way) -> int:
            if way.plan is None:
                part = slice(done, done + way.chunk)
                result[part] = self._whole(images[part], self.half)
                for count in range(done + 1, min(done + way.chunk, total) + 1):
                    on_progress(count, total)
                return way.chunk

            def on_strip(strip: int, strips: int) -> None:
                on_progress(done * strips + strip, total * strips)

            rows = TensorRows(images[done]), TensorRows(result[done])
            self._strips(*rows, way.plan, on_strip)
            return 1

        attempt = self._attempts(images.shape[-2], images.shape[-1], total)
        while done < total:
            done += attempt(advance)

    def rows(self, source: RowSource, sink: RowSink, on_progress: OnProgress) -> None:
        """One picture that is read and written in strips where it need not be whole."""
        _, height, width = source.size

        def work(way: Way) -> int:
            if way.plan is not None:
                self._strips(source, sink, way.plan, on_progress)
            else:
                sink.write(0, self._whole(source.read(0, height)[None], self.half)[0])
                on_progress(1, 1)
            return 1

        self._attempts(height, width, 1)(work)

    # --- the ways ------------------------------------------------------------------------------

    def _attempts(
        self, height: int, width: int, pictures: int
    ) -> Callable[[Callable[[Way], int]], int]:
        """A function that does work in the best way for which the memory suffices.

        It remembers the ways that failed, and raises a `CycleGANError` when none is left.
        """
        ways = self._ways(height, width, pictures)
        way = next(ways, None)
        if way is None:
            raise self._too_large(height, width)

        def attempt(work: Callable[[Way], int]) -> int:
            nonlocal way
            while way is not None:
                try:
                    return work(way)
                except (RuntimeError, MemoryError, OSError) as error:
                    is_last = self.memory == "whole" and way.chunk == 1
                    if is_last or not is_out_of_memory(error):
                        raise
                # Only here, where the error no longer holds the frames and their tensors.
                if self.weights.device.type == "cuda":
                    torch.cuda.empty_cache()
                failed, way = way, next(ways, None)
                if way is not None:
                    log.warning("Out of memory %s; going on %s.", failed, way)
            raise self._too_large(height, width)

        return attempt

    def _ways(self, height: int, width: int, pictures: int) -> Iterator[Way]:
        """What to try, best first; nothing that certainly does not fit."""
        device = self.weights.device
        room = self._room()
        needed = whole_pass_bytes(self.config, height, width, self._precision())
        # Whole is all there is for a U-Net: its bottleneck sees the whole picture.
        is_unet = self.config.generator == "unet"
        is_whole = self.memory == "whole" or (self.memory == "auto" and is_unet)
        if is_whole or (self.memory == "auto" and needed <= room):
            chunk = min(room // needed, CHUNK_PIXELS // (height * width), pictures)
            if chunk > 1 and device.type != "cpu":
                yield Way(int(chunk))
            yield Way()
        if is_whole:
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
        return stored_bytes(self.config, height, width, self._precision())

    def _precision(self) -> torch.dtype:
        return self.half or self.weights.dtype

    def _too_large(self, height: int, width: int) -> CycleGANError:
        """The sentence for a picture that no way was small enough for."""
        room, least = self._room(), _LEAST_STRIP_BYTES
        maps = self._stored(height, width)
        if self.memory == "auto" and self.config.generator == "unet":
            maps = whole_pass_bytes(self.config, height, width, self._precision())
        what = (
            f"A picture of {width}×{height} needs {_figure(maps + least)} of memory beside itself"
        )
        advice = "make it smaller, or close other programs"
        if room < maps + least:
            what += f" and its result, and {_figure(room)} can be used"
            scale = max(0.0, (room - least) / max(1, maps)) ** 0.5
            columns, rows = (int(scale * side) // 4 * 4 for side in (width, height))
            if scale < 1 and min(rows, columns) > 0:
                advice = f"about {columns}×{rows} would fit"
        else:
            what += " and its result, and that could not be had"
        if self.config.generator == "resnet" and maps and self.limits.scratch is None:
            advice += "; the command's --scratch allows any size"
        return CycleGANError(f"{what}; {advice}.")

    # --- the passes ----------------------------------------------------------------------------

    def _whole(self, images: Tensor, half: torch.dtype | None) -> Tensor:
        """(B,C,H,W) in [0,1] -> (B,C',H,W) in [0,1], in one pass."""
        low, high = self.config.value_range
        height, width = images.shape[-2:]
        inputs = to_channels(images.to(self.weights.device, self.weights.dtype), self.channels[0])
        # One layout, so the same numbers however the pictures lie in memory; in half precision a
        # CPU is 1.4 times as fast with a pixel's channels together.
        is_quick = half is not None and inputs.device.type == "cpu"
        layout = torch.channels_last if is_quick else torch.contiguous_format
        inputs = inputs.contiguous(memory_format=layout)
        padded = pad(inputs * (high - low) + low, self.config.size_multiple, self.config.min_size)
        with half_precision(inputs.device, half):
            output: Tensor = self.network(padded)
        output = at_least_float32(output[..., :height, :width]).add(1).div(2).clamp(0, 1)
        if torch.isfinite(output).all():
            return output
        if half:
            self._tell_overflow()
            return self._whole(images, None)
        raise non_finite_error(inputs.dtype, is_picture=not torch.isfinite(inputs).all())

    def _strips(
        self, source: RowSource, sink: RowSink, plan: StreamPlan, on_progress: OnProgress
    ) -> None:
        """One picture strip by strip."""
        sweep = thumbnail if self.memory == "thumbnail" else stream
        try:
            sweep(self.network, self.config, source, sink, plan, on_progress=on_progress)
        except NonFiniteError:
            if plan.dtype is None:
                raise
            self._tell_overflow()
        else:
            return
        # Only here, where the error no longer holds the strips.
        self._strips(source, sink, replace(plan, dtype=None), on_progress)

    def _tell_overflow(self) -> None:
        """Once, though every frame of a video may be concerned."""
        if not self._has_overflowed:
            log.warning("A result in %s is not finite; translating again without it.", self.half)
        self._has_overflowed = True


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
