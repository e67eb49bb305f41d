"""Load CycleGAN: a weight file of any known layout becomes a model on a wire."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from comfy_api.latest import io

from ..cyclegan_core import CycleGAN, Direction
from ..cyclegan_core.checkpoint import read_checkpoint
from ..cyclegan_core.hub import bundled_license
from . import host

NONE = "none"


class LoadCycleGAN(io.ComfyNode):
    """A file of models/cyclegan, or a bundled one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Re-run whenever the page asks for the nodes, so the R key finds new files."""
        names = host.model_names()
        return host.schema(
            node_id="CycleGAN_Load",
            display_name="Load CycleGAN",
            search_aliases=[
                "unpaired",
                "style transfer",
                "domain transfer",
                "image to image",
                "monet",
                "horse2zebra",
                "checkpoint",
                "generator",
            ],
            description=(
                "Loads a CycleGAN from models/cyclegan. Recognises our own files and those of the "
                "original implementation and its many descendants by their contents, so any "
                ".safetensors, .pth or .pt generator can be dropped into the folder."
            ),
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=names,
                    default=host.DEFAULT_MODEL if host.DEFAULT_MODEL in names else None,
                    tooltip="A weight file in models/cyclegan (press R after adding one), or a "
                    "bundled model.",
                ),
                host.advanced(
                    io.Combo.Input(
                        "direction",
                        options=list(host.DIRECTIONS),
                        default="A→B",
                        display_name="fallback direction",
                        tooltip="Only for a file with a single generator that doesn't say which "
                        "way it translates; others ignore it. The direction of a picture is "
                        "chosen on Translate.",
                    )
                ),
                io.Combo.Input(
                    "model_name_b_to_a",
                    options=[NONE, *names],
                    default=NONE,
                    optional=True,
                    tooltip="A second file with the generator for the way back, for models "
                    "that come as two files. Needed for Cycle Reconstruct.",
                ),
            ],
            outputs=[
                host.CycleGANType.Output(
                    display_name="CYCLEGAN", tooltip="The model, for Translate and Reconstruct."
                ),
                io.String.Output(
                    display_name="info", tooltip="What the file holds: layout, network, directions."
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        model_name: str | None,
        model_name_b_to_a: str | None = NONE,
    ) -> bool:
        """Leave it to `execute` to say what to do about a missing file.

        The host does not check the choices of inputs that are named here, and its pages show the
        sentences of errors better than those of this function.
        """
        return True

    @classmethod
    def fingerprint_inputs(
        cls, model_name: str | None, model_name_b_to_a: str | None = NONE, **_: object
    ) -> tuple[str, str]:
        """A replaced file is another model. Strings, because the host stores this as JSON."""
        return str(_stamp(model_name)), str(_stamp(model_name_b_to_a))

    @classmethod
    @host.faults_told()
    def execute(
        cls, model_name: str, direction: str = "A→B", model_name_b_to_a: str = NONE
    ) -> io.NodeOutput:
        """Load, or take the model that is loaded already."""
        stamp, stamp_back = _stamp(model_name), _stamp(model_name_b_to_a)
        if stamp is None:
            raise FileNotFoundError(_not_found(model_name))
        if stamp_back is None and model_name_b_to_a != NONE:
            raise FileNotFoundError(_not_found(model_name_b_to_a))
        chosen = host.chosen(host.DIRECTIONS, "direction", direction)
        model, layout = _load(stamp, chosen, stamp_back)
        host.show_text(_directions(model) + _copies(model))
        return io.NodeOutput(model, _describe(stamp[0], layout, model))


Stamp = tuple[Path, int, int]
"""A file as it is now: path, modification time in nanoseconds, size in bytes."""


def stamp_of(path: Path) -> Stamp:
    """The file's stamp now."""
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size


def load_file(path: Path) -> CycleGAN:
    """A file of ours, or the model that was loaded from it before."""
    return _load(stamp_of(path), "a_to_b", None)[0]


def _stamp(name: str | None) -> Stamp | None:
    path = None if name in (None, NONE) else host.model_path(name)
    return None if path is None else stamp_of(path)


@lru_cache(maxsize=4)
def _load(stamp: Stamp, direction: Direction, stamp_back: Stamp | None) -> tuple[CycleGAN, str]:
    """A model and the layout of its file; the last few are kept, and a changed file is another."""
    path_b_to_a = stamp_back[0] if stamp_back else None
    checkpoint = read_checkpoint(stamp[0], direction=direction, path_b_to_a=path_b_to_a)
    model = CycleGAN.from_checkpoint(checkpoint)
    if license := checkpoint.license or bundled_license(stamp[0]):
        model.training_info.setdefault("license", license)  # for what derives from it
    return model, checkpoint.layout


def _not_found(name: str) -> str:
    return (
        f"There is no model {host.shown(str(name))} in models/cyclegan; put the file there and "
        "press R, or choose another one."
    )


def _directions(model: CycleGAN) -> str:
    return ", ".join(host.describe_direction(model, direction) for direction in model.directions)


def _copies(model: CycleGAN) -> str:
    """What to know of a model whose training was stopped in its warm-up, in brackets."""
    steps, warmup = (model.training_info.get(name) for name in ("steps", "warmup_steps"))
    if not isinstance(steps, int) or not isinstance(warmup, int) or steps >= warmup:
        return ""
    return (
        f" (it has only learned to copy so far: step {steps:,}, and the style begins after step "
        f"{warmup:,})"
    )


def _describe(path: Path, layout: str, model: CycleGAN) -> str:
    config = model.config
    network = (
        f"resnet, {config.num_blocks} blocks"
        if config.generator == "resnet"
        else f"U-Net, {config.num_downs} levels"
    )
    norm = f"{'affine ' if config.norm_affine else ''}{config.norm} norm"
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    return (
        f"{path.name} ({layout} layout)\n"
        f"translates {_directions(model)}{_copies(model)}\n"
        f"{network}, {config.base_channels} channels, {norm}, {millions:.1f} M parameters\n"
        f"trained at {config.image_size} pixels"
    )
