"""Translation at another size than the picture's own, and the way back to that size.

A network paints strokes of so many pixels, whatever the picture's size: on a photograph of 16
megapixels they are too small to be seen. So the picture is reduced to the size that suits the
network, translated there, enlarged again, and given back the fine detail that the reduction took.

The detail is what the reduced picture lacks: residual = grey(picture) - grey(enlarged reduction).
Added as it is, it paints light and dark lines beside edges that the translation moved or removed.
So it is first multiplied by a gain from the local linear model of the guided filter (He, Sun and
Tang 2013; computed on the small pictures as in He and Sun 2015), translation = gain · picture +
offset in a small window; and then the sum is kept within the range of greys that the translation
has nearby. It is grey, so that edges get no coloured fringes.

Only the small pictures are held; the large ones go through in strips.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from ..config import ModelConfig
from ..pictures.rows import RowSink, RowSource, TensorRows
from ..pixels import non_finite_error, to_channels
from ..progress import OnProgress
from ..validation import WorkSize, check_float, check_work_size
from .translate import Translation, check_pictures, empty_result

_AUTO_FACTOR = 2
"""`auto` is so many times the model's `image_size`: twice the size of the crops it learned from
keeps faces and branches apart, and strokes are still to be seen."""

_AUTO_LEAST = 512
"""But at least so many pixels: with 256 a model of 128 blotted camera photographs of 6 to 8
megapixels and doubled their edges; with 512 shapes stay, and dabs are still to be seen."""

_MAX_ASPECT = 4
"""The longest picture, as a multiple of its short side, that is enlarged to the whole work size."""

_STRIP_PIXELS = 2**19
"""Most pixels of a strip, at about 150 bytes each; a row at least."""

_RADIUS = 2
"""Half the window of the linear model, in pixels of the small picture."""

_EPSILON = 1e-3
"""Variance of greys below which a window says little, and the gain stays 1 (a deviation of 8
levels in 255)."""

_MARGIN = 0.04
"""How far detail may leave the translation's own range of greys (10 levels in 255): texture of a
surface that the translation left flat, but no line that would be seen beside an edge."""


def work_shape(size: tuple[int, int], work_size: WorkSize, config: ModelConfig) -> tuple[int, int]:
    """Height and width at which the network works on a picture of height and width `size`.

    A picture smaller than that is enlarged to at most `_MAX_ASPECT` squares of the work size: the
    short side of a long panorama stays below it, instead of a strip of 50 × 8,000 pixels becoming
    one of 512 × 81,920.

    Raises:
        ValueError: `work_size` is no number of pixels.
    """
    check_work_size(work_size)
    is_auto = work_size == "auto"
    short = max(_AUTO_LEAST, _AUTO_FACTOR * config.image_size) if is_auto else work_size
    if short == 0:
        return size
    height, width = size
    scale = short / min(size)
    if scale > 1:
        scale = min(scale, max(1.0, short * (_MAX_ASPECT / (height * width)) ** 0.5))
    return max(1, round(height * scale)), max(1, round(width * scale))


def translate_batch(
    translation: Translation,
    images: Tensor,
    work_size: WorkSize,
    detail: float,
    on_progress: OnProgress,
) -> Tensor:
    """Translate (B,C,H,W) in [0,1] with the short side at `work_size` -> (B,C',H,W) in [0,1].

    Raises:
        ValueError: `images` are no pictures, or a setting is wrong.
    """
    check_float("detail", detail, low=0, high=1)
    check_pictures(images)
    total = len(images)
    shape = work_shape((images.shape[2], images.shape[3]), work_size, translation.config)
    if total == 0 or shape == images.shape[2:]:
        return translation.batch(images, on_progress)
    with torch.no_grad():
        small = torch.stack([_resized(TensorRows(image), shape) for image in images])
        fakes = translation.batch(small, lambda done, all_: on_progress(done, 2 * all_))
        result = empty_result(images, fakes.shape[1])
        for i in range(total):

            def on_strip(done: int, strips: int, i: int = i) -> None:
                on_progress((total + i) * strips + done, 2 * total * strips)

            rows = TensorRows(images[i]), TensorRows(result[i])
            _restore(fakes[i], small[i], *rows, detail, on_strip)
    return result


def translate_rows(
    translation: Translation,
    source: RowSource,
    sink: RowSink,
    work_size: WorkSize,
    detail: float,
    on_progress: OnProgress,
) -> None:
    """Translate one picture with its short side at `work_size`; it is read in strips, twice.

    Raises:
        ValueError: a setting is wrong.
    """
    check_float("detail", detail, low=0, high=1)
    _, height, width = source.size
    shape = work_shape((height, width), work_size, translation.config)
    if shape == (height, width):
        translation.rows(source, sink, on_progress)
        return
    with torch.no_grad():
        small = _resized(source, shape)
        fake = translation.batch(small[None], lambda done, all_: on_progress(done, 2 * all_))[0]
        _restore(
            fake,
            small,
            source,
            sink,
            detail,
            lambda done, strips: on_progress(strips + done, 2 * strips),
        )


def _resized(source: RowSource, shape: tuple[int, int]) -> Tensor:
    """(C,h,w) in [0,1]: the picture, bicubic over all the pixels that an output pixel covers.

    Raises:
        CycleGANError: the picture is not finite.
    """
    _, height, width = source.size
    if shape[0] > height or shape[1] > width:
        small = _bicubic(source.read(0, height), shape)
    else:
        # A row of the picture counts in four of the result, with the weights by which these four
        # would make it when enlarging; a row of the result is the mean of all that count in it.
        where, weights = _taps(height, shape[0])
        sums = weights.new_zeros(shape[0]).index_add_(0, where.flatten(), weights.flatten())
        shares = weights / sums[where]
        first = source.read(0, 1)
        total = torch.zeros((len(first), *shape), dtype=first.dtype)
        for top, bottom in _strips(height, width):
            rows = source.read(top, bottom)
            # On the processor sums have an order, here the picture's, whatever the strips are.
            narrow = _bicubic(rows, (bottom - top, shape[1])).cpu()
            parts = narrow[:, :, None] * shares[:, top:bottom].T[..., None].to(narrow)
            total.index_add_(1, where[:, top:bottom].T.flatten(), parts.flatten(1, 2))
        small = total.to(first.device)
    if not torch.isfinite(small).all():
        raise non_finite_error(small.dtype, is_picture=True)
    return small.clamp_(0, 1)


def _restore(
    fake: Tensor,
    small: Tensor,
    source: RowSource,
    sink: RowSink,
    detail: float,
    on_progress: OnProgress,
) -> None:
    """Bring a small picture's translation to the size of the picture, with its detail.

    Args:
        fake: (C',h,w) in [0,1], the translation.
        small: (C,h,w) in [0,1], what it is the translation of.
        source: the picture itself.
        sink: takes (C',H,W) in [0,1].
        detail: from 0, the translation enlarged, to 1.
        on_progress: called after each strip.
    """
    _, height, width = source.size
    if fake.shape[1] > height or fake.shape[2] > width:  # nothing was lost that could be added
        sink.write(0, _bicubic(fake, (height, width)).clamp_(0, 1))
        on_progress(1, 1)
        return

    # At the small size: the guide, how far the translation follows it, and its range nearby.
    maps = fake
    if detail > 0:
        guide, grey = _grey(small), _grey(fake)
        centre, mean = _box(guide), _box(grey)
        variance = _box(guide * guide) - centre * centre
        covariance = _box(guide * grey) - centre * mean
        gain = ((covariance + _EPSILON) / (variance + _EPSILON)).clamp_(0, 1)
        window = 2 * _RADIUS + 1
        high = F.max_pool2d(grey[None], window, 1, _RADIUS)[0] + _MARGIN
        low = -F.max_pool2d(-grey[None], window, 1, _RADIUS)[0] - _MARGIN
        maps = torch.cat([fake, guide, _box(gain), low, high])

    # Strip by strip: all of them enlarged, first down and then across, and put together.
    where, weights = _taps(height, fake.shape[1])
    weights /= weights.sum(0)
    where, weights = where.to(maps.device), weights.to(maps)
    strips = list(_strips(height, width))
    for number, (top, bottom) in enumerate(strips):
        tall = maps.new_zeros((len(maps), bottom - top, maps.shape[2]))
        for index, weight in zip(where[:, top:bottom], weights[:, top:bottom], strict=True):
            tall += maps[:, index] * weight[:, None]
        wide = _bicubic(tall, (bottom - top, width))
        result = wide[: len(fake)]
        if detail > 0:
            guide, gain, low, high = wide[len(fake) :].split(1)
            grey = _grey(result)
            added = gain * (_grey(source.read(top, bottom).to(guide)) - guide)
            # Where enlarging has overshot the range itself, detail doesn't have to mend it.
            added = added.minimum((high - grey).clamp_(min=0)).maximum((low - grey).clamp_(max=0))
            result = result + detail * added
        sink.write(top, result.clamp_(0, 1))
        on_progress(number + 1, len(strips))


def _strips(height: int, width: int) -> list[tuple[int, int]]:
    """The first and the last row (exclusive) of each strip, from the top down."""
    rows = max(1, _STRIP_PIXELS // width)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def _taps(large: int, small: int) -> tuple[Tensor, Tensor]:
    """Which four of `small` rows each of `large` rows lies between, and their bicubic weights.

    Returns:
        (4,large) indices and (4,large) float64 weights before they are normalised: those of rows
        outside the picture are 0.
    """
    position = (torch.arange(large, dtype=torch.float64) + 0.5) * (small / large) - 0.5
    where = position.floor().long() + torch.arange(-1, 3)[:, None]
    x = (position - where).abs()
    # Keys' cubic convolution with a = -0.5, as Pillow and torch's antialiased bicubic have it.
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
    weights = torch.where((where >= 0) & (where < small), weights, 0.0)
    return where.clamp(0, small - 1), weights


def _bicubic(pixels: Tensor, shape: tuple[int, int]) -> Tensor:
    """(C,H,W) -> (C,h,w); a side that stays as it is, stays exactly."""
    return F.interpolate(pixels[None], shape, mode="bicubic", antialias=True)[0]


def _grey(pixels: Tensor) -> Tensor:
    """(C,H,W) -> (1,H,W): the luma of RGB, the mean of what is neither RGB nor grey."""
    if len(pixels) in (1, 3):
        return to_channels(pixels[None], 1)[0]
    return pixels.mean(0, keepdim=True)


def _box(pixels: Tensor) -> Tensor:
    """(C,H,W) -> (C,H,W): the mean over the part of each window that lies in the picture."""
    window = 2 * _RADIUS + 1
    return F.avg_pool2d(pixels[None], window, 1, _RADIUS, count_include_pad=False)[0]
