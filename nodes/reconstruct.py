"""Cycle Reconstruct: there and back again, and what was lost on the way."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..cyclegan_core import CycleGAN
from . import host
from .translate import direction_input


class ReconstructCycleGAN(io.ComfyNode):
    """The cycle of the paper's title, as a picture and as a number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="CycleGAN_Reconstruct",
            display_name="Cycle Reconstruct",
            category=host.CATEGORY,
            description=(
                "Translates pictures to the other domain and back again, and measures what was "
                "lost. Needs a model with both directions."
            ),
            inputs=[
                host.CycleGANType.Input(
                    "model", tooltip="From Load CycleGAN; it must hold both directions."
                ),
                io.Image.Input("image", tooltip="Pictures of the source domain, RGB or RGBA."),
                direction_input(),
            ],
            outputs=[
                io.Image.Output("translated", display_name="translated", tooltip="Half way."),
                io.Image.Output(
                    "reconstructed",
                    display_name="reconstructed",
                    tooltip="Back again; ideally the input.",
                ),
                io.Image.Output(
                    "error_map",
                    display_name="error map",
                    tooltip="|reconstructed − input| per pixel and channel; black is perfect.",
                ),
                io.Float.Output(
                    "cycle_error",
                    display_name="cycle error",
                    tooltip="The mean of the error map: 0 is perfect, below 0.05 is good.",
                ),
            ],
        )

    @classmethod
    def execute(cls, model: CycleGAN, image: Tensor, direction: str) -> io.NodeOutput:
        """Convert, go round the cycle, convert back."""
        pixels, alpha = host.to_bchw(image)
        dtype = host.choose_dtype("auto")
        with host.lease(model, image, dtype):
            result = model.reconstruct(
                pixels,
                host.chosen(host.DIRECTIONS, "direction", direction),
                dtype=dtype,
                on_progress=host.picture_progress(2 * len(pixels)),
                limits=host.limits(),
            )
        return io.NodeOutput(
            host.to_bhwc(result.fake, alpha),
            host.to_bhwc(result.rec, alpha),
            host.to_bhwc(result.error),
            float(result.error.mean()),
        )
