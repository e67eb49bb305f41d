"""Plot CycleGAN Losses: the training's curves as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from comfy_api.latest import io

from ...cyclegan_core.runs import draw_curves
from .. import host

TOTAL = "loss"
"""The entry of a LOSS_MAP that every plotting node knows; ours hold the single terms too."""


PLAIN = {
    "gan_ab": "A to B judged fake",
    "gan_ba": "B to A judged fake",
    "cycle_a": "A and back differs",
    "cycle_b": "B and back differs",
    "identity_a": "needless change of A",
    "identity_b": "needless change of B",
    "equivariance_ab": "A to B hangs on a grid",
    "equivariance_ba": "B to A hangs on a grid",
    "l1_a": "to A differs from partner",
    "l1_b": "to B differs from partner",
    "features_a": "to A looks unlike partner",
    "features_b": "to B looks unlike partner",
    "disc_a": "mistakes of A's critic",
    "disc_b": "mistakes of B's critic",
}
"""What the terms of a training mean, in the words of a legend, whose font knows no arrows."""

_KINDS = {
    "gan": "judged fake",
    "cycle": "way back differs",
    "identity": "needless change",
    "equivariance": "hangs on a grid",
    "l1": "differs from partner",
    "disc": "critics' mistakes",
}


def kinds(terms: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Sums of the terms of both directions, by what they mean; those that are 0 are left out."""
    sums: dict[str, float] = {}
    for name, value in terms:
        kind = name.partition("_")[0]
        label = _KINDS.get(kind, kind)
        sums[label] = sums.get(label, 0.0) + value
    return {label: value for label, value in sums.items() if value}


class PlotCycleGANLosses(io.ComfyNode):
    """Takes the LOSS_MAP of any trainer."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return host.schema(
            node_id="CycleGAN_PlotLosses",
            display_name="Plot CycleGAN Losses",
            search_aliases=["loss graph", "chart", "curves"],
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
        named = {PLAIN.get(name, name): values for name, values in terms.items()}
        chart = draw_curves(named or {TOTAL: losses.get(TOTAL, [])}, smoothing=smoothing)
        pixels = torch.from_numpy(np.array(chart)).movedim(-1, 0)[None].float().div(255)
        return io.NodeOutput(host.to_bhwc(pixels))
