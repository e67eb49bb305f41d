"""Translation at another size: against Pillow and NumPy, in strips, in little memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from cyclegan_core import CycleGAN, CycleGANError
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.translation import work_shape
from cyclegan_core.translation import work_size as module

from ..weights import SMALL, make_model

Array = np.ndarray


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    return make_model(replace(SMALL, image_size=8))


def picture(height: int, width: int, channels: int = 3, count: int = 1, seed: int = 3) -> Tensor:
    """Noise of several scales, so that there are edges to keep and detail to lose."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, max(1, height // 8), max(1, width // 8), generator=rng)
    fine = torch.rand(count, channels, height, width, generator=rng)
    large = torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")
    return 0.75 * large + 0.25 * fine


# --- a second implementation --------------------------------------------------------------------


def resized(pixels: Array, height: int, width: int) -> Array:
    """(C,H,W) -> (C,h,w) by Pillow."""
    layers = [Image.fromarray(layer.astype(np.float32)) for layer in pixels]
    return np.stack(
        [np.asarray(one.resize((width, height), Image.Resampling.BICUBIC)) for one in layers]
    )


def grey(pixels: Array) -> Array:
    return np.tensordot([0.299, 0.587, 0.114], pixels, 1) if len(pixels) == 3 else pixels[0]


def windows(layer: Array, what) -> Array:
    """`what` of the 5×5 window of each pixel, as far as it lies in the picture."""
    height, width = layer.shape
    return np.array(
        [
            [
                what(layer[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].astype(np.float64))
                for x in range(width)
            ]
            for y in range(height)
        ]
    )


def restored(fake: Array, small: Array, large: Array, detail: float) -> Array:
    """What the docstring of the module says, in the plainest way."""
    size = large.shape[1:]
    guide, tones = grey(small), grey(fake)
    variance = windows(guide**2, np.mean) - windows(guide, np.mean) ** 2
    covariance = windows(guide * tones, np.mean) - windows(guide, np.mean) * windows(tones, np.mean)
    gain = windows(np.clip((covariance + 1e-3) / (variance + 1e-3), 0, 1), np.mean)
    enlarged = resized(fake, *size)
    maps = (guide, gain, windows(tones, np.min) - 0.04, windows(tones, np.max) + 0.04)
    guide, gain, low, high = resized(np.stack(maps), *size)
    here = grey(enlarged)
    added = gain * (grey(large) - guide)
    added = np.maximum(np.minimum(added, np.maximum(high - here, 0)), np.minimum(low - here, 0))
    return np.clip(enlarged + detail * added, 0, 1)


# --- results ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 48), (65, 131), (33, 200), (19, 17)])
@pytest.mark.parametrize("detail", [0.0, 0.4, 1.0])
def test_agrees_with_a_plain_implementation(
    model: CycleGAN, size: tuple[int, int], detail: float
) -> None:
    images = picture(*size)
    small = np.clip(resized(images[0].numpy(), *work_shape(size, 16, model.config)), 0, 1)
    fake = model.translate(torch.from_numpy(small)[None])[0].numpy()
    expected = restored(fake, small, images[0].numpy(), detail)
    result = model.translate(images, work_size=16, detail=detail)[0].numpy()
    # Pillow keeps its layers in float32; the network magnifies what differs (5e-6 were seen).
    assert np.abs(result - expected).max() < 5e-5
    assert np.abs(expected - restored(fake, small, images[0].numpy(), 0.7)).max() > 0.005


def test_a_smaller_picture_is_enlarged_and_reduced_again(model: CycleGAN) -> None:
    images = picture(9, 12)
    large = np.clip(resized(images[0].numpy(), 24, 32), 0, 1)
    fake = model.translate(torch.from_numpy(large)[None])[0].numpy()
    expected = np.clip(resized(fake, 9, 12), 0, 1)
    results = [model.translate(images, work_size=24, detail=detail)[0] for detail in (0, 1)]
    assert np.abs(results[1].numpy() - expected).max() < 5e-5
    assert torch.equal(*results)


@pytest.mark.parametrize("work_size", [0, 20])
def test_the_pictures_own_size_is_the_exact_path(model: CycleGAN, work_size: int) -> None:
    images = picture(20, 27, count=2)
    exact = model.translate(images)
    assert torch.equal(model.translate(images, work_size=work_size, detail=0.3), exact)
    result = torch.empty_like(images[0])
    model.translate_rows(TensorRows(images[0]), TensorRows(result), work_size=work_size)
    assert torch.equal(result, exact[0])


@pytest.mark.parametrize(("image_size", "short"), [(8, 512), (128, 512), (256, 512), (512, 1024)])
def test_auto_is_twice_the_size_in_training_but_at_least_512(image_size: int, short: int) -> None:
    config = replace(SMALL, image_size=image_size)
    assert work_shape((2000, 4000), "auto", config) == (short, 2 * short)


def test_auto_is_that_number(model: CycleGAN) -> None:
    images = picture(30, 40)
    automatic = model.translate(images, work_size="auto")
    assert torch.equal(automatic, model.translate(images, work_size=512))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 256), (128, 512)),  # 4:1 is enlarged wholly
        ((256, 64), (512, 128)),
        ((40, 400), (81, 810)),  # 4 x 128² pixels
        ((50, 8000), (50, 8000)),  # has more already
        ((200, 8000), (128, 5120)),  # reducing is not bounded
        ((1, 1), (128, 128)),
    ],
)
def test_a_panorama_does_not_grow_huge(model: CycleGAN, size, expected) -> None:
    assert work_shape(size, 128, model.config) == expected


@pytest.mark.parametrize("rows", [1, 7, 32])
def test_strips_make_no_difference(
    model: CycleGAN, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    images = picture(61, 50)
    whole = model.translate(images, work_size=16)
    monkeypatch.setattr(module, "_STRIP_PIXELS", rows * 50)
    assert torch.equal(model.translate(images, work_size=16), whole)
    result = torch.empty_like(images[0])
    model.translate_rows(TensorRows(images[0]), TensorRows(result), work_size=16)
    assert torch.equal(result, whole[0])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (3, 5), (17, 16), (16, 255)])
@pytest.mark.parametrize("work_size", [1, 2, 16])
def test_any_size_keeps_its_size(model: CycleGAN, size: tuple[int, int], work_size: int) -> None:
    result = model.translate(picture(*size), work_size=work_size)
    assert result.shape == (1, 3, *size)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("level", [0.0, 0.37, 1.0])
def test_a_flat_picture_gets_no_detail(model: CycleGAN, level: float) -> None:
    images = torch.full((1, 3, 50, 70), level)
    plain, detailed = (model.translate(images, work_size=16, detail=d) for d in (0, 1))
    assert (plain - detailed).abs().max() < 1e-6  # float rounding of resizing


def test_a_batch_is_its_pictures(model: CycleGAN) -> None:
    images = picture(30, 41, count=3).contiguous(memory_format=torch.channels_last)
    together = model.translate(images, work_size=12)
    assert together.is_contiguous(memory_format=torch.channels_last)
    for image, result in zip(images, together, strict=True):
        # The layout in memory differs, and with it the order of sums.
        alone = model.translate(image[None].contiguous(), work_size=12)[0]
        torch.testing.assert_close(result, alone, rtol=0, atol=2e-5)
    assert model.translate(images[:0], work_size=12).shape == (0, 3, 30, 41)


@pytest.mark.parametrize(("given", "channels"), [(1, 3), (3, 1), (1, 1), (5, 5)])
def test_other_channels(given: int, channels: int) -> None:
    model = make_model(replace(SMALL, channels_a=channels, channels_b=channels))
    result = model.translate(picture(40, 30, given), work_size=10)
    assert result.shape == (1, channels, 40, 30)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_pictures_keep_their_precision(model: CycleGAN, dtype: torch.dtype) -> None:
    images = picture(40, 30).to(dtype)
    result = model.translate(images, work_size=10)
    assert result.dtype == dtype
    exact = model.translate(images.float(), work_size=10)
    tolerance = {torch.float16: 1e-3, torch.bfloat16: 4e-3, torch.float64: 2e-5}[dtype]
    torch.testing.assert_close(result.float(), exact, rtol=0, atol=tolerance)


def test_no_halo_beside_an_edge_that_the_translation_lost() -> None:
    """The translation of a black and white edge is flat grey: detail may stay in its margin."""
    large = torch.zeros(3, 80, 80)
    large[:, :, 43:] = 1
    small = module._resized(TensorRows(large), (16, 16))
    flat, result = torch.full_like(small, 0.5), torch.empty_like(large)
    module._restore(flat, small, TensorRows(large), TensorRows(result), 1.0, lambda *_: None)
    assert (result - 0.5).abs().max() <= 0.04 + 1e-6


def test_an_edge_that_the_translation_kept_is_as_sharp_as_the_originals() -> None:
    large = torch.full((3, 80, 80), 0.2)
    large[:, :, 43:] = 0.8
    small = module._resized(TensorRows(large), (16, 16))
    result = torch.empty_like(large)
    module._restore(small, small, TensorRows(large), TensorRows(result), 1.0, lambda *_: None)
    assert (result - large).abs().max() <= 0.03
    module._restore(small, small, TensorRows(large), TensorRows(result), 0.0, lambda *_: None)
    assert (result - large).abs().max() >= 0.2


def test_progress_rises_to_its_end(model: CycleGAN) -> None:
    told: list[float] = []
    images = picture(40, 30, count=3)
    model.translate(images, work_size=10, on_progress=lambda i, n: told.append(i / n))
    assert told == sorted(told)
    assert (len(told), told[-1]) == (6, 1)
    told.clear()
    rows = TensorRows(images[0]), TensorRows(torch.empty_like(images[0]))
    model.translate_rows(*rows, work_size=10, on_progress=lambda i, n: told.append(i / n))
    assert told == sorted(told)
    assert told[-1] == 1


# --- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1, 2.5, True, "big", None])
def test_a_work_size_that_is_none(model: CycleGAN, value) -> None:
    with pytest.raises(ValueError, match="work_size must be a whole number of pixels from 0 up"):
        model.translate(picture(5, 5), work_size=value)
    rows = TensorRows(picture(5, 5)[0])
    with pytest.raises(ValueError, match="work_size must be a whole number of pixels from 0 up"):
        model.translate_rows(rows, rows, work_size=value)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "1", True])
def test_a_detail_that_is_none(model: CycleGAN, value) -> None:
    with pytest.raises(ValueError, match="detail must be a number from 0 to 1"):
        model.translate(picture(5, 5), work_size=4, detail=value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("size", [(40, 40), (7, 7)])
def test_a_picture_that_is_not_finite(model: CycleGAN, value: float, size: tuple[int, int]) -> None:
    images = picture(*size)
    images[0, 1, 3, 4] = value
    with pytest.raises(CycleGANError, match="The picture holds NaN or infinite values"):
        model.translate(images, work_size=10)


def test_what_is_no_batch_of_pictures(model: CycleGAN) -> None:
    with pytest.raises(ValueError, match=r"images must be a float tensor \(B,C,H,W\)"):
        model.translate(torch.rand(3, 40, 40), work_size=10)
    with pytest.raises(ValueError, match="images must have at least one pixel"):
        model.translate(torch.rand(1, 3, 0, 40), work_size=10)


# --- memory -------------------------------------------------------------------------------------

SCRIPT = """
import torch
from pathlib import Path
from cyclegan_core import CycleGAN, ModelConfig

class Wide:
    size = (3, 4096, 6144)
    def read(self, top, bottom):
        return torch.full((3, bottom - top, 6144), 0.5)
class Nowhere:
    rows = 0
    def write(self, top, rows):
        assert top == self.rows
        self.rows += rows.shape[1]

def status(name):
    (line,) = (l for l in open("/proc/self/status") if l.startswith(name + ":"))
    return int(line.split()[1]) * 1024

torch.set_num_threads(1)
model = CycleGAN(ModelConfig(base_channels=4, num_blocks=1))
model.translate(torch.rand(1, 3, 70, 70), work_size=64)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
sink = Nowhere()
model.translate_rows(Wide(), sink, work_size=64)
assert sink.rows == 4096
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts this way")
def test_a_large_picture_is_never_held() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)
    # 302 MB of floats go through; a strip of 2**19 pixels takes about 150 bytes for each of them.
    assert int(done.stdout) < 120 * 2**20
