"""Curves as a picture, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont

_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 160, 24, 48
_GRID, _INK = "#dddddd", "#333333"
_NUM_TICKS = 5


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
    finite = [value for values in smooth.values() for _, value in values]
    if not finite:
        raise ValueError("there is no loss to draw yet; train some steps first.")
    low, high = min(finite), max(finite)
    if low == high:  # a flat line goes through the middle
        low, high = low - 0.5, high + 0.5
    last = max(len(values) for values in curves.values())
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13)
    right, bottom = size[0] - _RIGHT, size[1] - _BOTTOM

    def place(step: float, value: float) -> tuple[float, float]:
        x = _LEFT + (right - _LEFT) * (step - 1) / max(1, last - 1)
        return x, bottom - (bottom - _TOP) * (value - low) / (high - low)

    for tick in range(_NUM_TICKS + 1):
        value = low + (high - low) * tick / _NUM_TICKS
        step = round(1 + (last - 1) * tick / _NUM_TICKS)
        (x, _), (_, y) = place(step, low), place(1, value)
        draw.line([(_LEFT, y), (right, y)], fill=_GRID)
        draw.text((_LEFT - 8, y), f"{value:.3g}", fill=_INK, font=font, anchor="rm")
        draw.text((x, bottom + 8), f"{step}", fill=_INK, font=font, anchor="mt")
    draw.text(((_LEFT + right) / 2, size[1] - 6), "step", fill=_INK, font=font, anchor="mb")
    draw.text(((_LEFT + right) / 2, 4), title, fill=_INK, font=font, anchor="mt")
    for number, (name, values) in enumerate(smooth.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [place(step, value) for step, value in values]
        if len(points) == 1:
            points *= 2
        if points:
            draw.line(points, fill=colour, width=2, joint="curve")
        y = _TOP + 20 * number
        draw.line([(right + 12, y + 8), (right + 32, y + 8)], fill=colour, width=3)
        draw.text((right + 38, y + 8), name, fill=_INK, font=font, anchor="lm")
    return image


def _smooth(values: Sequence[float], share: float) -> list[tuple[int, float]]:
    """(step, running average) for every finite value."""
    average, weight = 0.0, 0.0
    result: list[tuple[int, float]] = []
    for step, value in enumerate(values, start=1):
        if math.isfinite(value):
            average = share * average + (1 - share) * value
            weight = share * weight + (1 - share)
            result.append((step, average / weight))
    return result
