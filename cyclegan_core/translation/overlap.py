"""Long batches on a GPU: the next pictures go up and the last ones come down while it computes.

Pictures are copied through pinned memory on streams of their own. Results are looked at one part
later, so that the host never waits for the part that has just been started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..device.memory import is_out_of_memory


class Flight(Protocol):
    """A part that was started."""

    def land(self) -> tuple[Tensor, bool]:
        """Wait for the result: on the CPU, and whether all of it is finite."""
        ...


class Lanes(Protocol):
    """How pictures get to a device and back."""

    def start(self, images: Tensor, compute: Callable[[Tensor], Tensor]) -> Flight:
        """Begin `compute(images)`; the caller goes on at once."""
        ...

    def wait(self) -> None:
        """Until nothing is under way."""
        ...


@contextmanager
def _emptied(lanes: Lanes) -> Generator[None]:
    """Nothing is under way afterwards, however the block ends: its memory may be used anew."""
    try:
        yield
    finally:
        lanes.wait()


def overlapped(
    parts: Iterable[slice],
    lanes: Lanes,
    read: Callable[[slice], Tensor],
    compute: Callable[[Tensor], Tensor],
    take: Callable[[slice, Tensor], None],
) -> None:
    """Take the result of each part in order, started before the part before it was taken.

    Ends before the first part whose result is not finite, or for which the memory does not
    suffice; what `take` raises ends it, too, and is not caught.
    """
    under_way: deque[tuple[slice, Flight]] = deque()

    def land() -> bool:
        part, flight = under_way.popleft()
        pixels, is_finite = flight.land()
        if is_finite:
            take(part, pixels)
        return is_finite

    with _emptied(lanes):
        for part in parts:
            try:
                under_way.append((part, lanes.start(read(part), compute)))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                break
            if len(under_way) > 1 and not land():
                return
        while under_way and land():
            pass


@dataclass(frozen=True, slots=True)
class _CudaFlight:
    landed: torch.cuda.Event
    pixels: Tensor
    is_finite: Tensor
    held: tuple[Tensor, ...]
    """What the device still reads."""

    def land(self) -> tuple[Tensor, bool]:
        self.landed.synchronize()
        return self.pixels, bool(self.is_finite)


@dataclass(frozen=True, slots=True)
class CudaLanes:
    """A stream for each direction beside the one that computes."""

    device: torch.device
    up: torch.cuda.Stream
    down: torch.cuda.Stream

    @classmethod
    def on(cls, device: torch.device) -> CudaLanes:
        """Those of a device."""
        return cls(device, torch.cuda.Stream(device), torch.cuda.Stream(device))

    def start(self, images: Tensor, compute: Callable[[Tensor], Tensor]) -> Flight:
        """(B,C,H,W) on the CPU -> the flight of the result."""
        main = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.up):
            inputs = images.contiguous().pin_memory().to(self.device, non_blocking=True)
        main.wait_stream(self.up)
        output = compute(inputs)
        is_finite = torch.isfinite(output).all()
        self.down.wait_stream(main)
        with torch.cuda.stream(self.down):
            pixels, flag = _fetched(output), _fetched(is_finite)
            landed = torch.cuda.Event()
            landed.record(self.down)
        return _CudaFlight(landed, pixels, flag, (inputs, output, is_finite))

    def wait(self) -> None:
        """Until nothing is under way."""
        for stream in (self.up, torch.cuda.current_stream(self.device), self.down):
            stream.synchronize()


def _fetched(x: Tensor) -> Tensor:
    """A pinned copy that is complete when the stream gets there."""
    target = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    return target.copy_(x, non_blocking=True)
