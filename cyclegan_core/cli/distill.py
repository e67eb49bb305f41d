"""`cyclegan distill`: a large model's translations taught to a small fast one."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console

from ..config import Direction, DistillConfig
from ..errors import CheckpointError, plain
from ..hub.catalog import bundled_license
from ..pictures.files import file_id
from ..validation import check_data_folder
from .common import (
    StopSignals,
    choose_device,
    choose_dtype,
    counting_bar,
    find_with_bar,
    optional,
)

if TYPE_CHECKING:
    from ..progress import OnProgress
    from ..training.trainer import StepReport


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Make a small fast student of a model, for your pictures.

    It begins as a part of its teacher, and learns what that makes of your pictures.

    At the end both are compared on some pictures that were held out.

    The same command goes on with what was stopped.
    """

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    """The teacher: a weight file of any known layout, a folder with one, a name of
    `cyclegan list`, or hub:owner/repo."""
    pictures: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="PICTURES")]]
    """Folder with pictures of the kind that will be translated, some hundred; searched through."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The student's file; it ends in .safetensors, in half precision."""
    config: Annotated[DistillConfig, tyro.conf.arg(name="")] = field(default_factory=DistillConfig)
    """The student and its training."""
    direction: Annotated[Direction, tyro.conf.arg(aliases=["-d"])] = "a_to_b"
    """Which of the teacher's directions it learns; what a file's only generator does if it does
    not say itself."""
    work: Annotated[Path | None, optional("FOLDER")] = None
    """Where the teacher's outputs and the training are kept; by default OUT with the ending
    .distill."""
    license: Annotated[str | None, optional("NAME")] = None
    """Licence of the teacher's weights, for the student's header; by default what is known."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """A torch device such as cpu, cuda, mps; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the convolutions; auto is a half precision where that is clearly faster."""
    overwrite: bool = False
    """Replace the student's file if it exists."""
    json: bool = False
    """Print a report for programs."""

    def run(self) -> int:
        """Distil, compare, tell; returns the exit code."""
        if file_id(self.out) and not self.overwrite:
            raise CheckpointError(f"{self.out} exists; add --overwrite to replace it.")
        check_data_folder(self.pictures)
        path = find_with_bar(self.model, hidden=self.json)

        from ..checkpoint.checkpoint import read_checkpoint
        from ..device.precision import NAMES
        from ..distillation.student import distill
        from ..model import CycleGAN

        device = choose_device(self.device)
        checkpoint = read_checkpoint(path, direction=self.direction)
        license = self.license or checkpoint.license or bundled_license(path)
        teacher = CycleGAN.from_checkpoint(checkpoint).to(device)
        precision = NAMES[choose_dtype(self.precision, device)]
        console = Console(stderr=True, quiet=self.json)
        with counting_bar(console) as bar, _Stop(console) as stop:

            def task(title: str) -> OnProgress:
                number = bar.add_task(title, total=None, visible=False)

                def update(done: int, total: int) -> None:
                    bar.update(number, completed=done, total=total, visible=True)
                    if not console.is_terminal and done in (1, total):
                        console.print(f"{title}: {done} of {total}")

                return update

            on_pair, tell, on_compare = map(
                task, ("teacher translates", "student learns", "both compared")
            )

            def on_step(report: StepReport) -> None:
                tell(report.step, report.num_steps)
                stop.check(last=report.step == report.num_steps)

            try:
                found = distill(
                    teacher,
                    self.pictures,
                    self.out,
                    direction=self.direction,
                    config=self.config,
                    work=self.work,
                    teacher_name=path.name if file_id(Path(self.model)) else self.model,
                    license=license or "",
                    precision=precision,
                    on_pair=on_pair,
                    on_step=on_step,
                    on_compare=on_compare,
                )
            except _StoppedError:
                console.print("Stopped; the same command goes on.")
                return 130
        if self.json:
            report = found.to_dict() | {"file": str(self.out), "teacher": self.model}
            sys.stdout.write(json.dumps(report) + "\n")
        else:
            sys.stdout.write(f"{found}\n{plain(str(self.out))} is ready.\n")
        return 0


class _StoppedError(Exception):
    """Ends the training between two steps, to be saved."""


class _Stop(StopSignals):
    """Remembers a Ctrl-C in the training until the step is complete; a second one does not wait.

    Before and after the training there is nothing to complete.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.is_training = self.is_asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked or not self.is_training:
            raise KeyboardInterrupt
        self.console.print("Stopping after this step; once more stops at once.")
        self.is_asked = True

    def check(self, *, last: bool) -> None:
        """Between two steps: raise if that was asked for."""
        self.is_training = not last
        if self.is_asked:
            raise _StoppedError
