"""Translate (CycleGAN): pictures from one domain to the other."""

from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor

from ..cyclegan_core import CycleGAN
from ..cyclegan_core.translation import work_shape
from . import host


class TranslateCycleGAN(io.ComfyNode):
    """IMAGE in, IMAGE of the same size out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return host.schema(
            node_id="CycleGAN_Translate",
            display_name="Translate (CycleGAN)",
            search_aliases=[
                "unpaired",
                "style transfer",
                "domain transfer",
                "image to image",
                "img2img",
                "pix2pix",
                "monet",
                "horse2zebra",
                "photo to painting",
                "summer to winter",
            ],
            description=(
                "Translates pictures from one domain to the other. Any size from 1×1 up comes out "
                "at its own size; transparency is kept; a batch goes through picture by picture."
            ),
            inputs=[
                host.CycleGANType.Input("model", tooltip="From Load CycleGAN."),
                io.Image.Input("image", tooltip="Pictures of the source domain, RGB or RGBA."),
                host.direction_input(),
                host.strength_input(
                    "Blends the translation over the original: 0 is the original, "
                    "1 the translation."
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where to translate: white is translated, black stays. One for all "
                    "frames or one per frame; any size.",
                ),
                host.work_size_input(
                    "How large the picture is while it is painted: the smaller, the broader the "
                    "strokes; the result keeps the picture's size. Pixels of the short side, such "
                    "as 300. 0: the picture's own size. -1: what suits the model."
                ),
                host.detail_input(),
                host.memory_input(),
                host.precision_input(),
                host.advanced(
                    io.Combo.Input(
                        "statistics",
                        options=list(host.STATISTICS),
                        default="frame",
                        optional=True,
                        tooltip="For the frames of a film, which flicker where each is taken for "
                        "itself. frame: each for itself. shared: all with the means of the whole "
                        "batch, so that what stands still stays still. smoothed: with an average "
                        "of the frames so far, for several scenes.",
                    )
                ),
                host.smoothing_frames_input(),
            ],
            outputs=[io.Image.Output(tooltip="The pictures in the other domain's style.")],
        )

    @classmethod
    @host.faults_told()
    def execute(
        cls,
        model: CycleGAN,
        image: Tensor,
        direction: str = host.AUTO,
        strength: float = 1.0,
        mask: Tensor | None = None,
        work_size: int = 0,
        detail: float = 1.0,
        memory: str = "auto",
        precision: str = "auto",
        statistics: str = "frame",
        smoothing_frames: float = 12.0,
    ) -> io.NodeOutput:
        """Convert, translate, blend, convert back."""
        way, how, dtype = host.how_to_translate(model, direction, memory, precision)
        host.show_text(host.describe_direction(model, way))
        if strength == 0:
            return io.NodeOutput(image)
        pixels, alpha = host.to_bchw(image)
        size = host.work_size_of(work_size)
        shape = work_shape((pixels.shape[2], pixels.shape[3]), size, model.config)
        # What goes through the network is what memory is needed for.
        with host.lease(model, (len(pixels), *shape), dtype, how):
            result = model.translate(
                pixels,
                way,
                memory=how,
                dtype=dtype,
                on_progress=host.picture_progress(len(pixels)),
                limits=host.limits(),
                work_size=size,
                detail=detail,
                statistics=host.chosen(host.STATISTICS, "statistics", statistics),
                smoothing_frames=smoothing_frames,
            )
        amount = strength if mask is None else strength * host.mask_to_b1hw(mask, pixels)
        if mask is not None or strength < 1:
            # Into the result, where a grey one is not blended with colours: a video is not copied.
            blended = result if result.shape == pixels.shape else None
            result = torch.lerp(pixels, result, amount, out=blended)
        return io.NodeOutput(host.to_bhwc(result, alpha))
