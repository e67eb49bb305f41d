"""Cycle Reconstruct: there and back again, and what was lost on the way."""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..cyclegan_core import CycleGAN
from . import host


class ReconstructCycleGAN(io.ComfyNode):
    """The cycle of the paper's title, as a picture and as a number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return host.schema(
            node_id="CycleGAN_Reconstruct",
            display_name="Cycle Reconstruct",
            search_aliases=["round trip", "cycle consistency", "there and back", "unpaired"],
            description=(
                "Translates pictures to the other domain and back again, and measures what was "
                "lost. Needs a model with both directions."
            ),
            inputs=[
                host.CycleGANType.Input(
                    "model", tooltip="From Load CycleGAN; it must hold both directions."
                ),
                io.Image.Input("image", tooltip="Pictures of the source domain, RGB or RGBA."),
                host.direction_input(),
                host.memory_input(),
                host.precision_input(),
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
                    tooltip="|reconstructed − input| per pixel and channel; black is perfect, "
                    "nearly black is good.",
                ),
                io.Float.Output(
                    "cycle_error",
                    display_name="cycle error",
                    tooltip="The mean of the error map: 0 is perfect, below 0.05 is good.",
                ),
            ],
        )

    @classmethod
    @host.faults_told()
    def execute(
        cls,
        model: CycleGAN,
        image: Tensor,
        direction: str = host.AUTO,
        memory: str = "auto",
        precision: str = "auto",
    ) -> io.NodeOutput:
        """Convert, go round the cycle, convert back."""
        way, how, dtype = host.how_to_translate(model, direction, memory, precision)
        there = host.describe_direction(model, way)
        host.show_text(f"{there} → {model.config.domains(way)[0]}")
        pixels, alpha = host.to_bchw(image)
        with host.lease(model, image.shape[:3], dtype, how):
            result = model.reconstruct(
                pixels,
                way,
                memory=how,
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
