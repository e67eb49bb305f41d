"""The logs of a run: `losses.csv`, which always agrees with the state beside it; TensorBoard."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import CycleGANError, reason
from ..files import atomic_write, make_folder, read_table
from ..training.losses import by_name
from ..training.trainer import StepReport


class LossTable:
    """Adds rows to the file when told to; the file is never half.

    Rows are made from a training's history, the terms of each step from the first, and `lr_of`,
    which says a step's learning rate.
    """

    def __init__(self, path: Path, term_names: Sequence[str]) -> None:
        self.path = path
        self.columns = ("step", "lr", *term_names)
        self._steps = 0
        """How many steps the file holds."""

    def begin(self, history: Sequence[Tensor], lr_of: Callable[[int], float]) -> None:
        """Make the file hold the steps of `history` and no others.

        A killed run can have left rows of steps that are done again, and can have saved a state
        without its rows; those are made anew.

        Raises:
            CycleGANError: it can't be written.
        """
        there = _read(self.path, len(self.columns))
        lines = [_line(self.columns)]
        for step, terms in enumerate(history, start=1):
            lines.append(there.get(step) or _row(step, lr_of(step), terms.tolist()))
        atomic_write(self.path, lambda temporary: _write(temporary, "w", lines))
        self._steps = len(history)

    def flush(self, history: Sequence[Tensor], lr_of: Callable[[int], float]) -> None:
        """Add the steps that are new in `history`.

        Raises:
            CycleGANError: it can't be written; the next time tries them again.
        """
        new = enumerate(history[self._steps :], start=self._steps + 1)
        lines = [_row(step, lr_of(step), terms.tolist()) for step, terms in new]

        def write(temporary: Path) -> None:
            shutil.copyfile(self.path, temporary)
            _write(temporary, "a", lines)

        atomic_write(self.path, write)
        self._steps = len(history)


class TensorBoardLog:
    """Writes event files into `<run>/tensorboard`; needs the extra `tensorboard`."""

    def __init__(self, run_dir: Path) -> None:
        """Open a new event file.

        Raises:
            ValueError: TensorBoard is not installed.
            CycleGANError: the file can't be written.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                'TensorBoard is not installed: pip install "cyclegan[tensorboard]".'
            ) from None
        folder = run_dir / "tensorboard"
        try:
            make_folder(folder)
            self._writer = SummaryWriter(folder)
        except OSError as error:
            raise CycleGANError(
                f"{folder} can't be written to ({reason(error)}); move it away, or name another "
                "run."
            ) from None
        self._shown: Path | None = None

    def on_step(self, report: StepReport, samples: Path | None) -> None:
        """Log a step, and the newest sample grid if it is another one than before."""
        for name, term in by_name(report.losses).items():
            self._writer.add_scalar(f"loss/{name}", float(term), report.step)
        self._writer.add_scalar("lr", report.lr, report.step)
        if samples is not None and samples != self._shown:
            self._shown = samples
            with Image.open(samples) as grid:
                pixels = np.array(grid)
            self._writer.add_image("samples", pixels, report.step, dataformats="HWC")

    def on_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Log what an evaluation found after `step`, "a_to_b PSNR" and so on by name."""
        for name, value in scores.items():
            self._writer.add_scalar(f"score/{name}", value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def _read(path: Path, num_columns: int) -> dict[int, str]:
    """Step -> its row, of all rows that are whole."""
    rows: dict[int, str] = {}
    try:
        text = read_table(path)
    except FileNotFoundError:
        return rows
    except OSError as error:
        raise CycleGANError(
            f"{path} can't be read ({reason(error)}); move it away, or name another run."
        ) from None
    for line in text.splitlines(keepends=True):
        cells = line.rstrip("\r\n").split(",")
        is_row = len(cells) == num_columns and re.fullmatch("[0-9]{1,18}", cells[0])
        if line.endswith("\n") and is_row:
            rows[int(cells[0])] = line
    return rows


def _row(step: int, lr: float, terms: Iterable[float]) -> str:
    """The line of a step; six digits of each number."""
    return _line([str(step), *(f"{value:.6g}" for value in (lr, *terms))])


def _line(cells: Iterable[str]) -> str:
    """`cells` as a line of CSV, its end included."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _write(path: Path, mode: str, lines: list[str]) -> None:
    """Write `lines`, or with mode "a" add them; a line's end is the same on every system."""
    with path.open(mode, newline="", encoding="utf-8") as file:
        file.writelines(lines)
