"""One translation: each picture goes through a network by the best plan that the memory allows.

`whole` takes a picture in one pass; `streamed` gives the same result strip by strip, an order of
magnitude smaller (see `streaming`); `thumbnail` is an approximation that is smaller still. `auto`
is whole where it fits, else streamed; what runs out of memory nevertheless goes on by the next
plan, which takes less.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import cast

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..device.memory import OutOfMemoryError, is_out_of_memory
from ..errors import CycleGANError, NonFiniteError
from ..networks import ResnetGenerator
from ..pictures.rows import RowSink, RowSource, TensorRows
from ..pixels import non_finite_error
from ..progress import OnProgress
from ..streaming.plan import StreamPlan
from ..streaming.stream import stream, thumbnail
from ..validation import check_unit_range
from .overlap import CopyStreams, CudaStreams, overlapped
from .plan import Plan, TranslateSettings, Workload
from .whole_pass import convolutions, whole_pass

log = logging.getLogger(__name__)

_LARGE_PIXELS = 2**20
"""From here on a picture takes so long in one pass that its layers are counted."""


@dataclass(slots=True)
class Attempt:
    """A plan to be tried in a `with` block, which ends in silence where the memory runs out."""

    plan: Plan
    fault: type[CycleGANError] = CycleGANError
    """What is to be raised if there is no other plan."""

    def __enter__(self) -> Plan:
        return self.plan

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or not is_out_of_memory(error):
            return False
        is_device = isinstance(error, torch.OutOfMemoryError)
        self.fault = OutOfMemoryError if is_device else CycleGANError
        return True


@dataclass(slots=True)
class Translation:
    """A network, and how it takes the pictures of one call."""

    network: nn.Module
    config: ModelConfig
    channels: tuple[int, int]
    """What the network takes and gives."""
    settings: TranslateSettings
    _told: set[str] = field(default_factory=set[str])

    def batch(self, images: Tensor, on_progress: OnProgress) -> Tensor:
        """(B,C,H,W) in [0,1] -> (B,C',H,W), in as few passes as the memory allows.

        Raises:
            ValueError: `images` are no pictures.
        """
        check_pictures(images)
        total, _, height, width = images.shape
        result = empty_result(images, self.channels[1])
        pending = result.numel() * result.element_size() if result.device.type == "cpu" else 0
        work = self.workload((height, width), pictures=total, pending_bytes=pending)
        device = work.device
        done = 0
        at_once = 1
        layers = self._layers_counted(height, width)

        def on_part(part: int, parts: int) -> None:
            on_progress(done * parts + at_once * part, total * parts)

        def on_picture(done: int, total: int) -> None:
            on_progress(done * layers, total * layers)

        with torch.no_grad(), _eval_mode(self.network):
            # An attempt goes on where the one before it ran out of memory.
            for attempt in self.attempts(work):
                with attempt as plan:
                    # A GPU computes while pictures of the machine's memory are copied.
                    if done == 0 and device.type == "cuda" and images.device.type == "cpu":
                        streams = CudaStreams.on(device)
                        done = self.overlapped(images, result, on_picture, plan, streams)
                    while done < total:
                        if plan.strips is not None:
                            rows = TensorRows(images[done]), TensorRows(result[done])
                            at_once = 1
                            self._strips(*rows, plan.strips, on_part)
                            done += 1
                            continue
                        part = slice(done, min(done + plan.chunk, total))
                        at_once = part.stop - part.start
                        on_layer = on_part if layers > 1 else None
                        result[part] = self._whole(images[part], self.settings.half, on_layer)
                        for done in range(part.start + 1, part.stop + 1):
                            on_picture(done, total)
                    return result
        raise AssertionError("attempts end by themselves")

    def rows(self, source: RowSource, sink: RowSink, on_progress: OnProgress) -> None:
        """Translate one picture, which is read and written in strips where it need not be whole."""
        _, height, width = source.size
        with torch.no_grad(), _eval_mode(self.network):
            for attempt in self.attempts(self.workload((height, width))):
                with attempt as plan:
                    if plan.strips is not None:
                        self._strips(source, sink, plan.strips, on_progress)
                    else:
                        images = source.read(0, height)[None]
                        layers = self._layers_counted(height, width)
                        on_layer = on_progress if layers > 1 else None
                        sink.write(0, self._whole(images, self.settings.half, on_layer)[0])
                        on_progress(layers, layers)
                    return

    def workload(
        self, size: tuple[int, int], *, pictures: int = 1, pending_bytes: int = 0
    ) -> Workload:
        """Describe pictures of a height and width, and this network, for a plan."""
        weights = next(self.network.parameters())
        return Workload(
            config=self.config,
            settings=self.settings,
            device=weights.device,
            dtype=weights.dtype,
            height=size[0],
            width=size[1],
            pictures=pictures,
            pending_bytes=pending_bytes,
        )

    def attempts(self, work: Workload) -> Iterator[Attempt]:
        """The plans, best first, each after the one before it has run out of memory.

        Raises:
            CycleGANError: there is none, or no other one.
        """
        last: Attempt | None = None
        for plan in work.plans():
            if last is not None:
                log.warning("Out of memory %s; going on %s.", last.plan, plan)
            last = Attempt(plan)
            yield last
            # Only here, where the error no longer holds the frames and their tensors.
            if work.device.type == "cuda":
                torch.cuda.empty_cache()
        raise (last.fault if last else CycleGANError)(work.too_large())

    def overlapped(
        self,
        images: Tensor,
        result: Tensor,
        on_progress: OnProgress,
        plan: Plan,
        streams: CopyStreams,
    ) -> int:
        """Translate pictures of a batch while others are copied; returns how many are done.

        It ends early, without a word, at what needs another plan or precision; and does nothing
        where there is no second chunk to copy meanwhile.
        """
        total = len(images)
        if plan.strips is not None or plan.chunk >= total:
            return 0
        parts = [slice(i, min(i + plan.chunk, total)) for i in range(0, total, plan.chunk)]
        done = 0

        def take(part: slice, pixels: Tensor) -> None:
            nonlocal done
            result[part] = pixels
            for done in range(part.start + 1, part.stop + 1):
                on_progress(done, total)

        settings = self.settings
        run = partial(whole_pass, self.network, self.config, self.channels[0])
        compute = partial(run, half=settings.half, speedup=settings.speedup)
        overlapped(parts, streams, lambda part: images[part], compute, take)
        return done

    def _layers_counted(self, height: int, width: int) -> int:
        """In how many steps a whole picture of that size is told; a small one in a single one."""
        is_counted = height * width >= _LARGE_PIXELS and self.settings.speedup == "none"
        return len(convolutions(self.network)) if is_counted else 1

    def _whole(
        self, images: Tensor, half: torch.dtype | None, on_layer: OnProgress | None
    ) -> Tensor:
        """(B,C,H,W) in [0,1] -> (B,C',H,W) in [0,1] and finite, in one pass."""
        settings = self.settings
        output = whole_pass(
            self.network, self.config, self.channels[0], images, half, settings.speedup, on_layer
        )
        # In [0,1] or NaN, which a maximum keeps: one pass over the numbers instead of four.
        if not output.amax().isnan():
            return output
        if half:
            self._tell_overflow()
            return self._whole(images, None, on_layer)
        weights = next(self.network.parameters())
        is_picture = not torch.isfinite(images.to(weights.device, weights.dtype)).all()
        raise non_finite_error(weights.dtype, is_picture=is_picture)

    def _strips(
        self, source: RowSource, sink: RowSink, how: StreamPlan, on_progress: OnProgress
    ) -> None:
        """Take one picture through the network strip by strip."""
        assert isinstance(self.network, ResnetGenerator)  # others have no such plan
        if self.settings.speedup != "none":
            self._tell(
                f"Strips go without the speedup {self.settings.speedup}, which is for whole "
                "pictures."
            )
        sweep = thumbnail if self.settings.memory == "thumbnail" else stream
        try:
            sweep(self.network, self.config, source, sink, how, on_progress=on_progress)
        except NonFiniteError:
            if how.dtype is None:
                raise
            self._tell_overflow()
        else:
            return
        # Only here, where the error no longer holds the strips.
        self._strips(source, sink, replace(how, dtype=None), on_progress)

    def _tell_overflow(self) -> None:
        half = self.settings.half
        self._tell(f"A result in {half} is not finite; translating again without it.")

    def _tell(self, sentence: str) -> None:
        """Log a sentence once, though every frame of a video may be concerned."""
        if sentence not in self._told:
            log.warning("%s", sentence)
        self._told.add(sentence)


def check_pictures(images: Tensor) -> None:
    """Make sure that a tensor is a batch of pictures, of none as well.

    Raises:
        ValueError: it is not (B,C,H,W) floats, or they have no pixel.
    """
    given = cast(object, images)  # whatever a caller has
    if not isinstance(given, Tensor):
        raise ValueError(
            f"images must be a float tensor (B,C,H,W) in [0,1]; got {type(given).__name__}."
        )
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            "images must be a float tensor (B,C,H,W) in [0,1]; got "
            f"{tuple(images.shape)} of {images.dtype}."
        )
    if 0 in images.shape[1:]:
        raise ValueError(f"images must have at least one pixel; got {tuple(images.shape)}.")


def check_input(images: Tensor) -> None:
    """`check_pictures` for what a caller gives, whose range can be anything.

    Raises:
        ValueError: as there, or they are in another range than [0,1].
    """
    check_pictures(images)
    check_unit_range("images", images)


def empty_result(images: Tensor, channels: int) -> Tensor:
    """Memory for (B,channels,H,W) that lies like `images`, so that no one has to copy it."""
    is_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        (len(images), channels, *images.shape[2:]),
        dtype=images.dtype,
        device=images.device,
        memory_format=torch.channels_last if is_last else torch.contiguous_format,
    )


@contextmanager
def _eval_mode(network: nn.Module) -> Generator[None]:
    """Translate without dropout, whatever mode the network is in, and leave it as found."""
    were_training = [module for module in _modules(network) if module.training]
    if were_training:
        network.eval()
    try:
        yield
    finally:
        for module in were_training:
            module.training = True


def _modules(network: nn.Module) -> list[nn.Module]:
    """All of them; torch's own walk takes a third of all that is done around a small network."""
    found = [network]
    for module in found:  # grows meanwhile
        found += [child for child in module._modules.values() if child is not None]
    return found
