"""Long batches on a GPU: the next pictures go up and the last ones come down while it computes.

Pictures are copied through pinned memory on streams of their own. Results are looked at one part
later, so that the host never waits for the part that has just been started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..device.memory import is_out_of_memory


class PendingResult(Protocol):
    """The result of a part that was started."""

    def wait(self) -> tuple[Tensor, bool]:
        """Wait for the result: on the CPU, and whether all of it is finite."""
        ...


class CopyStreams(Protocol):
    """How pictures get to a device and back."""

    def start(self, images: Tensor, compute: Callable[[Tensor], Tensor]) -> PendingResult:
        """Begin `compute(images)`; the caller goes on at once."""
        ...

    def synchronize(self) -> None:
        """Wait until nothing is pending."""
        ...


def overlapped(
    parts: Iterable[slice],
    streams: CopyStreams,
    read: Callable[[slice], Tensor],
    compute: Callable[[Tensor], Tensor],
    take: Callable[[slice, Tensor], None],
) -> None:
    """Take the result of each part in order, started before the part before it was taken.

    Ends before the first part whose result is not finite, or for which the memory does not
    suffice; what `take` raises ends it, too, and is not caught.
    """
    pending: deque[tuple[slice, PendingResult]] = deque()

    def finish_first() -> bool:
        part, result = pending.popleft()
        pixels, is_finite = result.wait()
        if is_finite:
            take(part, pixels)
        return is_finite

    try:
        for part in parts:
            try:
                pending.append((part, streams.start(read(part), compute)))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            if len(pending) > 1 and not finish_first():
                return
        while pending and finish_first():
            pass
    finally:
        streams.synchronize()  # however it ended: the memory of its pictures may be used anew


@dataclass(frozen=True, slots=True)
class _CudaResult:
    """A result that the device computes, and then copies into pinned memory."""

    copied: torch.cuda.Event
    pixels: Tensor
    is_finite: Tensor
    held: tuple[Tensor, ...]
    """What the device still reads."""

    def wait(self) -> tuple[Tensor, bool]:
        self.copied.synchronize()
        return self.pixels, bool(self.is_finite)


@dataclass(frozen=True, slots=True)
class CudaStreams:
    """A stream for each direction beside the one that computes."""

    device: torch.device
    up: torch.cuda.Stream
    down: torch.cuda.Stream

    @classmethod
    def on(cls, device: torch.device) -> CudaStreams:
        """Make new streams on a device."""
        return cls(device, torch.cuda.Stream(device), torch.cuda.Stream(device))

    def start(self, images: Tensor, compute: Callable[[Tensor], Tensor]) -> PendingResult:
        """(B,C,H,W) on the CPU -> the result to come."""
        main = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.up):
            inputs = images.contiguous().pin_memory().to(self.device, non_blocking=True)
        main.wait_stream(self.up)
        output = compute(inputs)
        is_finite = torch.isfinite(output).all()
        self.down.wait_stream(main)
        with torch.cuda.stream(self.down):
            pixels, flag = _fetched(output), _fetched(is_finite)
            copied = torch.cuda.Event()
            copied.record(self.down)
        return _CudaResult(copied, pixels, flag, (inputs, output, is_finite))

    def synchronize(self) -> None:
        """Wait until nothing is pending."""
        for stream in (self.up, torch.cuda.current_stream(self.device), self.down):
            stream.synchronize()


def _fetched(x: Tensor) -> Tensor:
    """A pinned copy that is complete when the stream gets there."""
    target = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    return target.copy_(x, non_blocking=True)
