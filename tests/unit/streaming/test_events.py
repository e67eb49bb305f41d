"""Streaming: where maps live, progress and cancel, what is not finite, what can't be streamed."""

from __future__ import annotations

import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cyclegan_core import CycleGANError
from cyclegan_core.errors import NonFiniteError
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.streaming.feature_maps import map_memory
from cyclegan_core.streaming.plan import StreamPlan
from cyclegan_core.streaming.stream import stream, thumbnail
from cyclegan_core.streaming.strip_layers import Convolution

from .test_stream import SMALL, make, photo, plan, streamed


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_all_stores_give_the_same_bits(tmp_path: Path, dtype) -> None:
    model, images = make(SMALL), photo(1, 3, 45, 39)
    how = replace(plan(SMALL, 39, 8, dtype or torch.float32), dtype=dtype)
    results = [
        streamed(model, images, replace(how, store=store))
        for store in ("device", "host", tmp_path, tmp_path / "new" / "er")
    ]
    assert all(torch.equal(result, results[0]) for result in results)
    assert list(tmp_path.iterdir()) == []


def test_the_length_of_strips_does_not_matter() -> None:
    model, images = make(SMALL).double(), photo(1, 3, 64, 24).double()
    whole = streamed(model, images)
    for rows in (4, 8, 20, 32):
        result = streamed(model, images, plan(SMALL, 24, rows, torch.float64))
        # float64, but other lengths make other sums.
        torch.testing.assert_close(result, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("translate", [stream, thumbnail])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_progress_counts_every_strip(translate, norm) -> None:
    config = replace(SMALL, norm=norm)
    model, images, calls = make(config), photo(3, 40, 24), []
    translate(
        model.generator("a_to_b"),
        config,
        TensorRows(images),
        TensorRows(torch.empty_like(images)),
        plan(config, 24, 8, torch.float32),
        on_progress=lambda done, total: calls.append((done, total)),
    )
    # Strips of 8 rows, of 4 if one sweep goes through all layers, which keep rows of their own.
    # Ten rows at quarter size are two strips for each of the blocks' four convolutions.

    measure = 0 if norm == "batch" else 5 * 5 + 2 * 4
    write = 5 if (norm, translate) == ("instance", stream) else 10
    total = measure + write
    assert calls == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_the_last_strip_is_not_larger_than_the_others(norm, monkeypatch) -> None:
    """Ten blocks keep twenty rows at quarter size, eighty rows of the picture."""
    config = replace(SMALL, norm=norm, num_blocks=10)
    model, images, heights = make(config), photo(1, 3, 200, 16), []
    convolve = Convolution.__call__
    monkeypatch.setattr(
        Convolution,
        "__call__",
        lambda self, x, last: heights.append(x.shape[2]) or convolve(self, x, last),
    )
    streamed(model, images, plan(config, 16, 4, torch.float32))
    # Strips of four rows, with what the decoder's own layers keep: 19. All at once would be 100.
    assert 4 < max(heights) < 30


class CancelError(Exception):
    """What a host raises in a callback."""


def test_cancel_leaves_nothing_in_the_scratch_folder(tmp_path: Path) -> None:
    model, images, scratch = make(SMALL), photo(3, 40, 24), tmp_path / "scratch"
    existed = []

    def cancel(done: int, total: int) -> None:
        existed.append(scratch.is_dir())
        if done == total // 2:
            raise CancelError

    how = replace(plan(SMALL, 24, 8, torch.float32), store=scratch)
    rows = TensorRows(images), TensorRows(torch.empty_like(images))
    with pytest.raises(CancelError):
        stream(model.generator("a_to_b"), SMALL, *rows, how, on_progress=cancel)
    assert existed
    assert all(existed)
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_is_a_file(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(CycleGANError, match=r"scratch folder .*file can't hold .*; name a folder"):
        streamed(make(SMALL), photo(1, 3, 16, 16), StreamPlan(store=place))
    assert place.read_text() == "mine"


def test_a_full_disk(tmp_path: Path) -> None:
    like = torch.empty(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with map_memory(4 * 64 * 64, like, tmp_path) as memory:
        stored = memory.map((4, 64, 64))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # the write fails with EFBIG
        try:
            with pytest.raises(CycleGANError, match=r"can't hold the feature maps: File too large"):
                stored.write(0, torch.zeros(1, 4, 64, 64))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("translate", [stream, thumbnail])
def test_a_picture_that_is_not_finite(norm, translate) -> None:
    config = replace(SMALL, norm=norm)
    images = photo(3, 40, 24)
    images[1, 33, 7] = torch.nan
    rows = TensorRows(images), TensorRows(torch.zeros_like(images))
    with pytest.raises(CycleGANError, match="The picture holds NaN") as caught:
        translate(make(config).generator("a_to_b"), config, *rows, StreamPlan())
    assert not isinstance(caught.value, NonFiniteError)


def test_half_precision_that_overflows_can_be_told_apart() -> None:
    model, images = make(SMALL), photo(1, 3, 24, 24)
    with torch.no_grad():
        model.gen_ab.model[1].weight.mul_(1e6)  # beyond float16's 65504; the norm takes it out
    with pytest.raises(NonFiniteError, match="overflow float16"):
        streamed(model, images, StreamPlan(dtype=torch.float16))
    assert streamed(model, images).isfinite().all()


def test_nothing_of_a_result_that_is_not_finite_is_written() -> None:
    model, images = make(replace(SMALL, norm="none")), photo(3, 16, 16)
    with torch.no_grad():
        model.gen_ab.model[-2].bias[0] = torch.nan
    result = torch.full_like(images, 0.25)
    rows = TensorRows(images), TensorRows(result)
    with pytest.raises(NonFiniteError, match="weights hold NaN"):
        stream(model.generator("a_to_b"), model.config, *rows, StreamPlan())
    assert (result == 0.25).all()


def test_channels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="takes 3-channel pictures; got 2"):
        streamed(make(SMALL), photo(1, 2, 16, 16))
