"""Experiment trackers beside TensorBoard: those that speak wandb's interface.

wandb and trackio have the same `init`, `log`, `finish` and `Image`. Neither reaches the network
unless its user's own settings ask for that: trackio writes to this machine's database (`trackio
show`) unless TRACKIO_SPACE_ID or TRACKIO_SERVER_URL is set, wandb into `<run>/wandb` (`wandb sync`)
unless WANDB_MODE is.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import CycleGANError, reason
from ..training.losses import by_name
from ..training.trainer import StepReport

PROJECT = "cyclegan"
TRACKERS = ("trackio", "wandb")


class TrackerLog:
    """Logs a training to a tracker; needs the extra of its name. Used as `TensorBoardLog` is."""

    def __init__(self, name: str, run_dir: Path, settings: Mapping[str, Any]) -> None:
        """Begin the tracker's run, or go on with the one of this folder.

        Args:
            name: "trackio" or "wandb".
            run_dir: the run folder, whose name becomes the run's.
            settings: what the tracker keeps as the run's configuration.

        Raises:
            ValueError: there is no such tracker, or it is not installed.
            CycleGANError: it can't begin a run.
        """
        if name not in TRACKERS:
            raise ValueError(f"tracker must be one of {', '.join(TRACKERS)}; got {name!r}.")
        try:
            self._tracker = importlib.import_module(name)
        except ImportError:
            raise ValueError(
                f'{name} is not installed; install it with: pip install "cyclegan[{name}]".'
            ) from None
        self._shown: Path | None = None
        config = json.loads(json.dumps(settings, default=str))
        options: dict[str, Any] = {"project": PROJECT, "name": run_dir.resolve().name}
        if name == "wandb":
            options["project"] = os.environ.get("WANDB_PROJECT", PROJECT)
            options["mode"] = os.environ.get("WANDB_MODE", "offline")
            options["dir"] = run_dir
            # By its id, not by its name, it knows a run again.
            options["id"] = hashlib.sha256(str(run_dir.resolve()).encode()).hexdigest()[:12]
        try:
            with _stdout_kept():
                self._tracker.init(config=config, resume="allow", **options)
        except (OSError, RuntimeError, ValueError, getattr(self._tracker, "Error", OSError)) as why:
            raise CycleGANError(
                f"{name} can't begin a run ({reason(why)}); see its settings, or leave --tracker "
                "out."
            ) from None

    def on_step(self, report: StepReport, samples: Path | None) -> None:
        """Log a step, and the newest sample grid if it is another one than before."""
        terms = by_name(report.losses).items()
        values: dict[str, Any] = {f"loss/{name}": float(term) for name, term in terms}
        values["lr"] = report.lr
        if samples is not None and samples != self._shown:
            self._shown = samples
            with Image.open(samples) as grid:
                values["samples"] = self._tracker.Image(grid.convert("RGB"))
        self._tracker.log(values, step=report.step)

    def on_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Log what an evaluation found after `step`, "a_to_b PSNR" and so on by name."""
        values = {f"score/{name}": value for name, value in scores.items()}
        self._tracker.log(values, step=step)

    def close(self) -> None:
        """Write what is left, and end the run."""
        with _stdout_kept():
            self._tracker.finish()


def _stdout_kept() -> contextlib.redirect_stdout[Any]:
    """What trackers say goes to people; lines of JSON stay the only ones on standard output."""
    return contextlib.redirect_stdout(sys.stderr)
