"""Frames of a film: norm statistics of each, of the whole film, or averaged as it goes on."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from cyclegan_core import CycleGAN
from cyclegan_core.config import FilmSettings, ModelConfig
from cyclegan_core.translation.film import spread

from ..weights import SMALL, make_model

CONFIGS = {
    "resnet": SMALL,
    "affine": replace(SMALL, norm_affine=True),
    "blurred": replace(SMALL, downsample="blur", upsample="bilinear"),
    "unet": ModelConfig(generator="unet", base_channels=2, num_downs=5),
}
ROUNDING = 2e-5
"""float32 sums in another order, through a dozen layers that each divide by a deviation."""


def clip(frames: int = 5, height: int = 20, width: int = 24) -> Tensor:
    """A scene of noise into which something bright comes from the right."""
    rng = torch.Generator().manual_seed(4)
    still = torch.rand(3, height, width, generator=rng) * 0.6
    film = still.repeat(frames, 1, 1, 1)
    for number in range(frames):
        film[number, :, :, width - 3 * number :] = 0.95
    return film


def hooked(model: CycleGAN, frames: Tensor, statistics: str, tau: float = 12.0) -> Tensor:
    """The definition, spelled out with hooks in the network and float64 statistics."""
    network = model.generator("a_to_b")
    norms = {name: m for name, m in network.named_modules() if isinstance(m, nn.InstanceNorm2d)}
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in norms}
    averages: dict[str, tuple[Tensor, Tensor]] = {}
    mode = "measure"

    def hook(name: str):
        def normed(norm, inputs, output):
            x = inputs[0].double()
            mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), False, keepdim=True)
            if mode == "measure":
                found[name].append((mean, variance))
            elif mode == "smooth":
                share = 1 - math.exp(-1 / tau)
                if name in averages:
                    old = averages[name]
                    mean = old[0] + share * (mean - old[0])
                    variance = old[1] + share * (variance - old[1])
                averages[name] = mean, variance
            else:
                mean = torch.stack([one for one, _ in found[name]]).mean(0)
                variance = torch.stack([one for _, one in found[name]]).mean(0)
            result = (x - mean) / (variance + norm.eps).sqrt()
            if norm.affine:
                result = result * norm.weight[:, None, None] + norm.bias[:, None, None]
            return result.to(inputs[0].dtype)

        return normed

    # A norm that works in place would overwrite what the hook has to see.
    for norm in norms.values():
        norm.in_place = False
    handles = [norm.register_forward_hook(hook(name)) for name, norm in norms.items()]
    try:
        if statistics == "smoothed":
            mode = "smooth"
            return torch.cat([model.translate(one) for one in frames.split(1)])
        for one in frames.split(1):
            model.translate(one)
        mode = "use"
        return torch.cat([model.translate(one) for one in frames.split(1)])
    finally:
        for handle in handles:
            handle.remove()
        for norm in norms.values():
            norm.in_place = True


def flicker(frames: Tensor) -> float:
    """Mean change from frame to frame of the part that never changes, columns 0 to 5."""
    still = frames[:, :, :, :6]
    return float((still[1:] - still[:-1]).abs().mean())


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("statistics", ["shared", "smoothed"])
def test_the_result_is_that_of_the_definition(name: str, statistics: str) -> None:
    model = make_model(CONFIGS[name])
    frames = clip(height=32, width=32) if name == "unet" else clip()
    ours = model.translate(frames, statistics=statistics, smoothing_frames=3)
    torch.testing.assert_close(ours, hooked(model, frames, statistics, 3), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("memory", ["streamed", "thumbnail"])
@pytest.mark.parametrize("statistics", ["shared", "smoothed"])
@pytest.mark.parametrize("name", ["resnet", "affine", "blurred"])
def test_strips_take_the_same_statistics(name: str, memory: str, statistics: str) -> None:
    """A thumbnail is exact for pictures as small as these."""
    model = make_model(CONFIGS[name])
    whole = model.translate(clip(), statistics=statistics, memory="whole")
    other = model.translate(clip(), statistics=statistics, memory=memory)
    torch.testing.assert_close(other, whole, rtol=0, atol=ROUNDING)


def test_frame_is_what_each_picture_alone_becomes() -> None:
    model = make_model()
    alone = torch.cat([model.translate(one) for one in clip().split(1)])
    assert torch.equal(model.translate(clip(), statistics="frame"), alone)


def test_smoothed_begins_with_the_first_frames_own_statistics() -> None:
    model = make_model()
    frames = clip()
    smoothed = model.translate(frames, statistics="smoothed")
    assert torch.equal(smoothed[0], model.translate(frames)[0])
    assert not torch.equal(smoothed[1], model.translate(frames)[1])


def test_what_stays_the_same_in_the_film_stays_the_same() -> None:
    """Columns 0 to 5 are farther from what moves than the network sees."""
    model = make_model()
    wide = clip(width=64)
    each = flicker(model.translate(wide))
    assert flicker(model.translate(wide, statistics="shared")) < 1e-6 < each
    assert flicker(model.translate(wide, statistics="smoothed")) < 0.5 * each


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("statistics", ["shared", "smoothed"])
def test_without_instance_norm_there_is_no_difference(norm: str, statistics: str) -> None:
    model = make_model(replace(SMALL, norm=norm))
    seen: list[int] = []
    result = model.translate(
        clip(), statistics=statistics, on_progress=lambda done, total: seen.append(total)
    )
    assert torch.equal(result, model.translate(clip()))
    assert set(seen) == {5}, "nothing was measured"


def test_the_model_is_left_as_it_was() -> None:
    model = make_model()
    before = model.translate(clip())
    modules, state = list(model.modules()), model.state_dict()
    for statistics in ("shared", "smoothed"):
        model.translate(clip(), statistics=statistics)
    assert list(model.modules()) == modules
    assert model.state_dict().keys() == state.keys()
    assert torch.equal(model.translate(clip()), before)


def test_a_film_goes_on_from_its_state() -> None:
    model = make_model()
    frames = clip(6)
    settings = FilmSettings(statistics="smoothed", smoothing_frames=2)
    whole = model.film(settings=settings).translate(frames)
    first = model.film(settings=settings)
    begun = first.translate(frames[:4])
    second = model.film(settings=settings)
    second.load_state(first.state())
    assert torch.equal(torch.cat([begun, second.translate(frames[4:])]), whole)


def test_a_few_frames_are_measured_at_even_distances() -> None:
    assert spread(10, 5) == [1, 3, 5, 7, 9]
    assert spread(3, 32) == [0, 1, 2]
    assert spread(1000, 0) == list(range(1000))
    assert spread(7, 1) == [3]
    assert spread(0, 4) == []
    model = make_model()
    frames = clip(6)
    film = model.film(settings=FilmSettings(statistics="shared", measured_frames=2))
    for number in (1, 4):
        film.measure(frames[number : number + 1])
    ours = model.translate(frames, statistics="shared", measured_frames=2)
    assert torch.equal(ours, film.translate(frames))


def test_a_frame_that_overflows_counts_once() -> None:
    """Half precision overflows in the first pass, which has left its statistics behind."""
    model = make_model()
    network = model.generator("a_to_b")
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.mul_(1e5)  # which the norms undo in float32
                break
    frames = clip(3)
    exact = model.translate(frames, statistics="smoothed")
    half = model.translate(frames, statistics="smoothed", dtype=torch.float16)
    assert torch.equal(half, exact)


@pytest.mark.parametrize("statistics", ["shared", "smoothed"])
def test_it_works_at_a_work_size(statistics: str) -> None:
    model = make_model(replace(SMALL, image_size=8))
    result = model.translate(clip(), statistics=statistics, work_size=12)
    assert result.shape == (5, 3, 20, 24)
    assert flicker(result) < flicker(model.translate(clip(), work_size=12))


def test_a_frame_goes_on_in_strips_where_memory_ends() -> None:
    """The third frame's whole pass fails at its end, when all its statistics are taken."""
    model = make_model()
    expected = model.translate(clip(), statistics="smoothed")
    passes = 0

    def run_out(*_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = model.generator("a_to_b").model[-1].register_forward_pre_hook(run_out)
    ours = model.translate(clip(), statistics="smoothed")
    handle.remove()
    assert passes == 5, "one pass for each frame, and strips know no hooks"
    torch.testing.assert_close(ours, expected, rtol=0, atol=ROUNDING)


def test_progress_counts_measured_and_translated_frames() -> None:
    seen: list[float] = []
    make_model().translate(
        clip(),
        statistics="shared",
        measured_frames=2,
        on_progress=lambda done, total: seen.append(done / total),
    )
    assert seen == sorted(seen)
    assert len(seen) == 7
    assert seen[-1] == 1


def test_no_frame_is_no_film() -> None:
    for statistics in ("shared", "smoothed"):
        assert make_model().translate(clip()[:0], statistics=statistics).shape == (0, 3, 20, 24)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"statistics": "all"}, "statistics must be one of frame, shared, smoothed; got 'all'."),
        ({"smoothing_frames": 0}, "smoothing_frames must be a number at least 1; got 0."),
        ({"measured_frames": -1}, "measured_frames must be a whole number of at least 0; got -1."),
        ({"steadiness": 1}, "steadiness must be a number from 0 to 0.95; got 1."),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        make_model().translate(clip(), **settings)


def test_shared_statistics_have_to_be_measured() -> None:
    film = make_model().film(settings=FilmSettings(statistics="shared"))
    with pytest.raises(ValueError, match="need at least one measured frame"):
        film.translate(clip())
