"""Distill CycleGAN: a small fast student of a model, for a folder of pictures, in the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io

from ...cyclegan_core import CycleGAN, CycleGANError, read_picture
from ...cyclegan_core.config import DistillConfig
from ...cyclegan_core.data import folders_digest
from ...cyclegan_core.device import NAMES
from ...cyclegan_core.distillation import WORK_SUFFIX, distill
from ...cyclegan_core.runs import Pace
from ...cyclegan_core.training import StepReport
from .. import host
from ..load import load_file

OnProgress = Callable[[int, int], None]

STUDENT_NAME = "student.safetensors"

_COMPARED_SIDE = 512
"""Pixels each way of the largest picture that the teacher translates here: the one it is timed
on."""


class DistillCycleGAN(io.ComfyNode):
    """Watch the student learn, stop it, queue it again to go on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Re-run whenever the page asks for the nodes, so the R key finds new folders."""
        return host.schema(
            node_id="CycleGAN_Distill",
            display_name="Distill CycleGAN",
            search_aliases=["student", "teacher", "faster model", "smaller model", "compress"],
            description=(
                "Makes a small fast student of a model: it learns what its teacher does to the "
                "pictures of a folder. The preview shows pictures, the student's translations and "
                "the teacher's. Cancel keeps everything learned so far; queue again to go on. "
                "Everything lies in output/cyclegan, and the student appears in Load CycleGAN."
            ),
            inputs=_inputs(),
            outputs=[
                host.CycleGANType.Output(
                    display_name="CYCLEGAN", tooltip="The student, for Translate and Save."
                ),
                io.Image.Output(
                    display_name="samples",
                    tooltip="Pictures, the student's translations and the teacher's.",
                ),
                io.String.Output(
                    display_name="summary",
                    tooltip="How close the student is to its teacher on pictures held out, and how "
                    "much smaller and faster.",
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, folder: str | None, run_name: str | None) -> bool:
        """Leave it to `execute` to say what is wrong with the folder and the name, as Train does.

        The host does not check the choices of inputs that are named here.
        """
        return True

    @classmethod
    def fingerprint_inputs(cls, folder: str | None, **_: object) -> str | float:
        """Changed pictures are another folder."""
        if folder is None:
            return math.nan  # linked, so unknown yet: like nothing before, not even itself
        pictures = host.picture_folder(folder)
        return folders_digest(pictures, pictures)

    @classmethod
    def execute(
        cls,
        model: CycleGAN,
        folder: str,
        run_name: str,
        steps: int,
        direction: str = host.AUTO,
        license: str = "",
        **settings: Any,  # noqa: ANN401 - one per widget
    ) -> io.NodeOutput:
        """Lend the teacher the device, distil in the run's folder, convert the results.

        `settings` are those of `DistillConfig`, by their names.
        """
        with host.faults_told():
            way = host.direction_of(model, direction)
            path, pictures = host.run_folder(run_name), host.picture_folder(folder)
            config = DistillConfig(max_steps=steps, **settings)
            out = path / STUDENT_NAME
            samples = out.with_suffix(WORK_SUFFIX) / "training" / "samples"
            tell = _phase("The student learns: step", lambda step: _newest(samples, step, config))

            def on_step(report: StepReport) -> None:
                tell(report.step, report.num_steps)

            _make(path)
            try:
                with _lent(model) as (teacher, dtype):
                    found = distill(
                        teacher,
                        pictures,
                        out,
                        direction=way,
                        config=config,
                        teacher_name=host.describe_direction(model, way),
                        license=license.strip() or str(model.training_info.get("license", "")),
                        precision=NAMES[dtype],
                        on_pair=_phase("The teacher translates: crop"),
                        on_step=on_step,
                        on_compare=_phase("Both are compared: picture"),
                    )
            except host.Cancelled:
                host.show_text(
                    f"Cancelled: everything is kept in {host.shortened(str(path))}; run again to "
                    "go on."
                )
                raise
            finally:
                with suppress(OSError):
                    path.rmdir()  # if nothing was written
            student, grid = load_file(out), read_picture(max(samples.glob("*.jpg"))).pixels
        place = (
            f"Saved in {host.shortened(str(path))}; Load CycleGAN (press R) has the student as "
            f"{path.name}/{STUDENT_NAME}."
        )
        host.show_text(f"{found}\n{place}")
        # Without a picture for the page, which would draw it beside the last preview.
        return io.NodeOutput(student, host.to_bhwc(grid[None]), f"{found}\n\n{place}")


def _inputs() -> list[io.Input]:
    """All widgets, in the order of the page; the folders are listed anew at each call."""
    folders = host.picture_folders() or [host.NO_FOLDERS]
    preset = DistillConfig()
    return [
        host.CycleGANType.Input(
            "model", tooltip="The teacher: any model of Load CycleGAN. It stays as it is."
        ),
        io.Combo.Input(
            "folder",
            options=folders,
            default=host.default_folders(folders)[0],
            tooltip="Folder under ComfyUI's input or output with pictures of the kind that will be "
            "translated, some hundred (press R after adding one).",
        ),
        io.String.Input(
            "run_name",
            default="my_student",
            tooltip="Name of the student; its files go to a folder of this name in "
            "output/cyclegan.",
        ),
        _number(
            "base_channels",
            preset.base_channels,
            (1, 512),
            "Channels of the student's first "
            "layer: 16 is the fastest, 32 the closest; at most the teacher's.",
        ),
        _number(
            "num_blocks",
            preset.num_blocks,
            (0, 64),
            "Residual blocks of the student; at most the teacher's.",
        ),
        _number(
            "num_pairs",
            preset.num_pairs,
            (2, 100_000),
            "Crops of the pictures that the teacher translates; made once and kept.",
        ),
        _number("steps", preset.max_steps, (1, 1_000_000), "Length of the whole training."),
        host.direction_input(),
        *map(host.advanced, _advanced_inputs(preset)),
    ]


def _advanced_inputs(preset: DistillConfig) -> list[io.WidgetInput]:
    """Widgets of old workflows keep their places: new ones come last."""
    return [
        _number(
            "crop_size",
            preset.crop_size,
            (8, 1024),
            "Side of the crops in pixels; teacher and student see the same crop.",
            optional=True,
        ),
        _number(
            "load_size",
            preset.load_size,
            (8, 4096),
            "The short side that pictures are brought to; crops are squares of crop_size up to all "
            "of it, made smaller to crop_size.",
            optional=True,
        ),
        _number(
            "views",
            preset.views,
            (1, 32),
            "Shifted and mirrored views of a crop whose median is learned: 16 for a teacher with "
            "flecks or a lattice (so many times as long to translate), 1 for a clean one.",
            optional=True,
        ),
        _number(
            "num_held_out",
            preset.num_held_out,
            (1, 1000),
            "Pictures that are not learned from, to compare student and teacher on.",
            optional=True,
        ),
        _number(
            "seed",
            preset.seed,
            (0, 0xFFFFFFFF),
            "Decides the crops, fresh weights and the order of the pairs; fixed for a run.",
            optional=True,
        ),
        io.String.Input(
            "license",
            default="",
            optional=True,
            tooltip="Licence of the teacher's weights, for the student's file; empty: what the "
            "teacher's file says.",
        ),
        io.Float.Input(
            "lambda_features",
            default=preset.lambda_features,
            min=0.0,
            max=10.0,
            step=0.01,
            optional=True,
            tooltip="Weight of the distance to the teacher's output in ImageNet's features, beside "
            "that of the pixels, which has 1: keeps detail. 0: pixels alone, which a teacher of "
            "other than 1 or 3 channels needs.",
        ),
    ]


def _number(
    name: str, default: int, limits: tuple[int, int], tooltip: str, *, optional: bool = False
) -> io.Int.Input:
    """A widget for a whole number."""
    return io.Int.Input(
        name,
        default=default,
        min=limits[0],
        max=limits[1],
        optional=optional,
        control_after_generate=False,  # else the page draws a new seed each time: no going on
        tooltip=tooltip,
    )


@contextmanager
def _lent(model: CycleGAN) -> Generator[tuple[CycleGAN, torch.dtype]]:
    """The teacher on the host's device, with all other models evicted, and the number format."""
    dtype = host.training_dtype()
    largest = (1, _COMPARED_SIDE, _COMPARED_SIDE)
    with host.training_device(), host.lease(model, largest, dtype) as teacher:
        yield teacher, dtype


def _make(path: Path) -> None:
    """The run's folder.

    Raises:
        CycleGANError: it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CycleGANError(
            f"The run folder {path} can't be used ({error.strerror}); name another one."
        ) from None


def _newest(samples: Path, step: int, config: DistillConfig) -> Path | None:
    """The grid of sample pictures, if this step made one."""
    is_due = step == 1 or step % config.save_every == 0
    return max(samples.glob("*.jpg"), default=None) if is_due else None


def _phase(title: str, preview: Callable[[int], Path | None] = lambda _: None) -> OnProgress:
    """A callback that moves the bar and says how far it is; it raises when the user cancels."""
    begun: list[tuple[host.TrainProgress, Pace]] = []

    def update(done: int, total: int) -> None:
        if not begun:
            begun.append((host.TrainProgress(total), Pace(total)))
        progress, pace = begun[0]
        left = pace.on_step(done)
        line = f"{title} {done:,} of {total:,}" + (f", {left} left" if left else "")
        progress.update(done, preview(done), line)

    return update
