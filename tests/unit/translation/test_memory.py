"""Which plan a picture goes by, for the memory there is."""

from __future__ import annotations

import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cyclegan_core import CycleGANError, ModelConfig
from cyclegan_core.device.memory import free_bytes
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.streaming.plan import stored_bytes
from cyclegan_core.translation.plan import (
    Limits,
    TranslateSettings,
    Workload,
    wanted_bytes,
    whole_pass_bytes,
)

from ..test_model import RESNET, UNET, make, photo

MB = 2**20
PAPER = ModelConfig()
SIZE = (2048, 3072)


def plans(free: float, *, memory="auto", config=PAPER, dtype=None, scratch=None, count=1):
    """What would be tried for a picture of SIZE, in words; on the CPU 60 % of what is free."""
    # "meta" is a device that has no figure.
    device, figure = ("meta", None) if free == math.inf else ("cpu", int(free / 0.6))
    limits = Limits(free_bytes=figure, free_host_bytes=10**12, scratch=scratch)
    settings = TranslateSettings(memory=memory, dtype=dtype, limits=limits)
    return [str(plan) for plan in workload(config, settings, device, SIZE, count).plans()]


def workload(config, settings, device, size, pictures=1, **more) -> Workload:
    height, width = size
    return Workload(
        config=config,
        settings=settings,
        device=torch.device(device),
        height=height,
        width=width,
        pictures=pictures,
        **more,
    )


WHOLE = whole_pass_bytes(PAPER, *SIZE)
MAPS = stored_bytes(PAPER, *SIZE, torch.float32)


def test_the_figures_are_those_of_the_design() -> None:
    pixels = SIZE[0] * SIZE[1]
    assert WHOLE / pixels == pytest.approx(900, rel=0.05)
    assert MAPS / pixels == 128
    assert stored_bytes(PAPER, *SIZE, torch.bfloat16) / pixels == 64
    assert whole_pass_bytes(PAPER, 1, 1) == whole_pass_bytes(PAPER, 8, 8)


def wanted(memory, size, *, dtype=None, most=None, device="meta") -> float:
    """What the host is asked for; of "meta" 80 % may be used."""
    settings = TranslateSettings(memory=memory, dtype=dtype, limits=Limits(free_bytes=most))
    bytes_ = wanted_bytes(PAPER, settings, torch.Size(size), torch.device(device))
    return 0.8 * bytes_


def test_a_host_is_asked_for_what_the_plan_needs() -> None:
    one, three = (1, *SIZE), (3, *SIZE)
    byte = {"abs": 1}  # the request is rounded up
    assert wanted("auto", one) == wanted("whole", three) == pytest.approx(WHOLE, **byte)
    small = 3 * whole_pass_bytes(PAPER, 64, 64)
    assert wanted("whole", (3, 64, 64)) == pytest.approx(small, **byte)
    assert wanted("streamed", three) == pytest.approx(MAPS + 512 * MB, **byte)
    assert wanted("thumbnail", three) == pytest.approx(512 * MB, **byte)


def test_a_host_is_not_asked_for_a_whole_pass_that_can_never_fit() -> None:
    """8192² on 24 GB goes in strips: 9.1 GB, and half of the maps' in half precision."""
    size, most = (8192, 8192), 24 * 10**9
    for dtype, maps in ((None, 128), (torch.float32, 128), (torch.bfloat16, 64)):
        needed = maps * size[0] * size[1] + 512 * MB
        asked = wanted("auto", (1, *size), dtype=dtype, most=most)
        assert asked == pytest.approx(needed, abs=1)
    whole = whole_pass_bytes(PAPER, *SIZE, torch.bfloat16)
    assert wanted("auto", (1, *SIZE), dtype=torch.bfloat16, most=most) == pytest.approx(
        whole, abs=1
    )
    # Maps that go elsewhere need no room: on a disk, and on a GPU of the host's in its memory.
    assert wanted("streamed", (1, *size), most=4 * 10**9) < 4 * 10**9
    assert wanted("auto", (1, *size), most=MB, device="cpu") <= 16 * MB


def test_what_is_wanted_is_enough_for_the_same_plan() -> None:
    for memory in ("auto", "whole", "streamed", "thumbnail"):
        settings = TranslateSettings(memory=memory, limits=Limits(free_bytes=24 * 10**9))
        work = workload(PAPER, settings, "meta", SIZE)
        least = replace(settings, limits=Limits(free_bytes=work.wanted_bytes()))
        first, then = next(work.plans()), next(replace(work, settings=least).plans())
        assert (first.strips is None) == (then.strips is None)
        assert first.strips is None or first.strips.store == then.strips.store == "device"


def test_auto_takes_whole_where_it_fits() -> None:
    assert plans(WHOLE + 1)[0] == "in one pass"
    assert "in one pass" not in plans(WHOLE - MB)
    assert plans(WHOLE - MB)[0].startswith("in strips of")
    assert plans(1e15) == [
        "in one pass",
        "in strips of 512 MB with maps in device memory",
        "in strips of 32 MB with maps in device memory",
    ]


def test_strips_get_smaller_then_the_disk_is_used() -> None:
    disk = Path("disk")
    room = MAPS + 600 * MB
    assert plans(room) == [
        f"in strips of {room // 4 // MB} MB with maps in device memory",
        f"in strips of {room // 64 // MB} MB with maps in device memory",
    ]
    assert plans(MAPS + 20 * MB) == ["in strips of 16 MB with maps in device memory"]
    assert plans(MAPS) == []
    assert plans(MAPS, scratch=disk) == [
        f"in strips of {size} MB with maps in a file" for size in (MAPS // 4 // MB, 16)
    ]
    assert plans(1e15, memory="streamed", scratch=disk)[-1].endswith("in a file")


def test_half_precision_fits_twice_as_much() -> None:
    assert plans(MAPS - MB, dtype=torch.float32) == []
    assert plans(MAPS - MB, dtype=torch.bfloat16) != []
    assert "in one pass" in plans(0.8 * WHOLE, dtype=torch.bfloat16)


def test_a_thumbnail_stores_no_maps() -> None:
    assert len(plans(40 * MB, memory="thumbnail")) == 1
    assert plans(4 * MB, memory="thumbnail") == []


def test_whole_is_whole_whatever_the_memory() -> None:
    assert plans(1, memory="whole") == ["in one pass"]


def test_a_unet_goes_in_one_pass() -> None:
    unet = ModelConfig(generator="unet")
    assert plans(1, config=unet) == plans(1e15, config=unet) == ["in one pass"]


def test_memory_without_a_figure_is_enough() -> None:
    """On a device that does not say what is free, running out decides."""
    assert plans(math.inf) == [
        "in one pass",
        "in strips of 512 MB with maps in device memory",
        "in strips of 32 MB with maps in device memory",
        "in strips of 512 MB with maps in host memory",
        "in strips of 32 MB with maps in host memory",
    ]


def test_results_that_are_not_written_yet_are_not_free_memory() -> None:
    work = workload(PAPER, TranslateSettings(), "cpu", (8, 8))
    assert list(work.plans()) != []
    assert list(replace(work, pending_bytes=2**50).plans()) == []  # a very long video


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


@pytest.mark.parametrize("memory", ["streamed", "thumbnail"])
def test_a_unet_is_refused_with_what_it_needs(memory) -> None:
    config = ModelConfig(generator="unet", num_downs=5, base_channels=2)
    rows = TensorRows(torch.zeros(1, 1, 1).expand(3, 20000, 30000))
    gigabytes = f"{whole_pass_bytes(config, 20000, 30000) / 1e9:.1f}"
    message = rf"U-Net can't translate in strips.*about {gigabytes} GB for 30000×20000"
    with pytest.raises(CycleGANError, match=message):
        make(config).translate_rows(rows, rows, memory=memory)


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
