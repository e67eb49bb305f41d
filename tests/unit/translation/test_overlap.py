"""Copies beside the computation: same pictures, same order, same progress, same errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from cyclegan_core.translation.overlap import overlapped
from cyclegan_core.translation.plan import TranslateSettings
from cyclegan_core.translation.translate import Translation

from ..test_model import RESNET, make, photo


@dataclass
class HostStreams:
    """Streams of a device that computes when somebody waits for it."""

    events: list[str] = field(default_factory=list)

    def start(self, images: Tensor, compute: Callable[[Tensor], Tensor]):
        self.events.append("start")
        return HostResult(self.events, compute(images))

    def synchronize(self) -> None:
        self.events.append("wait")


@dataclass
class HostResult:
    events: list[str]
    output: Tensor

    def wait(self) -> tuple[Tensor, bool]:
        self.events.append("finish")
        return self.output, bool(torch.isfinite(self.output).all())


def translate(images: Tensor, on_progress=lambda *_: None, *, streams=None, **settings):
    """As a GPU's translation begins: the pictures that are done, and their results."""
    model = make()
    work = Translation(model.gen_ab, RESNET, (3, 3), TranslateSettings(**settings))
    result = torch.full_like(images, -1)
    with torch.no_grad():
        size = images.shape[-2], images.shape[-1]
        plan = next(work.workload(size, pictures=len(images)).plans())
        done = work.overlapped(images, result, on_progress, plan, streams or HostStreams())
    return done, result


def test_results_and_progress_are_those_of_one_after_the_other() -> None:
    images = photo(4, 3, 12, 16)
    calls: list[tuple[int, int]] = []
    streams = HostStreams()
    done, result = translate(images, lambda *call: calls.append(call), streams=streams)
    assert done == 4
    assert torch.equal(result, make().translate(images))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    # Each is looked at only when the next one is on its way.
    assert streams.events == ["start", *["start", "finish"] * 3, "finish", "wait"]


def test_one_chunk_is_left_to_the_plain_way() -> None:
    streams = HostStreams()
    assert translate(photo(1, 3, 8, 8), streams=streams)[0] == 0
    assert translate(photo(0, 3, 8, 8), streams=streams)[0] == 0
    assert streams.events == []


def test_it_ends_before_what_is_not_finite() -> None:
    images = photo(5, 3, 8, 8)
    images[2, 0, 0, 0] = torch.nan
    calls: list[int] = []
    done, result = translate(images, lambda now, _: calls.append(now))
    assert (done, calls) == (2, [1, 2])
    assert torch.equal(result[:2], make().translate(images[:2]))
    assert (result[2:] == -1).all()


def test_cancelling_waits_for_what_is_under_way() -> None:
    class Cancelled(BaseException):
        pass

    def stop(now: int, _: int) -> None:
        if now == 2:
            raise Cancelled

    streams = HostStreams()
    with pytest.raises(Cancelled):
        translate(photo(5, 3, 8, 8), stop, streams=streams)
    assert streams.events == ["start", "start", "finish", "start", "finish", "wait"]


def test_running_out_of_memory_takes_what_was_started() -> None:
    started: list[slice] = []
    taken: list[slice] = []

    def read(part: slice) -> Tensor:
        if part.start == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        started.append(part)
        return torch.zeros(1)

    parts = [slice(i, i + 1) for i in range(5)]
    overlapped(parts, HostStreams(), read, lambda x: x, lambda part, _: taken.append(part))
    assert started == taken == parts[:3]


def test_other_errors_fly() -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("a bug")

    streams = HostStreams()
    with pytest.raises(RuntimeError, match="a bug"):
        overlapped([slice(0, 1)], streams, lambda _: torch.zeros(1), fail, lambda *_: None)
    assert streams.events == ["start", "wait"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_long_batch_is_each_picture_alone(monkeypatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    images = photo(7, 3, 64, 48)
    model = make().to("cuda")
    expected = torch.cat([model.translate(image[None].cuda()).cpu() for image in images])
    # Convolutions of other batch sizes may add up in another order.
    torch.testing.assert_close(model.translate(images), expected, rtol=0, atol=2e-5)
