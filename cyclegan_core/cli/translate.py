"""`cyclegan translate` and `cyclegan reconstruct`: picture files in, picture files out."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..config import Direction, Memory, Speedup
from ..errors import CompilerError, CycleGANError, PictureError
from ..pictures.files import file_id
from ..validation import WorkSize, check_float, check_work_size
from .common import choose_device, find_with_bar, optional
from .outputs import Job, plan_outputs

if TYPE_CHECKING:
    from ..model import CycleGAN
    from ..pictures.picture import OpenPicture

Settings = dict[str, Any]
"""What `CycleGAN.translate_rows` and `reconstruct` are called with."""


@dataclass(frozen=True, kw_only=True)
class _PictureCommand:
    """What both commands share: options, the list of files, progress and the report."""

    inputs: tyro.conf.Positional[
        Annotated[
            tuple[str, ...],
            tyro.conf.arg(metavar="PICTURE ...", help_behavior_hint="(at least one)"),
        ]
    ]
    """Files, folders (searched through, their inner structure is kept) or globs."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the results, which keep their names."""
    model: Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")]
    """A weight file of any known layout, a folder with one, a name of `cyclegan list`, or
    hub:owner/repo, which is fetched once."""
    model_b_to_a: Annotated[str | None, optional("MODEL")] = None
    """The file for the way back, where a model comes as two files."""
    direction: Annotated[Direction, tyro.conf.arg(aliases=["-d"])] = "a_to_b"
    """Which way to translate; what a file's only generator does if it does not say itself."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """A torch device such as cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the convolutions; auto is a half precision where a short measurement at
    the start finds it clearly faster (bf16, or fp16 on GPUs without it), else fp32."""
    memory: Memory = "auto"
    """How a picture goes through the network: whole in one pass; streamed in strips with the same
    result; thumbnail in strips, approximately; auto is whole where it fits, else streamed."""
    speedup: Speedup = "none"
    """For many pictures of one size: compile is torch.compile, which takes a minute at first;
    graph records the network on a CUDA device, for small pictures."""
    scratch: Annotated[Path | None, optional("FOLDER")] = None
    """A folder on a fast disk, for pictures whose feature maps don't fit into memory."""
    overwrite: bool = False
    """Replace results that exist already; a picture that is read is never replaced."""
    json: bool = False
    """Print a report for programs instead of progress for people."""

    def run(self) -> int:
        """Do every picture; a failed one is named and the rest goes on. Returns the exit code."""
        # What can be wrong with the names is said before anything slow is imported.
        if self.scratch is not None and not self.scratch.is_dir():
            raise ValueError(f"--scratch {self.scratch} is no folder; name one that exists.")
        jobs = plan_outputs(self.inputs, self.out, single_file=self._keeps_one_file)
        problems = [problem for _, problem in jobs if isinstance(problem, PictureError)]
        if len(problems) == len(jobs) and not self.json:  # a report names device and precision
            for problem in problems:
                _tell({"error": str(problem)}, Console(stderr=True))
            return 1
        back = self.model_b_to_a
        path_b_to_a = find_with_bar(back, hidden=self.json) if back else None
        path = find_with_bar(self.model, hidden=self.json)

        from ..device.precision import DTYPES, NAMES, fastest_dtype
        from ..model import load_model
        from ..translation.plan import Limits

        device = choose_device(self.device)
        direction = "a_to_b" if path_b_to_a else self.direction
        model = load_model(path, direction=direction, path_b_to_a=path_b_to_a)
        # Said once, instead of for every picture.
        self._check_model(model)
        check_files_fit(self.model, model.config.channels(self.direction))
        model.to(device)
        dtype = fastest_dtype(device) if self.precision == "auto" else DTYPES[self.precision]
        settings: Settings = {
            "memory": self.memory,
            "limits": Limits(scratch=self.scratch),
            "speedup": self.speedup,
            "dtype": dtype,
        }
        with warnings.catch_warnings():  # Pillow's, of odd metadata
            warnings.filterwarnings("ignore", module=r"PIL\.")
            report = self._do_all(model, jobs, settings)
        failed = sum("error" in entry for entry in report)
        if self.json:
            summary = {"model": self.model, "direction": self.direction, "device": str(device)}
            summary["precision"] = NAMES[dtype]
            sys.stdout.write(json.dumps(summary | {"failed": failed, "pictures": report}) + "\n")
        return 1 if failed else 0

    _keeps_one_file = True

    def _do_all(self, model: CycleGAN, jobs: list[Job], settings: Settings) -> list[dict[str, Any]]:
        """The report, told as it grows."""
        report: list[dict[str, Any]] = []
        inputs = {file_id(source) for source, _ in jobs}
        console = Console(stderr=True, quiet=self.json)
        name = TextColumn("{task.description}", markup=False)
        columns = name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("translating", total=len(jobs))
            for number, job in enumerate(jobs):

                def on_progress(done: int, total: int, number: int = number) -> None:
                    bar.update(task, completed=number + done / total)

                bar.update(task, description=job[0].name)
                progress = {"on_progress": on_progress}
                report.append(self._do_one(model, job, inputs, settings | progress))
                _tell(report[-1], console)
                bar.update(task, completed=number + 1)
            if self.precision == "auto":
                from ..device.precision import NAMES

                console.print(f"precision auto was {NAMES[settings['dtype']]}")
        return report

    def _do_one(
        self,
        model: CycleGAN,
        job: Job,
        inputs: Container[tuple[int, int] | None],
        settings: Settings,
    ) -> dict[str, Any]:
        """One picture's line of the report."""
        from ..device.memory import is_out_of_memory
        from ..pictures.picture import MAX_PIXELS, open_picture

        source, target = job
        entry: dict[str, Any] = {"input": str(source)}
        started = time.perf_counter()
        try:
            if isinstance(target, PictureError):
                raise target
            outputs = self._outputs(target)
            self._check_outputs(outputs, inputs)
            picture = open_picture(source, max_pixels=MAX_PIXELS)
            entry |= self._process(model, picture, outputs, settings)
            entry["size"] = list(picture.rows.size[:0:-1])
            entry["notes"] = list(picture.notes)
            entry["seconds"] = round(time.perf_counter() - started, 3)
        except CompilerError:  # it would fail for every picture, after a while each
            raise
        except PictureError as error:  # which names its file
            entry["error"] = str(error)
        except CycleGANError as error:
            entry["error"] = f"{source}: {error}"
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            place = next(model.parameters()).device.type
            entry["error"] = f"{source} needs more memory than there is ({place}); make it smaller."
        return entry

    def _check_outputs(
        self, outputs: Iterable[Path], inputs: Container[tuple[int, int] | None]
    ) -> None:
        for output in outputs:
            existing = file_id(output)
            if existing and existing in inputs:
                raise PictureError(
                    f"{output} is one of the pictures to translate and would be replaced; "
                    "choose another -o."
                )
            if existing and not self.overwrite:
                raise PictureError(f"{output} exists; add --overwrite to replace it.")

    def _check_model(self, model: CycleGAN) -> None:
        """Make sure that the model can do what is asked."""
        model.generator(self.direction)

    def _outputs(self, target: Path) -> list[Path]:
        raise NotImplementedError

    def _process(
        self, model: CycleGAN, picture: OpenPicture, outputs: list[Path], settings: Settings
    ) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Translate(_PictureCommand):
    """Translate pictures to the other domain; each keeps its size and name.

    For a single picture, --out can be a file name.
    """

    work_size: Annotated[WorkSize, tyro.conf.arg(metavar="PIXELS|auto")] = 0
    """Short side of a picture while the network works on it, so that strokes can be seen on large
    photographs; the result has the picture's size all the same. 0 is the picture's own size, auto
    twice the size that the model was trained at. Small pictures longer than 4:1 are enlarged
    less."""
    detail: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0
    """How much of the fine detail that a smaller --work-size loses is put back, from 0 to 1."""

    def run(self) -> int:
        """Do every picture; a failed one is named and the rest goes on. Returns the exit code."""
        check_work_size(self.work_size)
        check_float("detail", self.detail, low=0, high=1)
        return super().run()

    def _outputs(self, target: Path) -> list[Path]:
        return [target]

    def _process(
        self, model: CycleGAN, picture: OpenPicture, outputs: list[Path], settings: Settings
    ) -> dict[str, Any]:
        result = picture.new_result(model.config.channels(self.direction)[1])
        how: Settings = {"work_size": self.work_size, "detail": self.detail}
        model.translate_rows(picture.rows, result, self.direction, **settings, **how)
        picture.write(outputs[0], result)
        return {"output": str(outputs[0])}


@dataclass(frozen=True, kw_only=True)
class Reconstruct(_PictureCommand):
    """Translate pictures there and back, and measure what was lost.

    Writes NAME_translated, NAME_reconstructed and NAME_error for every picture.

    The cycle error is the mean absolute difference; white is 1.
    """

    _keeps_one_file = False

    def _check_model(self, model: CycleGAN) -> None:
        model.check_round_trip()

    def _outputs(self, target: Path) -> list[Path]:
        suffixes = ("translated", "reconstructed", "error")
        return [target.with_stem(f"{target.stem}_{suffix}") for suffix in suffixes]

    def _process(
        self, model: CycleGAN, picture: OpenPicture, outputs: list[Path], settings: Settings
    ) -> dict[str, Any]:
        from ..pictures.picture import write_picture

        result = model.reconstruct(picture.pixels()[None], self.direction, **settings)
        for path, pixels in zip(outputs, (result.fake[0], result.rec[0]), strict=False):
            written = picture.new_result(len(pixels))
            written.write(0, pixels)
            picture.write(path, written)
        write_picture(outputs[2], result.error[0])
        error = round(float(result.error.mean()), 5)
        return {"outputs": [str(path) for path in outputs], "cycle_error": error}


def _tell(entry: dict[str, Any], console: Console) -> None:
    """One line per picture on standard error, above the bar."""
    if "error" in entry:
        console.print(f"failed: {entry['error']}", style="red", markup=False, soft_wrap=True)
        return
    made = entry.get("output") or f"{entry['outputs'][0]} … (cycle error {entry['cycle_error']})"
    notes = f" ({', '.join(entry['notes'])})" if entry["notes"] else ""
    line = f"{entry['input']}{notes} → {made}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def check_files_fit(name: str, channels: tuple[int, int]) -> None:
    """Make sure that a model's pictures can be files.

    Args:
        name: of the model, for the message.
        channels: of what it takes and of what it makes.

    Raises:
        CycleGANError: either is neither grey nor RGB.
    """
    if not set(channels) <= {1, 3}:
        raise CycleGANError(
            f"{name} makes pictures of {channels[1]} channels from {channels[0]}, and files are "
            "grey (1) or RGB (3); choose another model."
        )
