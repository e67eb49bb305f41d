"""Curves as a picture, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 170, 32, 56
"""Margins in pixels around the axes; the legend is on the right, which grows with its names."""
_MOST_RIGHT = 300
_GRID, _INK = "#dddddd", "#333333"
_NUM_TICKS = 5
_FONT_SIZE = 14
_BEFORE_NAME, _AFTER_NAME = 41, 12
"""Pixels between the axes, a line of the legend's colour, its name, and the border."""
_SCALE = 2
"""Everything is drawn so many times larger and made smaller at the end: smooth lines."""

Points = list[tuple[int, float]]
"""(step, value)."""


@dataclass(frozen=True)
class _Axes:
    """Where steps from 1 to `last` and values from `low` to `high` lie in the picture."""

    size: tuple[int, int]
    last: int
    low: float
    high: float
    margin: int = _RIGHT
    """Pixels on the right of the axes."""

    @property
    def right(self) -> int:
        return self.size[0] - self.margin

    @property
    def bottom(self) -> int:
        return self.size[1] - _BOTTOM

    @property
    def middle(self) -> float:
        """Of the steps, in pixels of the enlarged drawing."""
        return (_LEFT + self.right) / 2 * _SCALE

    def place(self, step: float, value: float) -> tuple[float, float]:
        """Pixels of the enlarged drawing."""
        x = _LEFT + (self.right - _LEFT) * (step - 1) / max(1, self.last - 1)
        y = self.bottom - (self.bottom - _TOP) * (value - self.low) / (self.high - self.low)
        return x * _SCALE, y * _SCALE


def draw_curves(
    curves: Mapping[str, Sequence[float]],
    *,
    size: tuple[int, int] = (960, 540),
    smoothing: float = 0.95,
    title: str = "",
) -> Image.Image:
    """Curves over their index (from 1) in one pair of axes, with a legend.

    Args:
        curves: name -> values; what is not finite is left out of its curve.
        size: width and height in pixels.
        smoothing: share of the running average kept at each value, from 0 (none) below 1; the
            average is free of the bias towards its start.
        title: text above the axes.

    Raises:
        ValueError: no curve has a finite value.
    """
    smooth = {name: _smooth(values, smoothing) for name, values in curves.items()}
    finite = [value for points in smooth.values() for _, value in points]
    if not finite:
        raise ValueError("there is no loss to draw yet; train some steps first.")
    last = max(len(values) for values in curves.values())
    ticks = _ticks(min(finite), max(finite))
    image = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_FONT_SIZE * _SCALE)
    longest = max(draw.textlength(name, font) for name in curves) / _SCALE
    margin = math.ceil(min(longest, size[0] / 3)) + _BEFORE_NAME + _AFTER_NAME
    margin = min(max(_RIGHT, margin), _MOST_RIGHT)
    axes = _Axes(size, last, ticks[0], ticks[-1], margin)
    room = (margin - _BEFORE_NAME - _AFTER_NAME) * _SCALE
    _draw_axes(draw, axes, ticks, font)
    draw.text((axes.middle, 8 * _SCALE), title, _INK, font, anchor="mt")
    for number, (name, points) in enumerate(smooth.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        _draw_curve(draw, [axes.place(*point) for point in points], colour)
        x, y = (axes.right + 14) * _SCALE, (_TOP + 10 + 22 * number) * _SCALE
        draw.line([(x, y), (x + 20 * _SCALE, y)], colour, width=3 * _SCALE)
        label = name
        while draw.textlength(label, font) > room:
            label = f"{label.removesuffix('…')[:-1]}…"
        draw.text((x + 27 * _SCALE, y), label, _INK, font, anchor="lm")
    return image.resize(size, Image.Resampling.BOX)


def _draw_axes(
    draw: ImageDraw.ImageDraw,
    axes: _Axes,
    ticks: Sequence[float],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Draw the axes, a line for each of `ticks`, and the numbers beside them."""
    for value in ticks:
        x, y = axes.place(1, value)
        draw.line([(x, y), (axes.right * _SCALE, y)], _GRID, width=_SCALE)
        draw.text((x - 8 * _SCALE, y), f"{value:g}", _INK, font, anchor="rm")
    x, y = axes.place(1, axes.low)
    draw.line([(x, axes.place(1, axes.high)[1]), (x, y)], _INK, width=_SCALE)
    draw.line([(x, y), (axes.right * _SCALE, y)], _INK, width=_SCALE)
    inside = [round(tick) for tick in _ticks(1, axes.last, least=1) if 1 < tick < axes.last]
    gap = axes.last / (2 * _NUM_TICKS)  # a number closer to the last one would run into it
    for step in sorted({1, axes.last, *(s for s in inside if gap < s < axes.last - gap)}):
        x, y = axes.place(step, axes.low)
        draw.line([(x, y), (x, y + 4 * _SCALE)], _INK, width=_SCALE)
        draw.text((x, y + 9 * _SCALE), f"{step}", _INK, font, anchor="mt")
    draw.text((axes.middle, (axes.size[1] - 8) * _SCALE), "step", _INK, font, anchor="mb")


def _draw_curve(
    draw: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], colour: str
) -> None:
    """Draw a line through `points`, or a dot if there is one only."""
    if len(points) == 1:
        draw.circle(points[0], 4 * _SCALE, colour)
    else:
        draw.line(points, colour, width=2 * _SCALE, joint="curve")


def _ticks(low: float, high: float, *, least: float = 0.0) -> list[float]:
    """Some round numbers, at least `least` apart, that begin below `low` and end above `high`."""
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = max((high - low) / _NUM_TICKS, least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _smooth(values: Sequence[float], share: float) -> Points:
    """(step, running average) for every finite value."""
    average, weight = 0.0, 0.0
    result: Points = []
    for step, value in enumerate(values, start=1):
        if math.isfinite(value):
            average = share * average + (1 - share) * value
            weight = share * weight + (1 - share)
            result.append((step, average / weight))
    return result
