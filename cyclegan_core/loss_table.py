"""`losses.csv`: a row per step, which always agrees with the state beside it."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from torch import Tensor

from .checkpoint import atomic_write
from .losses import Losses

COLUMNS = ("step", "lr", *Losses._fields)


class LossTable:
    """Collects rows in memory and adds them to the file when told to; the file is never half."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[str] = []

    def begin(self, history: Sequence[Tensor], lr_of: Callable[[int], float]) -> None:
        """Make the file hold the steps of `history` and no others.

        A killed run can have left rows of steps that are done again, and can have saved a state
        without its rows; those are made from `history`, with the learning rate `lr_of` the step.

        Raises:
            CheckpointError: it can't be written.
        """
        there = _read(self.path)
        lines = [_line(COLUMNS)]
        for step, terms in enumerate(history, start=1):
            lines.append(there.get(step) or _row(step, lr_of(step), terms.tolist()))
        self._lines.clear()
        atomic_write(self.path, lambda temporary: _write(temporary, "w", lines))

    def add(self, step: int, lr: float, terms: Iterable[Tensor]) -> None:
        """Note a step."""
        self._lines.append(_row(step, lr, (float(term) for term in terms)))

    def flush(self) -> None:
        """Write what was noted.

        Raises:
            CheckpointError: it can't be written; what was noted is kept for the next time.
        """

        def write(temporary: Path) -> None:
            shutil.copyfile(self.path, temporary)
            _write(temporary, "a", self._lines)

        atomic_write(self.path, write)
        self._lines.clear()


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
