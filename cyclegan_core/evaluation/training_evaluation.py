"""Evaluation during a training: a table of scores, the best model so far, and when to stop.

The table, `scores.csv`, is the whole state: whoever goes on from step N keeps its rows up to N.
"""

from __future__ import annotations

import copy
import csv
import io
import math
from pathlib import Path
from typing import Any

from ..config import DIRECTIONS
from ..errors import CycleGANError, reason
from ..files import atomic_write, read_table
from ..model import CycleGAN, save_model
from ..progress import OnProgress, ignore
from ..validation import check_int
from .evaluator import Evaluator
from .report import Evaluation, better

BEST_NAME = "best.safetensors"
SCORES_NAME = "scores.csv"


class TrainingEvaluation:
    """Asks an `Evaluator` every so many steps, and draws the conclusions.

    Writes into a run folder: `scores.csv`, a row per evaluation, whole or not at all; and
    `best.safetensors`, the model of the best one, which says its step and scores itself.
    """

    def __init__(
        self,
        folder: str | Path,
        evaluator: Evaluator,
        *,
        every: int,
        patience: int | None = None,
        metric: str | None = None,
        on_progress: OnProgress = ignore,
    ) -> None:
        """Nothing is read or written before `begin`.

        Args:
            folder: where the two files go; it exists.
            evaluator: knows the held-out pictures.
            every: steps from one evaluation to the next.
            patience: stop after so many evaluations in a row without a new best; never if None.
            metric: which score decides, in the mean over directions: one of
                `evaluator.metrics`, with or without its extractor's name. By default KID, or the
                perceptual distance of paired folders.
            on_progress: called after each picture; an evaluation that it ends by raising leaves
                nothing behind.

        Raises:
            ValueError: a number is out of range, or there is no such metric.
        """
        check_int("every", every, least=1)
        if patience is not None:
            check_int("patience", patience, least=1)
        self.folder = Path(folder)
        self.evaluator = evaluator
        self.every = every
        self.patience = patience
        self.metric = evaluator.metric(metric)
        """The whole name of the score that decides."""
        self.on_progress = on_progress
        self.last: Evaluation | None = None
        """What the newest evaluation of this session found."""
        self._last_step = 0
        self._rows: dict[int, dict[str, float]] = {}

    def begin(self, step: int) -> None:
        """Go on after `step`: keep the rows of `scores.csv` up to it, and drop later ones.

        Later ones are of a session that was killed before it saved its state; their steps are
        done again. If `best.safetensors` is of such a step, it is made again as well.

        Raises:
            CycleGANError: the table can't be written.
        """
        self._rows = {row: values for row, values in self._read().items() if row <= step}
        if self._rows or (self.folder / SCORES_NAME).exists():
            self._write()

    def is_due(self, step: int, *, is_last: bool = False) -> bool:
        """Whether the model of this step is to be evaluated, and has not been.

        The last one always is, so that what a training gives has a score.
        """
        return step > 0 and (is_last or step % self.every == 0) and step not in self._rows

    def notes(self, step: int) -> dict[str, Any]:
        """What the weight file of this step says of its evaluation, if this session made one."""
        found = self.last
        return {} if found is None or self._last_step != step else _notes(found)

    def evaluate(self, model: CycleGAN, step: int) -> Evaluation:
        """Score the model after `step` steps; save it if it is the best so far, then the table.

        Raises:
            CycleGANError: the evaluation failed, or a file can't be written; nothing is noted.
        """
        found = self.evaluator.evaluate(
            model, checkpoint=f"step {step}", on_progress=self.on_progress
        )
        scalars = found.scalars()
        rows = {**self._rows, step: scalars}
        if _best_step(rows, self.metric) == step:
            # A copy that shares the weights, so that the caller's own notes stay as they are.
            best = copy.copy(model)
            best.training_info = {**model.training_info, "steps": step, **_notes(found)}
            save_model(best, self.folder / BEST_NAME)
        self._rows = rows
        self._write()
        self.last, self._last_step = found, step
        return found

    @property
    def best_step(self) -> int | None:
        """The step of the best evaluation; the earliest of equal ones; None before the first."""
        return _best_step(self._rows, self.metric)

    @property
    def best_score(self) -> float | None:
        """The score of the best evaluation."""
        step = self.best_step
        return None if step is None else _score(self._rows[step], self.metric)

    @property
    def should_stop(self) -> bool:
        """Whether the last `patience` evaluations brought no new best."""
        if self.patience is None or self.best_step is None:
            return False
        return sum(step > self.best_step for step in self._rows) >= self.patience

    def facts(self) -> dict[str, Any]:
        """For run.json and people: which score decides, the best and the last evaluation."""
        found = {"metric": self.metric, "notes": list(self.evaluator.notes)}
        if not self._rows:
            return {**found, "evaluations": 0}
        last = max(self._rows)
        return {
            **found,
            "evaluations": len(self._rows),
            "best_step": self.best_step,
            "best_score": self.best_score,
            "last_step": last,
            "last": dict(self._rows[last]),
            "stopped_early": self.should_stop,
        }

    def summary(self) -> str:
        """One line for people; empty before the first evaluation."""
        if not self._rows:
            return ""
        last, best = max(self._rows), self.best_step
        scored = _score(self._rows[last], self.metric)
        now = "none" if scored is None else f"{scored:.4g}"
        if best is None:
            return f"{self.metric} {now} after step {last}"
        return (
            f"{self.metric} {now} after step {last}, best {self.best_score:.4g} after step {best}"
        )

    def _read(self) -> dict[int, dict[str, float]]:
        """Step -> scores, of all rows of the table that are whole."""
        path = self.folder / SCORES_NAME
        rows: dict[int, dict[str, float]] = {}
        try:
            text = read_table(path)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise CycleGANError(
                f"{path} can't be read ({reason(error)}); move it away, or name another run."
            ) from None
        for cells in csv.DictReader(io.StringIO(text)):
            step = cells.pop("step", None)
            if step is None or not step.isdecimal():
                continue
            try:
                rows[int(step)] = {
                    name: float(cell) for name, cell in cells.items() if name is not None and cell
                }
            except (TypeError, ValueError):
                continue
        return rows

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, ["step", *columns], lineterminator="\n")
        table.writeheader()
        for step, row in sorted(self._rows.items()):
            # `repr` gives the same float when it is read again.
            table.writerow({"step": step, **{name: repr(value) for name, value in row.items()}})
        atomic_write(
            self.folder / SCORES_NAME,
            lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8", newline=""),
        )


def _notes(found: Evaluation) -> dict[str, Any]:
    """For a model's `training_info`: scores by name, and tables for its card."""
    return {"metrics": found.scalars(), "evaluation": found.for_card()}


def _score(row: dict[str, float], metric: str) -> float | None:
    """The mean over directions; None for a row that an evaluation of another kind left."""
    values = [row[name] for d in DIRECTIONS if (name := f"{d} {metric}") in row]
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else None


def _best_step(rows: dict[int, dict[str, float]], metric: str) -> int | None:
    scored = {
        step: value for step in sorted(rows) if (value := _score(rows[step], metric)) is not None
    }
    if not scored:
        return None
    return max(scored, key=lambda step: better(metric) * scored[step])
