"""Plot CycleGAN Losses: the training's curves as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from comfy_api.latest import io

from ..cyclegan_core.runs import draw_curves
from . import host

TOTAL = "loss"
"""The entry of a LOSS_MAP that every plotting node knows; ours hold the single terms too."""


class PlotCycleGANLosses(io.ComfyNode):
    """Takes the LOSS_MAP of any trainer."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="CycleGAN_PlotLosses",
            display_name="Plot CycleGAN Losses",
            category=host.CATEGORY,
            description="Draws the losses of a training, smoothed, with a legend.",
            inputs=[
                io.Custom("LOSS_MAP").Input(
                    "losses", tooltip="From Train CycleGAN on Folders (or another trainer)."
                ),
                io.Float.Input(
                    "smoothing",
                    default=0.95,
                    min=0.0,
                    max=0.999,
                    step=0.001,
                    tooltip="Running average: 0 draws every step, 0.99 the trend.",
                ),
            ],
            outputs=[io.Image.Output(tooltip="The chart, 960×540.")],
        )

    @classmethod
    def execute(cls, losses: Mapping[str, Sequence[float]], smoothing: float) -> io.NodeOutput:
        """The single terms if there are any, else the total."""
        terms = {name: values for name, values in losses.items() if name != TOTAL}
        terms = {name: values for name, values in terms.items() if any(values)}
        chart = draw_curves(terms or {TOTAL: losses.get(TOTAL, [])}, smoothing=smoothing)
        pixels = torch.from_numpy(np.array(chart)).movedim(-1, 0)[None].float().div(255)
        return io.NodeOutput(host.to_bhwc(pixels))
