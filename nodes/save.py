"""Save CycleGAN: a model on a wire becomes a file in models/cyclegan."""

from __future__ import annotations

from pathlib import PurePosixPath

import torch
from comfy_api.latest import io, ui

from ..cyclegan_core import CheckpointError, CycleGAN, save_model
from ..cyclegan_core.files import is_portable
from ..cyclegan_core.runs import STATE_NAME
from . import host

SUFFIX = ".safetensors"
_LONGEST = 1000
"""Letters of a name with its folders."""


class SaveCycleGAN(io.ComfyNode):
    """Writes one self-describing file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return host.schema(
            node_id="CycleGAN_Save",
            display_name="Save CycleGAN",
            search_aliases=["export", "convert checkpoint", "safetensors", "unpaired"],
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
    @host.faults_told()
    def execute(
        cls, model: CycleGAN, name: str, precision: str = "fp32", overwrite: bool = False
    ) -> io.NodeOutput:
        """Check the name, write the file."""
        relative = _checked(name)
        path = host.save_dir() / relative
        dtype = host.chosen({"fp32": None, "fp16": torch.float16}, "precision", precision)
        if path.exists() and not overwrite:
            raise FileExistsError(
                f"models/cyclegan/{relative} exists; choose another name or turn overwrite on."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"The folder of models/cyclegan/{relative} can't be made ({error.strerror}); "
                "choose another name."
            ) from None
        save_model(model, path, dtype=dtype)
        text = f"Saved models/cyclegan/{relative}"
        host.show_text(text)
        return io.NodeOutput(str(relative), ui=ui.PreviewText(text))


def _checked(name: str) -> PurePosixPath:
    """The name as a relative path that stays inside the model folder."""
    relative = PurePosixPath(name.strip().replace("\\", "/"))
    if relative.name and relative.suffix != SUFFIX:
        relative = relative.with_name(relative.name + SUFFIX)
    parts = relative.parts
    is_hidden = any(part.startswith(".") for part in parts)
    # A root is no portable name, nor is what leads up.
    if not parts or is_hidden or not all(map(is_portable, parts)) or len(name) > _LONGEST:
        raise ValueError(
            f"{host.shown(name)} is not a file name inside models/cyclegan; use letters, digits, "
            "'-' and '_'."
        )
    if relative.name.lower() == STATE_NAME:
        raise ValueError(f"{STATE_NAME} is the name of training states; choose another name.")
    return relative
