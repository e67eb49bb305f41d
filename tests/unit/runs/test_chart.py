"""The chart: what is drawn lies where the numbers say, and everything is inside the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from cyclegan_core.runs.chart import draw_curves
from cyclegan_core.training.losses import Losses

FIRST, SECOND = (31, 119, 180), (255, 127, 14)
"""The colours of the first two curves."""
AXES = (72, 32, 790, 484)
"""Left, top, right and bottom of the axes in the standard size."""


def where(chart: Image.Image, colour: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixels inside the axes that have exactly this colour."""
    left, top, right, bottom = AXES
    inside = np.array(chart)[top - 2 : bottom + 3, left + 2 : right - 1]
    y, x = np.nonzero((inside == colour).all(axis=2))
    return x + left + 2, y + top - 2


def test_size_is_the_one_asked_for() -> None:
    assert draw_curves({"loss": [1.0, 2.0]}).size == (960, 540)
    assert draw_curves({"loss": [1.0, 2.0]}, size=(640, 360)).size == (640, 360)


def test_curve_goes_from_corner_to_corner() -> None:
    """0 to 4 over the whole range of the axes: a straight line down to up."""
    left, top, right, bottom = AXES
    x, y = where(draw_curves({"loss": [0.0, 1.0, 2.0, 3.0, 4.0]}, smoothing=0.0), FIRST)
    wanted = bottom - (x - left) * (bottom - top) / (right - left)
    assert x.min() <= left + 4
    assert x.max() >= right - 4
    assert np.abs(y - wanted).max() <= 2  # half the line's width, and rounding


def test_higher_values_are_higher_up() -> None:
    chart = draw_curves({"low": [1.0] * 9, "high": [3.0] * 9})
    assert where(chart, SECOND)[1].max() < where(chart, FIRST)[1].min()


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0], [0.0, 0.0], [math.nan, 2.0, math.inf]])
def test_few_or_equal_values_are_drawn_in_the_middle(values: list[float]) -> None:
    _, top, _, bottom = AXES
    left, right = AXES[0], AXES[2]
    chart = np.array(draw_curves({"loss": values}))[top : bottom + 1, left - 5 : right]
    y, _ = np.nonzero((chart == FIRST).all(axis=2))
    assert y.size > 0
    assert abs(y.mean() - (bottom - top) / 2) < (bottom - top) / 4


def test_values_that_are_not_finite_leave_the_others_where_they_are() -> None:
    gaps = draw_curves({"loss": [1.0, math.nan, 3.0, math.inf, 1.0]}, smoothing=0.0)
    assert where(gaps, FIRST)[0].max() >= AXES[2] - 4
    assert where(gaps, FIRST)[1].min() <= AXES[1] + 2


def test_smoothing_is_the_running_average_without_bias() -> None:
    """A constant stays where it is from its first step on; noise of ±1 around it shrinks."""
    noise = [2.0 + (-1) ** step for step in range(400)]
    frame = {"frame": [0.0, 4.0]}  # the same axes for both charts
    calm = where(draw_curves({"loss": noise, **frame}, smoothing=0.99), FIRST)[1]
    wild = where(draw_curves({"loss": noise, **frame}, smoothing=0.0), FIRST)[1]
    assert np.ptp(wild) > 200  # half of the axes' 452 pixels
    late = where(draw_curves({"loss": noise, **frame}, smoothing=0.99), FIRST)
    assert np.ptp(late[1][late[0] > 400]) < 10
    assert np.ptp(calm) <= np.ptp(wild)
    flat = where(draw_curves({"loss": [2.0] * 400, **frame}, smoothing=0.99), FIRST)[1]
    assert np.ptp(flat) <= 3


def test_every_name_of_the_legend_is_inside() -> None:
    """The margin around the picture stays white, also with names that are too long."""
    curves = {name: [float(n), 1.0] for n, name in enumerate(Losses._fields)}
    chart = np.array(draw_curves({**curves, "a name that no legend could ever hold": [1.0, 2.0]}))
    for edge in (chart[:6], chart[-6:], chart[:, :6], chart[:, -6:]):
        assert (edge == 255).all()


@pytest.mark.parametrize("scale", [1e-12, 1.0, 12345.678, 1e12])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 999, 20_001])
def test_numbers_along_the_axes_do_not_touch(scale: float, steps: int) -> None:
    """In the row of the step numbers there is a gap between any two; all lie inside."""
    values = [scale * (1 + step / steps) for step in range(steps)]
    chart = np.array(draw_curves({"loss": values}).convert("L"))
    row = chart[AXES[3] + 7 : AXES[3] + 22]
    ink = np.flatnonzero((row < 200).any(axis=0))
    numbers = np.split(ink, np.flatnonzero(np.diff(ink) > 12) + 1)
    assert min(2, steps) <= len(numbers) <= min(7, steps)
    assert max(np.ptp(number) for number in numbers) < 10 * len(str(steps))
    assert (chart[:, :4] == 255).all()
    assert (chart[:, -4:] == 255).all()


@pytest.mark.parametrize("curves", [{}, {"loss": []}, {"loss": [math.nan, math.inf]}])
def test_nothing_to_draw_is_said(curves: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="train some steps first"):
        draw_curves(curves)
