"""One translation: the way each picture goes through a network, chosen by the memory there is.

`whole` takes a picture in one pass; `streamed` gives the same result strip by strip, an order of
magnitude smaller (see `streaming`); `thumbnail` is an approximation that is smaller still. `auto`
is whole where it fits, else streamed; what runs out of memory nevertheless goes on in the next
smaller way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..device.memory import Limits, OutOfMemoryError, is_out_of_memory
from ..errors import CycleGANError, NonFiniteError
from ..pictures.rows import RowSink, RowSource, TensorRows
from ..pixels import non_finite_error
from ..streaming.stream import StreamPlan, stream, thumbnail
from .overlap import CudaLanes, Lanes, overlapped
from .plan import Memory, Way, Ways
from .speedups import Speedup
from .whole_pass import WholePass

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Called as (work done, work in all), in pictures or strips; it cancels by raising."""


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
    speedup: Speedup = "none"
    """How the network is run on whole pictures."""
    ways: Ways = field(init=False)
    _told: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self.ways = Ways(self.config, self.memory, self.weights, self.half, self.limits)

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
            self.ways.pending_bytes = result.numel() * result.element_size()

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

        if self.weights.device.type == "cuda" and images.device.type == "cpu":
            done = self.overlapped(images, result, on_progress, CudaLanes.on(self.weights.device))
        attempt = self._attempts(images.shape[-2], images.shape[-1], total)
        while done < total:
            done += attempt(advance)

    def overlapped(
        self, images: Tensor, result: Tensor, on_progress: OnProgress, lanes: Lanes
    ) -> int:
        """Translate pictures of a batch while others are copied; returns how many are done.

        It ends early, without a word, at what needs another way or precision; and does nothing
        where there is no second chunk to copy meanwhile.
        """
        total = len(images)
        way = next(self.ways.best_first(images.shape[-2], images.shape[-1], total), None)
        if way is None or way.plan is not None or way.chunk >= total:
            return 0
        parts = [slice(i, min(i + way.chunk, total)) for i in range(0, total, way.chunk)]
        done = 0

        def take(part: slice, pixels: Tensor) -> None:
            nonlocal done
            result[part] = pixels
            for done in range(part.start + 1, part.stop + 1):
                on_progress(done, total)

        run = self._pass
        overlapped(parts, lanes, lambda part: images[part], lambda x: run(x, self.half), take)
        return done

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
        ways = self.ways.best_first(height, width, pictures)
        way = next(ways, None)
        if way is None:
            raise CycleGANError(self.ways.too_large(height, width))
        fault = CycleGANError

        def attempt(work: Callable[[Way], int]) -> int:
            nonlocal way, fault
            while way is not None:
                try:
                    return work(way)
                except (RuntimeError, MemoryError, OSError) as error:
                    if not is_out_of_memory(error):
                        raise
                    is_device = isinstance(error, torch.OutOfMemoryError)
                    fault = OutOfMemoryError if is_device else CycleGANError
                # Only here, where the error no longer holds the frames and their tensors.
                if self.weights.device.type == "cuda":
                    torch.cuda.empty_cache()
                failed, way = way, next(ways, None)
                if way is not None:
                    log.warning("Out of memory %s; going on %s.", failed, way)
            raise fault(self.ways.too_large(height, width))

        return attempt

    # --- the passes ----------------------------------------------------------------------------

    @property
    def _pass(self) -> WholePass:
        return WholePass(self.network, self.config, self.channels[0], self.speedup)

    def _whole(self, images: Tensor, half: torch.dtype | None) -> Tensor:
        """(B,C,H,W) in [0,1] -> (B,C',H,W) in [0,1], in one pass."""
        output = self._pass(images, half)
        if torch.isfinite(output).all():
            return output
        if half:
            self._tell_overflow()
            return self._whole(images, None)
        weights = self.weights
        is_picture = not torch.isfinite(images.to(weights.device, weights.dtype)).all()
        raise non_finite_error(weights.dtype, is_picture=is_picture)

    def _strips(
        self, source: RowSource, sink: RowSink, plan: StreamPlan, on_progress: OnProgress
    ) -> None:
        """One picture strip by strip."""
        if self.speedup != "none":
            self._tell(
                f"Strips go without the speedup {self.speedup}, which is for whole pictures."
            )
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
        self._tell(f"A result in {self.half} is not finite; translating again without it.")

    def _tell(self, sentence: str) -> None:
        """Once, though every frame of a video may be concerned."""
        if sentence not in self._told:
            log.warning("%s", sentence)
        self._told.add(sentence)
