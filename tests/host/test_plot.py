"""Plot CycleGAN Losses takes the losses of any trainer."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from .client import Client, Graph
from .graphs import node, save_image
from .samples import assert_one_sentence

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)
"""The colours of the first two curves."""


def plot(losses: dict[str, list[float]], smoothing: float = 0.0) -> Graph:
    return {
        "losses": node("HostTest_Losses", text=json.dumps(losses)),
        "plot": node("CycleGAN_PlotLosses", losses=["losses", 0], smoothing=smoothing),
        "save": save_image("plot"),
    }


def count(chart: Image.Image, colour: tuple[int, int, int]) -> int:
    """Pixels of exactly this colour."""
    return int((np.array(chart.convert("RGB")) == colour).all(axis=2).sum())


def test_losses_of_another_trainer(client: Client) -> None:
    """They have nothing but a total."""
    (chart,) = client.save_images(plot({"loss": [3.0, 2.0, 1.5, 1.0]}))
    assert chart.size == (960, 540)
    assert count(chart, BLUE) > 500
    assert count(chart, ORANGE) == 0


def test_single_terms_go_before_their_total_and_unused_ones_are_left_out(client: Client) -> None:
    terms = {"loss": [3.0, 2.0], "unused": [0.0, 0.0], "gan": [1.0, 2.0], "cycle": [2.0, 0.5]}
    (chart,) = client.save_images(plot(terms))
    assert count(chart, BLUE) > 500
    assert count(chart, ORANGE) > 500
    green = (44, 160, 44)
    assert count(chart, green) == 0


def test_smoothing_calms_the_curve(client: Client) -> None:
    noise = [1.0 + (-1) ** step for step in range(300)]
    wild = client.save_images(plot({"loss": noise}))[0]
    calm = client.save_images(plot({"loss": noise}, smoothing=0.95))[0]
    assert count(wild, BLUE) > 5 * count(calm, BLUE)


@pytest.mark.parametrize("losses", [{"loss": []}, {}, {"gan": [], "cycle": []}])
def test_nothing_to_draw(client: Client, losses: dict[str, list[float]]) -> None:
    run = client.run_prompt(plot(losses))
    assert run.error is not None, f"ended with {run.ending}"
    assert run.error["node_id"] == "plot"
    assert_one_sentence(run.error["exception_message"])
    assert "train some steps first" in run.error["exception_message"]
