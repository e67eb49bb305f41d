"""Save CycleGAN: a model on a wire becomes a file in models/cyclegan."""

from __future__ import annotations

from pathlib import PurePosixPath

import torch
from comfy_api.latest import io, ui

from ..cyclegan_core import CycleGAN, save_model
from . import host

SUFFIX = ".safetensors"


class SaveCycleGAN(io.ComfyNode):
    """Writes one self-describing file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return io.Schema(
            node_id="CycleGAN_Save",
            display_name="Save CycleGAN",
            category=host.CATEGORY,
            description=(
                "Saves a CycleGAN in models/cyclegan as a .safetensors file that describes itself, "
                "with all its generators. Also converts foreign weight files: load, then save."
            ),
            inputs=[
                host.CycleGANType.Input("model", tooltip="The model to save."),
                io.String.Input(
                    "name",
                    default="my_cyclegan",
                    tooltip="File name inside models/cyclegan, without an ending; may contain "
                    "subfolders.",
                ),
                io.Combo.Input(
                    "precision",
                    options=["fp32", "fp16"],
                    default="fp32",
                    optional=True,
                    tooltip="fp32 keeps the weights exactly; fp16 halves the file.",
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    optional=True,
                    tooltip="Replace a file of that name. When off, an existing file is an error.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="model_name", tooltip="The name to choose in Load CycleGAN."
                )
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, model: CycleGAN, name: str, precision: str = "fp32", overwrite: bool = False
    ) -> io.NodeOutput:
        """Check the name, write the file."""
        relative = _checked(name)
        path = host.save_dir() / relative
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"models/cyclegan/{relative} exists; choose another name or turn overwrite on."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, path, dtype=torch.float16 if precision == "fp16" else None)
        return io.NodeOutput(str(relative), ui=ui.PreviewText(f"Saved models/cyclegan/{relative}"))


def _checked(name: str) -> PurePosixPath:
    """The name as a relative path that stays inside the model folder."""
    relative = PurePosixPath(name.strip().replace("\\", "/"))
    parts = relative.parts
    if not relative.name or relative.is_absolute() or ".." in parts or ":" in name or "\0" in name:
        raise ValueError(
            f"'{name}' is not a file name inside models/cyclegan; use letters, digits, '-' and '_'."
        )
    return relative if relative.suffix == SUFFIX else relative.with_name(relative.name + SUFFIX)
