"""Which way a picture goes, by the memory there is."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cyclegan_core import CycleGANError, ModelConfig
from cyclegan_core.device.memory import Limits, free_bytes, whole_pass_bytes
from cyclegan_core.streaming.stream import stored_bytes
from cyclegan_core.translation.plan import Ways, wanted_bytes

from ..test_model import RESNET, UNET, make, photo

MB = 2**20
PAPER = ModelConfig()
SIZE = (2048, 3072)


def ways(free: float, *, memory="auto", config=PAPER, dtype=None, scratch=None, count=1):
    """What would be tried for a picture of SIZE, in words; on the CPU 60 % of what is free."""
    # "meta" is a device that has no figure.
    device, figure = ("meta", None) if free == math.inf else ("cpu", int(free / 0.6))
    limits = Limits(free_bytes=figure, free_host_bytes=10**12, scratch=scratch)
    half = dtype if dtype in (torch.bfloat16, torch.float16) else None
    ways = Ways(config, memory, torch.empty(1, device=device), half, limits)
    return [str(way) for way in ways.best_first(*SIZE, count)]


WHOLE = whole_pass_bytes(PAPER, *SIZE)
MAPS = stored_bytes(PAPER, *SIZE, torch.float32)


def test_the_figures_are_those_of_the_design() -> None:
    pixels = SIZE[0] * SIZE[1]
    assert WHOLE / pixels == pytest.approx(900, rel=0.05)
    assert MAPS / pixels == 128
    assert stored_bytes(PAPER, *SIZE, torch.bfloat16) / pixels == 64
    assert whole_pass_bytes(PAPER, 1, 1) == whole_pass_bytes(PAPER, 8, 8)


def test_a_host_is_asked_for_what_the_way_needs() -> None:
    one, three = torch.Size((1, *SIZE)), torch.Size((3, *SIZE))
    assert wanted_bytes(PAPER, "auto", one) == wanted_bytes(PAPER, "whole", three) == WHOLE
    assert wanted_bytes(PAPER, "whole", torch.Size((3, 64, 64))) == 3 * whole_pass_bytes(
        PAPER, 64, 64
    )
    assert wanted_bytes(PAPER, "streamed", three) == MAPS + 512 * MB
    assert wanted_bytes(PAPER, "thumbnail", three) == 512 * MB


def test_auto_takes_whole_where_it_fits() -> None:
    assert ways(WHOLE + 1)[0] == "in one pass"
    assert "in one pass" not in ways(WHOLE - MB)
    assert ways(WHOLE - MB)[0].startswith("in strips of")
    assert ways(1e15) == [
        "in one pass",
        "in strips of 512 MB with maps in device memory",
        "in strips of 32 MB with maps in device memory",
    ]


def test_strips_get_smaller_then_the_disk_is_used() -> None:
    disk = Path("disk")
    room = MAPS + 600 * MB
    assert ways(room) == [
        f"in strips of {room // 4 // MB} MB with maps in device memory",
        f"in strips of {room // 64 // MB} MB with maps in device memory",
    ]
    assert ways(MAPS + 20 * MB) == ["in strips of 16 MB with maps in device memory"]
    assert ways(MAPS) == []
    assert ways(MAPS, scratch=disk) == [
        f"in strips of {size} MB with maps in a file" for size in (MAPS // 4 // MB, 16)
    ]
    assert ways(1e15, memory="streamed", scratch=disk)[-1].endswith("in a file")


def test_half_precision_fits_twice_as_much() -> None:
    assert ways(MAPS - MB, dtype=torch.float32) == []
    assert ways(MAPS - MB, dtype=torch.bfloat16) != []
    assert "in one pass" in ways(0.8 * WHOLE, dtype=torch.bfloat16)


def test_a_thumbnail_stores_no_maps() -> None:
    assert len(ways(40 * MB, memory="thumbnail")) == 1
    assert ways(4 * MB, memory="thumbnail") == []


def test_whole_is_whole_whatever_the_memory() -> None:
    assert ways(1, memory="whole") == ["in one pass"]


def test_a_unet_goes_in_one_pass() -> None:
    unet = ModelConfig(generator="unet")
    assert ways(1, config=unet) == ways(1e15, config=unet) == ["in one pass"]


def test_memory_without_a_figure_is_enough() -> None:
    """On a device that does not say what is free, running out decides."""
    assert ways(math.inf) == [
        "in one pass",
        "in strips of 512 MB with maps in device memory",
        "in strips of 32 MB with maps in device memory",
        "in strips of 512 MB with maps in host memory",
        "in strips of 32 MB with maps in host memory",
    ]


def test_results_that_are_not_written_yet_are_not_free_memory() -> None:
    ways = Ways(PAPER, "auto", torch.empty(1), None, Limits())
    assert list(ways.best_first(8, 8, 1)) != []
    ways.pending_bytes = 2**50  # a very long video
    assert list(ways.best_first(8, 8, 1)) == []


def test_free_memory_of_this_machine_is_a_figure() -> None:
    free = free_bytes(torch.device("cpu"))
    assert free is not None
    assert 10 * MB < free < 2**50


# --- through the model -------------------------------------------------------------------------


def strips_of(images, free: int, **settings) -> tuple[torch.Tensor, int]:
    """The result and how many calls of progress it took."""
    calls: list[tuple[int, int]] = []
    result = make(replace(RESNET, base_channels=8)).translate(
        images,
        limits=Limits(free_bytes=free),
        on_progress=lambda *call: calls.append(call),
        **settings,
    )
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1][0] == calls[-1][1]
    return result, len(calls)


def test_auto_streams_what_does_not_fit_and_the_result_is_the_same() -> None:
    images = photo(2, 3, 640, 512)
    config = replace(RESNET, base_channels=8)
    needed = whole_pass_bytes(config, 640, 512)
    whole, calls = strips_of(images, 10 * needed)
    assert calls == 2
    streamed, calls = strips_of(images, int(1.2 * needed))
    assert calls > 4
    torch.testing.assert_close(streamed, whole, rtol=0, atol=2e-5)  # the bound of the design
    asked, _ = strips_of(images, 10 * needed, memory="streamed")
    torch.testing.assert_close(asked, whole, rtol=0, atol=2e-5)


def test_too_little_memory_is_said_with_what_would_fit() -> None:
    """16 bytes of maps per pixel and the smallest strips; 60 % of what is free can be used."""
    with pytest.raises(CycleGANError) as caught:
        strips_of(photo(1, 3, 2000, 1000), 50 * MB)
    text = str(caught.value)
    found = re.fullmatch(
        r"A picture of 1000×2000 needs 49 MB of memory beside itself and its result, and 31 MB can "
        r"be used; about (\d+)×(\d+) would fit; the command's --scratch allows any size\.",
        text,
    )
    width, height = int(found[1]), int(found[2])
    assert strips_of(photo(1, 3, height, width), 50 * MB)[0].shape == (1, 3, height, width)
    with pytest.raises(CycleGANError):
        strips_of(photo(1, 3, height + 8, width + 8), 50 * MB)


def test_the_scratch_folder_is_used_and_left_empty(tmp_path: Path) -> None:
    images = photo(1, 3, 500, 400)
    model = make(replace(RESNET, base_channels=8))
    whole = model.translate(images)
    limits = Limits(free_bytes=MB, scratch=tmp_path)
    streamed = model.translate(images, limits=limits)
    torch.testing.assert_close(streamed, whole, rtol=0, atol=2e-5)
    assert list(tmp_path.iterdir()) == []


def test_a_unet_can_not_be_streamed() -> None:
    for memory in ("streamed", "thumbnail"):
        for free in (1, 10**12):
            limits = Limits(free_bytes=free)
            with pytest.raises(CycleGANError, match="U-Net can't translate in strips"):
                make(UNET).translate(photo(1, 3, 64, 64), memory=memory, limits=limits)


def test_overflow_in_half_precision_streams_again_without_it(caplog) -> None:
    model, images = make(), photo(2, 3, 40, 40)
    with torch.no_grad():
        model.gen_ab.model[1].weight.mul_(1e6)  # instance norm makes it harmless in float32
    exact = model.translate(images)
    with caplog.at_level(logging.WARNING):
        result = model.translate(images, memory="streamed", dtype=torch.float16)
    torch.testing.assert_close(result, exact, rtol=0, atol=2e-5)
    # Said once, not for every picture.
    assert [r.getMessage() for r in caplog.records] == [
        "A result in torch.float16 is not finite; translating again without it."
    ]


@pytest.mark.parametrize("memory", ["streamed", "thumbnail"])
def test_broken_pictures_and_weights_are_named_in_strips_too(memory) -> None:
    model, images = make(), photo(1, 3, 40, 40)
    images[0, 1, 30, 2] = torch.nan
    with pytest.raises(CycleGANError, match="The picture holds NaN or infinite values"):
        model.translate(images, memory=memory)
    with torch.no_grad():
        model.gen_ab.model[4].bias[0] = torch.nan
    with pytest.raises(CycleGANError, match="because the weights hold NaN or infinite values"):
        model.translate(photo(1, 3, 40, 40), memory=memory)


@pytest.mark.parametrize("memory", ["whole", "streamed", "thumbnail"])
def test_a_result_lies_in_memory_like_the_pictures(memory) -> None:
    images = photo(2, 3, 24, 16)
    assert make().translate(images, memory=memory).is_contiguous()
    like_the_host = images.movedim(1, -1).contiguous().movedim(-1, 1)
    result = make().translate(like_the_host, memory=memory)
    assert result.movedim(1, -1).is_contiguous()
    torch.testing.assert_close(result, make().translate(images, memory=memory))
