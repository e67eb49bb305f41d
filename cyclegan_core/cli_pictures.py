"""`cyclegan translate` and `cyclegan reconstruct`: picture files in, picture files out."""

from __future__ import annotations

import glob
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from .bundled import find_model
from .checkpoint import load_model
from .config import Direction
from .errors import CycleGANError, PictureError
from .model import CycleGAN, Memory
from .pictures import READABLE, WRITABLE, Picture, read_picture, write_picture

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class _PictureCommand:
    """What both commands share: options, the list of files, progress and the report."""

    inputs: tyro.conf.Positional[tuple[str, ...]]
    """Pictures: files, folders (searched through, their inner structure is kept) or globs."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the results, which keep their names; or a file name, for a single picture."""
    model: Annotated[str, tyro.conf.arg(aliases=["-m"])]
    """A weight file of any known layout, a folder with one, or the name of a bundled model."""
    model_b_to_a: str | None = None
    """A second weight file with the other direction, for models that come as two files."""
    direction: Annotated[Direction, tyro.conf.arg(aliases=["-d"])] = "a_to_b"
    """Which way to translate; also what a file with one nameless generator is taken to do."""
    device: str = "auto"
    """A torch device such as cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the convolutions; auto is bf16 on GPUs that have it, else fp32."""
    memory: Memory = "auto"
    """How a picture goes through the network."""
    overwrite: bool = False
    """Replace results that exist already."""
    json: bool = False
    """Print a report for programs instead of progress for people."""

    def run(self) -> int:
        """Do every picture; a failed one is named and the rest goes on. Returns the exit code."""
        device = choose_device(self.device)
        dtype = _choose_dtype(self.precision, device)
        jobs = plan_outputs(self.inputs, self.out, single_file=self._keeps_one_file)
        model = self._load().to(device)
        report: list[dict[str, Any]] = []
        console = Console(stderr=True, quiet=self.json)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            task = bar.add_task("translating", total=len(jobs))
            for source, target in jobs:
                bar.update(task, description=source.name)
                entry = self._do_one(model, source, target, dtype)
                report.append(entry)
                if not self.json:
                    _tell(entry, console)
                bar.advance(task)
        failed = sum("error" in entry for entry in report)
        if self.json:
            summary = {"model": self.model, "direction": self.direction, "device": str(device)}
            sys.stdout.write(json.dumps(summary | {"failed": failed, "pictures": report}) + "\n")
        return 1 if failed else 0

    _keeps_one_file = True

    def _load(self) -> CycleGAN:
        second = find_model(self.model_b_to_a) if self.model_b_to_a else None
        direction = "a_to_b" if second else self.direction
        return load_model(find_model(self.model), direction=direction, path_b_to_a=second)

    def _do_one(
        self, model: CycleGAN, source: Path, target: Path | PictureError, dtype: torch.dtype
    ) -> dict[str, Any]:
        """One picture's line of the report."""
        entry: dict[str, Any] = {"input": str(source)}
        started = time.perf_counter()
        try:
            if isinstance(target, PictureError):
                raise target
            outputs = self._outputs(target)
            self._check_outputs(source, outputs)
            picture = read_picture(source)
            entry |= self._process(model, picture, outputs, dtype)
            entry["size"] = [picture.pixels.shape[2], picture.pixels.shape[1]]
            entry["notes"] = list(picture.notes)
            entry["seconds"] = round(time.perf_counter() - started, 3)
        except CycleGANError as error:
            entry["error"] = str(error)
        return entry

    def _check_outputs(self, source: Path, outputs: Iterable[Path]) -> None:
        for output in outputs:
            if output.exists() and output.samefile(source):
                raise PictureError(f"{source} would be replaced by its result; choose another -o.")
            if output.exists() and not self.overwrite:
                raise PictureError(f"{output} exists; add --overwrite to replace it.")

    def _outputs(self, target: Path) -> list[Path]:
        raise NotImplementedError

    def _process(
        self, model: CycleGAN, picture: Picture, outputs: list[Path], dtype: torch.dtype
    ) -> dict[str, Any]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Translate(_PictureCommand):
    """Translate pictures from one domain to the other; every picture keeps its size and name."""

    def _outputs(self, target: Path) -> list[Path]:
        return [target]

    def _process(
        self, model: CycleGAN, picture: Picture, outputs: list[Path], dtype: torch.dtype
    ) -> dict[str, Any]:
        batch = picture.pixels[None].to(_device_of(model))
        result = model.translate(batch, self.direction, memory=self.memory, dtype=dtype)
        _write(outputs[0], result[0], picture)
        return {"output": str(outputs[0])}


@dataclass(frozen=True, kw_only=True)
class Reconstruct(_PictureCommand):
    """Translate pictures there and back, and measure what was lost.

    Writes NAME_translated, NAME_reconstructed and NAME_error for every picture; the cycle error
    is the mean absolute difference, with white = 1.
    """

    _keeps_one_file = False

    def _outputs(self, target: Path) -> list[Path]:
        suffixes = ("translated", "reconstructed", "error")
        return [target.with_stem(f"{target.stem}_{suffix}") for suffix in suffixes]

    def _process(
        self, model: CycleGAN, picture: Picture, outputs: list[Path], dtype: torch.dtype
    ) -> dict[str, Any]:
        batch = picture.pixels[None].to(_device_of(model))
        result = model.reconstruct(batch, self.direction, memory=self.memory, dtype=dtype)
        _write(outputs[0], result.fake[0], picture)
        _write(outputs[1], result.rec[0], picture)
        write_picture(outputs[2], result.error[0])
        error = round(float(result.error.mean()), 5)
        return {"outputs": [str(path) for path in outputs], "cycle_error": error}


def plan_outputs(
    inputs: Iterable[str], out: Path, *, single_file: bool = True
) -> list[tuple[Path, Path | PictureError]]:
    """Pair every picture with where its result goes, or with why it can't go anywhere.

    A folder's pictures keep their path below that folder, a file its name. `out` is a file name
    when it ends like a picture and there is one input file; otherwise a folder.

    Raises:
        ValueError: there is nothing to do, or `out` is a file name for several pictures.
    """
    found = [pair for text in inputs for pair in _expand(text)]
    if not found:
        raise ValueError("no pictures were named; give files, folders or globs.")
    if single_file and out.suffix.lower() in READABLE and not out.is_dir():
        if len(found) > 1:
            raise ValueError(f"{out} names one file, but there are {len(found)} pictures.")
        if out.suffix.lower() not in WRITABLE:
            raise ValueError(f"{out} can't be written; use {', '.join(sorted(WRITABLE))}.")
        ((source, relative),) = found
        return [(source, relative if isinstance(relative, PictureError) else out)]
    jobs: list[tuple[Path, Path | PictureError]] = []
    taken: dict[Path, Path] = {}
    for source, relative in found:
        if isinstance(relative, PictureError):
            jobs.append((source, relative))
            continue
        target = out / relative
        if target.suffix.lower() not in WRITABLE:
            target = target.with_suffix(".png")
        if target in taken and not taken[target].samefile(source):
            clash = f"{source} and {taken[target]} would both become {target}; translate them apart"
            jobs.append((source, PictureError(f"{clash}.")))
        elif target not in taken:
            taken[target] = source
            jobs.append((source, target))
    return jobs


def _expand(text: str) -> list[tuple[Path, Path | PictureError]]:
    """What a user typed -> (file, its path below the output folder or what is wrong)."""
    path = Path(text)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in READABLE)
        if not files:
            return [(path, PictureError(f"{path} holds no pictures; choose another folder."))]
        return [(file, file.relative_to(path)) for file in files]
    if not path.exists() and glob.has_magic(text):
        # pathlib's glob takes no absolute patterns and no "~"-like prefixes; this one takes all.
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207
        if not matches:
            return [(path, PictureError(f"{text} matches no file; check the pattern."))]
        return [(Path(match), Path(Path(match).name)) for match in matches if Path(match).is_file()]
    return [(path, Path(path.name))]


def _write(path: Path, pixels: Tensor, picture: Picture) -> None:
    profile = picture.icc_profile if len(pixels) == len(picture.pixels) else None
    write_picture(path, pixels, alpha=picture.alpha, icc_profile=profile)


def _tell(entry: dict[str, Any], console: Console) -> None:
    """One line per picture on standard error, above the bar."""
    if "error" in entry:
        console.print(f"failed: {entry['error']}", style="red", markup=False, soft_wrap=True)
        return
    made = entry.get("output") or f"{entry['outputs'][0]} … (cycle error {entry['cycle_error']})"
    notes = f" ({', '.join(entry['notes'])})" if entry["notes"] else ""
    line = f"{entry['input']}{notes} → {made}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _device_of(model: CycleGAN) -> torch.device:
    return next(model.parameters()).device


def choose_device(name: str) -> torch.device:
    if name != "auto":
        try:
            torch.empty(0, device=name)
        except (RuntimeError, AssertionError) as error:  # torch asserts that CUDA is compiled in
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {name!r} can't be used: {reason}") from None
        return torch.device(name)
    available: list[tuple[str, Callable[[], bool]]] = [
        ("cuda", torch.cuda.is_available),
        ("mps", torch.backends.mps.is_available),
    ]
    return torch.device(next((kind for kind, has in available if has()), "cpu"))


def _choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision != "auto":
        return DTYPES[precision]
    is_fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if is_fast else torch.float32
