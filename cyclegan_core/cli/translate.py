"""`cyclegan translate` and `cyclegan reconstruct`: picture files in, picture files out."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from ..config import Direction, FilmSettings, Memory, Speedup
from ..errors import CompilerError, CycleGANError, PictureError, plain
from ..films.names import is_video_name
from ..hub.catalog import DEFAULT_BACK, DEFAULT_MODEL, find_local
from ..hub.repository import PREFIX
from ..pictures.files import MAX_PIXELS, WRITABLE, FileId, file_id, opened
from ..progress import OnProgress, duration
from ..validation import WorkSize, check_float, check_work_size
from .common import Lines, choose_device, choose_dtype, find_with_bar, optional, print_text
from .outputs import PAINTED, Job, LeftAloneError, NotFoundError, plan_outputs

if TYPE_CHECKING:
    from PIL import Image

    from ..evaluation.sheet import Sheet
    from ..model import CycleGAN
    from ..pictures.picture import OpenPicture

Settings = dict[str, Any]
"""What `CycleGAN.translate_rows` and `reconstruct` are called with."""


_MUCH_LARGER = 6
"""Times the side that the model was trained at, from which on nobody sees its strokes."""

_LARGEST_SHEET = 50
"""Rows of the sheet of --compare."""
_SHEET_CELL = 512
"""Pixels each way of a picture on it."""


@dataclass(frozen=True, kw_only=True)
class Computing:
    """How the work is done; the defaults suit most computers."""

    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """A torch device such as cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the convolutions; auto is a half precision where a short measurement at
    the start finds it clearly faster (bf16, or fp16 on GPUs without it), else fp32."""
    memory: Memory = "auto"
    """How a picture goes through the network: whole in one pass; streamed in strips with the same
    result; thumbnail in strips, approximately; auto is whole where it fits, else streamed."""
    speedup: Speedup = "none"
    """For many pictures of one size on a GPU: compile is torch.compile, which takes a minute at
    first (on a CPU it gains nothing); graph records small pictures' network on a CUDA device."""
    scratch: Annotated[Path | None, optional("FOLDER")] = None
    """A folder on a fast disk, for pictures whose feature maps don't fit into memory."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """What is written, and what is left alone."""

    overwrite: bool = False
    """Replace results that exist already; a picture that is read is never replaced."""
    skip_existing: bool = False
    """Leave out pictures whose results exist already; what is there of others stays."""
    dry_run: bool = False
    """Only say what would be written."""


@dataclass(frozen=True, kw_only=True)
class _PictureCommand:
    """What both commands share: options, the list of files, progress and the report."""

    inputs: tyro.conf.Positional[
        Annotated[
            tuple[str, ...],
            tyro.conf.arg(metavar="PICTURE ...", help_behavior_hint="(at least one)"),
        ]
    ]
    """Files, folders (searched through for pictures, their inner structure is kept) or globs."""
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            aliases=["-o"],
            metavar="FOLDER",
            help_behavior_hint=f"(default: {PAINTED}/ beside the pictures)",
        ),
    ] = None
    """Folder for the results, which keep their names."""
    model: Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")] = DEFAULT_MODEL
    """A name of `cyclegan list`, a weight file of any known layout, a folder with one, or
    hub:owner/repo, which is fetched once."""
    direction: Annotated[Literal["auto", "a_to_b", "b_to_a"], tyro.conf.arg(aliases=["-d"])] = (
        "auto"
    )
    """Which way to translate; auto is the only way that the model knows, and a_to_b if it knows
    both. What a file's only generator does if it does not say itself."""
    model_b_to_a: Annotated[str | None, optional("MODEL")] = None
    """The file for the way back, where a model comes as two files."""
    compare: Annotated[Path | None, optional("FILE")] = None
    """Write a sheet, too: pictures before and after, side by side (the first 50)."""
    json: bool = False
    """Print a report for programs instead of progress for people."""
    results: Annotated[Results, tyro.conf.OmitArgPrefixes] = field(default_factory=Results)
    computing: Annotated[Computing, tyro.conf.OmitArgPrefixes] = field(default_factory=Computing)

    def run(self) -> int:
        """Do every picture; a failed one is named and the rest goes on. Returns the exit code."""
        started = time.perf_counter()
        # What can be wrong with the names is said before anything slow is imported.
        self._check()
        jobs = plan_outputs(self.inputs, self.out, single_file=self._keeps_one_file)
        inputs = {file_id(source) for source, _ in jobs}
        report = [self._plan(job, inputs) for job in jobs]
        console = Console(stderr=True, quiet=self.json)
        # Also where nothing is to be done because the results of another model are there.
        if any("error" not in entry or "left_alone" in entry for entry in report):
            for name in (self.model, self.model_b_to_a):
                if name is not None and not name.startswith(PREFIX):
                    find_local(name)
        for entry in report:
            if "error" in entry or "skipped" in entry or self.results.dry_run:
                _tell(entry, console)
        summary: dict[str, Any] = {"model": self.model, "direction": self.direction}
        summary |= {"device": None, "precision": None}
        is_open = [not {"error", "skipped"} & entry.keys() for entry in report]
        if any(is_open) and not self.results.dry_run:
            summary |= self._translate(jobs, report, inputs, console)

        failed = sum("error" in entry for entry in report)
        missing = sum("not_found" in entry for entry in report)
        left = sum("left_alone" in entry for entry in report)
        skipped = sum("skipped" in entry for entry in report)
        seconds = time.perf_counter() - started
        if self.json:
            counts = {"failed": failed, "skipped": skipped, "seconds": round(seconds, 3)}
            counts |= {"dry_run": True} if self.results.dry_run else {}
            sys.stdout.write(json.dumps(summary | counts | {"pictures": report}) + "\n")
        else:
            there = len(jobs) - missing
            videos = sum(
                is_video_name(source) and "not_found" not in entry
                for (source, _), entry in zip(jobs, report, strict=True)
            )
            counted = {"picture": there - videos, "video": videos}
            text = ", ".join(
                f"{count} {kind}" + ("" if count == 1 else "s")
                for kind, count in counted.items()
                if count or (kind == "picture" and not videos)
            )
            text += ", nothing was written" if self.results.dry_run else f", {duration(seconds)}"
            text += f", {failed - missing - left} failed"
            counts = {"skipped": skipped, "left alone": left, "not found": missing}
            text += "".join(f", {count} {what}" for what, count in counts.items() if count)
            console.print(text, markup=False, highlight=False)
        return 1 if failed else 0

    _keeps_one_file = True

    def _check(self) -> None:
        """What can be wrong with the options, without a look at the pictures."""
        scratch = self.computing.scratch
        if scratch is not None and not scratch.is_dir():
            raise ValueError(f"--scratch {scratch} is no folder; name one that exists.")
        if self.results.overwrite and self.results.skip_existing:
            raise ValueError("--overwrite and --skip-existing contradict each other; choose one.")
        if self.compare is None:
            return
        if self.compare.suffix.lower() not in WRITABLE:
            raise ValueError(
                f"--compare {self.compare} can't be written: use one of "
                f"{', '.join(sorted(WRITABLE))}."
            )
        if file_id(self.compare) and not self.results.overwrite:
            raise PictureError(f"{self.compare} exists; add --overwrite to replace it.")

    def _plan(self, job: Job, inputs: Container[FileId | None]) -> dict[str, Any]:
        """A picture's line of the report before anything is done: what hinders it, if something."""
        source, target = job
        entry: dict[str, Any] = {"input": str(source)}
        if isinstance(target, PictureError):
            return entry | _failure(target)
        outputs = self._outputs(target)
        try:
            self._check_inputs_stay(outputs, inputs)
            if self.results.skip_existing and all(map(file_id, outputs)):
                return entry | self._written(outputs) | {"skipped": True}
            self._check_outputs(outputs, inputs)
            self._check_source(source, target)
        except PictureError as error:
            return entry | _failure(error)
        return entry | (self._written(outputs) if self.results.dry_run else {})

    def _check_source(self, source: Path, target: Path) -> None:
        """Make sure that a file is a picture, of which only the first bytes are read."""
        if is_video_name(source):
            raise PictureError(f"{source} is a video; only `cyclegan translate` takes those.")
        with opened(source, max_pixels=MAX_PIXELS):
            pass

    def _translate(
        self,
        jobs: list[Job],
        report: list[dict[str, Any]],
        inputs: Container[FileId | None],
        console: Console,
    ) -> dict[str, Any]:
        """Do what is open in the report, which is told as it grows; what it was done with."""
        back = self.model_b_to_a or self._default_back()
        path_b_to_a = find_with_bar(back, hidden=self.json) if back else None
        path = find_with_bar(self.model, hidden=self.json)

        from ..device.precision import NAMES
        from ..evaluation.sheet import Sheet
        from ..model import load_model
        from ..translation.plan import Limits

        how = self.computing
        device = choose_device(how.device)
        asked: Direction = "a_to_b" if self.direction == "auto" else self.direction
        model = load_model(
            path, direction="a_to_b" if path_b_to_a else asked, path_b_to_a=path_b_to_a
        )
        direction = model.directions[0] if self.direction == "auto" else asked
        # Said once, instead of for every picture.
        self._check_model(model, direction)
        check_files_fit(self.model, model.config.channels(direction))
        model.to(device)
        dtype = choose_dtype(how.precision, device)
        settings: Settings = {
            "direction": direction,
            "memory": how.memory,
            "limits": Limits(scratch=how.scratch),
            "speedup": how.speedup,
            "dtype": dtype,
        }
        pending = [
            source
            for (source, _), entry in zip(jobs, report, strict=True)
            if not {"error", "skipped"} & entry.keys()
        ]
        hint = self._hint(model, pending)
        if hint is not None:
            print_text(console, hint)
        sheet = Sheet(_SHEET_CELL) if self.compare else None
        name = TextColumn("{task.description}", markup=False)
        columns = name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with (
            warnings.catch_warnings(),  # Pillow's, of odd metadata
            Progress(
                *columns, console=console, transient=True, disable=not console.is_terminal
            ) as bar,
        ):
            warnings.filterwarnings("ignore", module=r"PIL\.")
            task = bar.add_task("translating", total=len(jobs))
            for number, (job, entry) in enumerate(zip(jobs, report, strict=True)):
                if not {"error", "skipped"} & entry.keys():
                    bar.update(task, description=plain(job[0].name))
                    progress = {"on_progress": _follow(bar, task, number, job[0])}
                    entry |= self._do_one(model, job, inputs, settings | progress, sheet)
                    _tell(entry, console)
                bar.update(task, completed=number + 1)
        if self.compare is not None and sheet is not None and sheet.height:
            sheet.write(self.compare)
            made = f"before and after: {self.compare}"
            print_text(console, plain(made))
        if how.precision == "auto":
            console.print(f"computed in {NAMES[dtype]}, the fastest here (--precision auto)")
        return {"direction": direction, "device": str(device), "precision": NAMES[dtype]}

    def _do_one(
        self,
        model: CycleGAN,
        job: Job,
        inputs: Container[FileId | None],
        settings: Settings,
        sheet: Sheet | None = None,
    ) -> dict[str, Any]:
        """One picture's line of the report; its pictures for the sheet, if there is one."""
        from ..device.memory import is_out_of_memory
        from ..pictures.picture import open_picture

        source, target = job
        entry: dict[str, Any] = {"input": str(source)}
        started = time.perf_counter()
        try:
            if isinstance(target, PictureError):
                raise target
            outputs = self._outputs(target)
            self._check_outputs(outputs, inputs)
            if is_video_name(source):
                made, cells = self._process_film(model, source, outputs[0], settings)
                entry |= made
            else:
                picture = open_picture(source, max_pixels=MAX_PIXELS)
                made, cells = self._process(model, picture, outputs, settings)
                cells = {"before": picture.image(), **cells}
                entry |= made
                entry["size"] = list(picture.rows.size[:0:-1])
                entry["notes"] = list(picture.notes)
            if sheet is not None and sheet.height < _LARGEST_SHEET:
                sheet.add("", cells)
            entry["seconds"] = round(time.perf_counter() - started, 3)
        except CompilerError:  # it would fail for every picture, after a while each
            raise
        except PictureError as error:  # which names its file
            entry |= _failure(error)
        except CycleGANError as error:
            entry["error"] = f"{source}: {error}"
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            place = next(model.parameters()).device.type
            entry["error"] = f"{source} needs more memory than there is ({place}); make it smaller."
        return entry

    def _check_inputs_stay(self, outputs: Iterable[Path], inputs: Container[FileId | None]) -> None:
        for output in outputs:
            existing = file_id(output)
            if existing and existing in inputs:
                raise PictureError(
                    f"{output} is one of the pictures to translate and would be replaced; "
                    "choose another -o."
                )

    def _check_outputs(self, outputs: Sequence[Path], inputs: Container[FileId | None]) -> None:
        self._check_inputs_stay(outputs, inputs)
        there = [output for output in outputs if file_id(output)]
        # What an earlier run was killed in the middle of is completed.
        is_rest = self.results.skip_existing and len(there) < len(outputs)
        if there and not self.results.overwrite and not is_rest:
            raise LeftAloneError(
                f"{there[0]} exists (--overwrite replaces it, -o writes elsewhere)"
            )

    def _check_model(self, model: CycleGAN, direction: Direction) -> None:
        """Make sure that the model can do what is asked."""
        model.generator(direction)

    def _default_back(self) -> str | None:
        """The model for the way back, if none is named and one is needed."""
        return None

    def _hint(self, model: CycleGAN, sources: list[Path]) -> str | None:
        """What would please more, if anything; nothing of the files but their headers is read."""
        return None

    def _outputs(self, target: Path) -> list[Path]:
        raise NotImplementedError

    def _written(self, outputs: list[Path]) -> dict[str, Any]:
        """What the report says about the files."""
        raise NotImplementedError

    def _process(
        self, model: CycleGAN, picture: OpenPicture, outputs: list[Path], settings: Settings
    ) -> tuple[dict[str, Any], dict[str, Image.Image]]:
        """Write the files; the facts for the report, and what was made for the sheet."""
        raise NotImplementedError

    def _process_film(
        self, model: CycleGAN, source: Path, output: Path, settings: Settings
    ) -> tuple[dict[str, Any], dict[str, Image.Image]]:
        """Write a video; the facts for the report, and a frame before and after for the sheet."""
        raise NotImplementedError


def _steady() -> FilmSettings:
    """What suits a video: nothing that stands still changes, and strokes move with what moves."""
    return FilmSettings(statistics="shared", steadiness=0.8)


@dataclass(frozen=True, kw_only=True)
class Translate(_PictureCommand):
    """Translate pictures and videos to the other domain; each keeps its size and name.

    For a single picture or video, --out can be a file name.

    Videos keep sound and frame rate; a stopped one goes on by the same command.
    """

    work_size: Annotated[WorkSize, tyro.conf.arg(metavar="PIXELS|auto")] = 0
    """Short side of a picture while the network works on it, so that strokes can be seen on large
    photographs; the result has the picture's size all the same. 0 is the picture's own size, auto
    twice the size that the model was trained at, but at least 512."""
    detail: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0
    """How much of the fine detail that a smaller --work-size loses is put back, from 0 to 1."""
    strength: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0
    """How much of the translation is blended over the original: 0 is the original, 0.5 half of
    each, 1 the translation."""
    film: Annotated[FilmSettings, tyro.conf.OmitArgPrefixes] = field(default_factory=_steady)

    def _check(self) -> None:
        super()._check()
        check_work_size(self.work_size)
        check_float("detail", self.detail, low=0, high=1)
        check_float("strength", self.strength, low=0, high=1)

    def _hint(self, model: CycleGAN, sources: list[Path]) -> str | None:
        learned = model.config.image_size
        large = _MUCH_LARGER * learned
        if self.work_size or not any(_short_side(source) >= large for source in sources):
            return None
        return (
            f"the model learned from pictures of {learned} pixels: on ones as large as these "
            "--work-size auto is quicker, and its strokes can be seen."
        )

    def _outputs(self, target: Path) -> list[Path]:
        return [target]

    def _written(self, outputs: list[Path]) -> dict[str, Any]:
        return {"output": str(outputs[0])}

    def _process(
        self, model: CycleGAN, picture: OpenPicture, outputs: list[Path], settings: Settings
    ) -> tuple[dict[str, Any], dict[str, Image.Image]]:
        channels = model.config.channels(settings["direction"])[1]
        result, sink = picture.new_blend(channels, self.strength)
        how: Settings = {"work_size": self.work_size, "detail": self.detail}
        model.translate_rows(picture.rows, sink, **settings, **how)
        picture.write(outputs[0], result)
        return self._written(outputs), {"after": result.image}

    def _check_source(self, source: Path, target: Path) -> None:
        if not is_video_name(source):
            super()._check_source(source, target)
            return
        from ..films.clip import read_clip
        from ..films.writer import check_target

        check_target(read_clip(source, count=False), target)

    def _process_film(
        self, model: CycleGAN, source: Path, output: Path, settings: Settings
    ) -> tuple[dict[str, Any], dict[str, Image.Image]]:
        from ..films.clip import first_image
        from ..films.translate import translate_film

        how: Settings = {"work_size": self.work_size, "detail": self.detail}
        how["strength"] = self.strength
        made = translate_film(model, source, output, settings=self.film, **settings, **how)
        notes = list(made.notes)
        if made.resumed_frames:
            notes.insert(0, f"went on from frame {made.resumed_frames + 1}")
        facts = {"size": [made.width, made.height], "frames": made.frames, "notes": notes}
        cells: dict[str, Image.Image] = {}
        if self.compare is not None:
            cells = {"before": first_image(source), "after": first_image(output)}
        return self._written([output]) | facts, cells


@dataclass(frozen=True, kw_only=True)
class Reconstruct(_PictureCommand):
    """Translate pictures there and back, and measure what was lost.

    Writes NAME_translated, NAME_reconstructed and NAME_error for every picture.

    The cycle error is the mean absolute difference; white is 1.
    """

    _keeps_one_file = False

    def _default_back(self) -> str | None:
        return DEFAULT_BACK if self.model == DEFAULT_MODEL else None

    def _check_model(self, model: CycleGAN, direction: Direction) -> None:
        model.check_round_trip()

    def _outputs(self, target: Path) -> list[Path]:
        suffixes = ("translated", "reconstructed", "error")
        return [target.with_stem(f"{target.stem}_{suffix}") for suffix in suffixes]

    def _written(self, outputs: list[Path]) -> dict[str, Any]:
        return {"outputs": [str(path) for path in outputs]}

    def _process(
        self, model: CycleGAN, picture: OpenPicture, outputs: list[Path], settings: Settings
    ) -> tuple[dict[str, Any], dict[str, Image.Image]]:
        from ..pictures.picture import write_picture

        result = model.reconstruct(picture.pixels()[None], **settings)
        cells: dict[str, Image.Image] = {}
        names = ("translated", "and back")
        for name, path, pixels in zip(
            names, outputs, (result.fake[0], result.rec[0]), strict=False
        ):
            written = picture.new_result(len(pixels))
            written.write(0, pixels)
            if not self._is_left(path):
                picture.write(path, written)
            cells[name] = written.image
        if not self._is_left(outputs[2]):
            write_picture(outputs[2], result.error[0])
        error = round(float(result.error.mean()), 5)
        return self._written(outputs) | {"cycle_error": error}, cells

    def _is_left(self, path: Path) -> bool:
        """Whether a result stays as it is, of a picture that lacks another one."""
        return self.results.skip_existing and file_id(path) is not None


_NOT_DONE: dict[type[PictureError], str] = {
    NotFoundError: "not_found",
    LeftAloneError: "left_alone",
}
"""What the report calls pictures that were not done, but that nothing went wrong with."""


def _failure(error: PictureError) -> dict[str, Any]:
    """What the report says of a picture that was not done."""
    marks = {_NOT_DONE[type(error)]: True} if type(error) in _NOT_DONE else {}
    return {"error": str(error)} | marks


def _follow(bar: Progress, task: TaskID, number: int, source: Path) -> OnProgress:
    """Shows how far the work on file `number` is: on the bar, or in a line a minute."""
    name, is_video = plain(source.name), is_video_name(source)
    lines = Lines(bar.console, at_once=is_video)
    begun: tuple[float, int] | None = None

    def on_progress(done: int, total: int) -> None:
        nonlocal begun
        now = time.monotonic()
        since, first = begun = begun or (now, done)
        far = f"{name}: {done} of {total} frames" if is_video else f"{name}: {done / total:.0%}"
        bar.update(task, completed=number + done / total)
        if is_video:
            bar.update(task, description=far)
        if lines.is_due():
            if first < done < total:
                far += f", {duration((now - since) / (done - first) * (total - done))} left"
            lines.tell(far)

    return on_progress


def _short_side(source: Path) -> int:
    """Pixels of a picture's or a video's short side, by its header; 0 if it has gone meanwhile."""
    try:
        if is_video_name(source):
            from ..films.clip import read_clip

            clip = read_clip(source, count=False)
            return min(clip.width, clip.height)
        with opened(source, max_pixels=MAX_PIXELS) as file:
            return min(file.size)
    except PictureError:  # which is told when its turn comes
        return 0


def _tell(entry: dict[str, Any], console: Console) -> None:
    """One line per picture on standard error, above the bar."""
    if "error" in entry:
        marks = [what for what in _NOT_DONE.values() if what in entry]
        what = marks[0].replace("_", " ") if marks else "failed"
        style = "yellow" if "left_alone" in entry else "red"
        print_text(console, plain(f"{what}: {entry['error']}"), style=style)
        return
    first, *others = map(Path, entry.get("outputs") or [entry["output"]])
    made = ", ".join([str(first), *(path.name for path in others)])
    if "cycle_error" in entry:
        made += f" (cycle error {entry['cycle_error']})"
    notes = f" ({', '.join(entry['notes'])})" if entry.get("notes") else ""
    line = f"{entry['input']}{notes} → {made}"
    line += " exists already: skipped" if "skipped" in entry else ""
    print_text(console, plain(line))


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
