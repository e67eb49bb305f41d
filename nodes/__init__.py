"""The ComfyUI nodes: schemas, conversion and the loan of the GPU; all work is done in the core."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host
from .download import DownloadCycleGAN
from .examples import CycleGANExamplePictures
from .load import LoadCycleGAN
from .reconstruct import ReconstructCycleGAN
from .save import SaveCycleGAN
from .training import CycleGANTrainSettings, DistillCycleGAN, PlotCycleGANLosses, TrainCycleGAN
from .translate import TranslateCycleGAN
from .translate_video import TranslateVideoCycleGAN


class CycleGANExtension(ComfyExtension):
    """The list of node classes; their order is the order of the menu."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of this pack."""
        return [
            LoadCycleGAN,
            DownloadCycleGAN,
            TranslateCycleGAN,
            TranslateVideoCycleGAN,
            ReconstructCycleGAN,
            TrainCycleGAN,
            CycleGANTrainSettings,
            PlotCycleGANLosses,
            DistillCycleGAN,
            SaveCycleGAN,
            CycleGANExamplePictures,
        ]


async def comfy_entrypoint() -> CycleGANExtension:
    """What ComfyUI calls once at start-up."""
    host.register_model_folder()
    host.offer_examples()
    return CycleGANExtension()
