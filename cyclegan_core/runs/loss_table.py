"""`losses.csv`: a row per step, which always agrees with the state beside it."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch import Tensor

from ..files import atomic_write
from ..training.losses import Losses

COLUMNS = ("step", "lr", *Losses._fields)


class LossTable:
    """Adds rows to the file when told to; the file is never half.

    Rows are made from a training's history, the terms of each step from the first, and `lr_of`,
    which says a step's learning rate.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._steps = 0
        """Of which the file holds rows."""

    def begin(self, history: Sequence[Tensor], lr_of: Callable[[int], float]) -> None:
        """Make the file hold the steps of `history` and no others.

        A killed run can have left rows of steps that are done again, and can have saved a state
        without its rows; those are made anew.

        Raises:
            CycleGANError: it can't be written.
        """
        there = _read(self.path)
        lines = [_line(COLUMNS)]
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


def _read(path: Path) -> dict[int, str]:
    """Step -> its row, of all rows that are whole."""
    rows: dict[int, str] = {}
    if path.exists():
        text = path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines(keepends=True):
            cells = line.rstrip("\r\n").split(",")
            if line.endswith("\n") and len(cells) == len(COLUMNS) and cells[0].isdecimal():
                rows[int(cells[0])] = line
    return rows


def _row(step: int, lr: float, terms: Iterable[float]) -> str:
    return _line([str(step), *(f"{value:.6g}" for value in (lr, *terms))])


def _line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _write(path: Path, mode: str, lines: list[str]) -> None:
    with path.open(mode, newline="", encoding="utf-8") as file:
        file.writelines(lines)
