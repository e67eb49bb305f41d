"""A run folder: what a training leaves on disk, and how the next session goes on from it.

`run.json` (settings, data, versions, progress), `losses.csv`, `samples/step_*.jpg` (a fixed grid
under captions, one row per sample: a | fake_b | rec_a | b | fake_a | rec_b; for pix2pix a | fake_b
| b, then those of the way back if that is trained), `state.safetensors` (everything, for resuming),
`model.safetensors` (ready to load), `checkpoints/model_step_*.safetensors`; with an evaluation also
`scores.csv` and `best.safetensors`.
"""

from __future__ import annotations

import json
import logging
import math
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._version import __version__
from ..device.distributed import gather, together, was_restarted
from ..errors import CycleGANError
from ..files import atomic_write, is_inside, read_text
from ..model import CycleGAN, save_model
from ..pictures.captions import drawable_domains, with_captions
from ..pictures.picture import write_picture
from ..training.trainer import StepReport, Trainer
from .beginning import described
from .logs import LossTable
from .run_lock import RunLock

if TYPE_CHECKING:
    from ..evaluation.training_evaluation import TrainingEvaluation

log = logging.getLogger(__name__)

RUN_NAME = "run.json"
STATE_NAME = "state.safetensors"
MODEL_NAME = "model.safetensors"
_SECONDS_TO_BE_FREED = 120.0
"""How long processes that were started again wait for the lock of a machine that is gone."""
_SAMPLE_SEED = 20170330
"""Which crops of which pictures are shown: the same in every run on the same folders."""


class RunFolder:
    """The folder of one training; a context manager that holds its lock.

    Use `on_step` as the trainer's callback (or call it from yours), and `save` when the training
    ends, however it ends.
    """

    def __init__(
        self,
        path: str | Path,
        trainer: Trainer,
        *,
        num_samples: int = 4,
        captions: Sequence[str] | None = None,
        evaluation: TrainingEvaluation | None = None,
        command: Mapping[str, Any] | None = None,
    ) -> None:
        """Nothing is read or written before the folder is entered.

        Args:
            path: the folder, made if it is not there.
            trainer: the training.
            num_samples: rows of the grid.
            captions: what stands over the grid's columns; by default the domains' names.
            evaluation: scores the model as it learns, keeps the best one and stops the trainer when
                its patience is over; made for the same folder. Under `torch.distributed` rank 0
                needs one, and the others wait while it evaluates.
            command: JSON-ready values that run.json keeps for whoever goes on, beside all settings.
        """
        self.path = Path(path)
        self.trainer = trainer
        self.num_samples = num_samples
        self.captions = list(captions or _captions(trainer))
        self.evaluation = evaluation if trainer.rank == 0 else None
        """What scores the model on this rank."""
        self._evaluate_every = 0
        """Rank 0's steps between evaluations, on all ranks; 0 without."""
        self._command = dict(command or {})
        self.newest_samples: Path | None = None
        """The last grid that was written in this session."""
        self._losses = LossTable(self.path / "losses.csv", trainer.term_names)
        self._lock = RunLock(self.path)
        self._seconds = 0.0
        self._first_step = self._saved_step = -1
        self._since = time.monotonic()

    def __enter__(self) -> RunFolder:
        """Make the folder, lock it, and load the state that is there.

        Raises:
            CycleGANError: another training uses it, it can't be written, or it lies among the
                pictures.
            CheckpointError: its state doesn't fit the trainer.
        """
        try:
            together(self._take_lock)
            sign = gather(self._lock.sign)[0]
            together(lambda: self._check_same(sign))
            self._evaluate_every = gather(self.evaluation.every if self.evaluation else 0)[0]
            together(self._load)
            self._go_on()
        except BaseException:
            self._lock.release()
            raise
        self._since = time.monotonic()
        return self

    def _take_lock(self) -> None:
        """Make the folder and lock it, on rank 0; not where its samples would be learned from."""
        if self.trainer.rank == 0:
            report = self.trainer.data.report()
            for folder in (report.a.folder, report.b.folder):
                if is_inside(self.path, folder):
                    raise CycleGANError(
                        f"The run folder {self.path} lies in {folder}, whose pictures are learned "
                        "from, and its samples would be, too; name a run outside."
                    )
            self._lock.take(wait=_SECONDS_TO_BE_FREED if was_restarted() else 0.0)

    def _check_lock(self) -> None:
        """Make sure, on rank 0, that it may still write."""
        if self.trainer.rank == 0:
            self._lock.check()

    def _check_same(self, sign: str) -> None:
        """Make sure that all ranks, on whatever machines, are about to do the same training.

        Raises:
            CycleGANError: this one isn't; `sign` is that of rank 0's lock.
        """
        trainer = self.trainer
        me = f"Rank {trainer.rank} on {platform.node()}"
        ours = (trainer.config.to_dict(), trainer.data.names_digest)
        settings, names = gather(ours)[0]
        if trainer.rank > 0 and not self._lock.shows(sign):
            raise CycleGANError(
                f"{me} does not see what rank 0 wrote into {self.path}; the run folder has to be "
                "on storage that all machines share, under the same name."
            )
        for name, value in ours[0].items():
            if value != settings[name]:
                raise CycleGANError(
                    f"{me} was started with {name} = {value}, and rank 0 with {settings[name]}; "
                    "start all with the same options."
                )
        if names != ours[1]:
            raise CycleGANError(
                f"{me} sees other pictures than rank 0 (names or sizes differ); give all machines "
                "the same ones."
            )

    def _load(self) -> None:
        """Load the state, if there is one; all ranks the same.

        Raises:
            CycleGANError: it doesn't fit, or this rank sees another one than rank 0.
        """
        trainer = self.trainer
        problem: CycleGANError | None = None
        if self._has_state:
            try:
                trainer.load_state(self.path / STATE_NAME)
            except CycleGANError as error:
                problem = error
        step = gather(trainer.step)[0]
        if problem is not None:
            raise problem
        if trainer.step != step:
            raise CycleGANError(
                f"Rank {trainer.rank} on {platform.node()} sees the state of step {trainer.step} "
                f"in {self.path}, and rank 0 that of step {step}; start again in a minute, when "
                "the shared storage is up to date everywhere."
            )

    @property
    def _has_state(self) -> bool:
        """Whether there is something to go on with."""
        return (self.path / STATE_NAME).exists()

    def _go_on(self) -> None:
        """Make everything else agree with the state that was loaded."""
        trainer = self.trainer
        run = self._read_run()
        self._seconds = run["seconds"]
        has_state = self._has_state
        if has_state:
            log.info("Going on from step %d.", trainer.step)
        if trainer.rank == 0:
            for unfinished in (*self.path.rglob(".*.partial"), *self.path.glob("samples/.*.jpg")):
                with suppress(OSError):
                    unfinished.unlink()  # of a killed run
            self._losses.begin(trainer.history, trainer.learning_rate)
            if self.evaluation is not None:
                self.evaluation.begin(trainer.step)
                if self.evaluation.should_stop:
                    trainer.stop()  # as it had been before
            if has_state and run["step"] != trainer.step:
                self._write_rest()  # the last save was cut off after the state
        self._first_step = self._saved_step = trainer.step

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of the lock; what is not saved stays unsaved."""
        self._lock.release()

    def on_step(self, report: StepReport) -> None:
        """Make samples, evaluate and save when it is time.

        Raises:
            TrainingDivergedError: it is, and the training went wrong; nothing was written.
            CycleGANError: an evaluation failed, see `Evaluator.evaluate`; the step is saved.
        """
        config = self.trainer.config
        if report.step % config.sample_every == 0 or report.step == 1:
            self.trainer.read()  # all ranks together, though one alone writes
            if self.trainer.rank == 0:
                self.write_samples()
        # Before the state: a kill in between has the step, and its evaluation, done again.
        is_last = report.step == report.num_steps
        if self._evaluate_every and (is_last or report.step % self._evaluate_every == 0):
            self.trainer.read()
            if self.evaluation and self.evaluation.is_due(report.step, is_last=is_last):
                with torch.inference_mode(mode=False):
                    model = self.trainer.export().to(self.trainer.device)
                try:
                    self.evaluation.evaluate(model, report.step)
                except CycleGANError:
                    self._save()  # the step is good, whatever is wrong with its pictures
                    raise
                if self.evaluation.should_stop:
                    self.trainer.stop()
        if report.step % config.save_every == 0:
            self._save()

    def save(self) -> None:
        """Write state, model, losses, run.json and the last step's samples, each atomically.

        Nothing that is there already. Under `torch.distributed` all ranks call this together, and
        rank 0 writes.
        """
        self._save()
        trainer = self.trainer
        is_new = trainer.step != self._first_step and self.newest_samples != self._samples_path
        if trainer.rank == 0 and is_new:
            self.write_samples()

    def _save(self) -> None:
        """All of a save but the samples, which have an interval of their own."""
        trainer = self.trainer
        if trainer.step == self._saved_step or trainer.step == 0:
            return
        together(self._check_lock)
        # The state first: everything else can be made again from it.
        trainer.save_state(self.path / STATE_NAME)
        if trainer.rank == 0:
            self._losses.flush(trainer.history, trainer.learning_rate)
            self._write_rest()
        self._saved_step = trainer.step

    def _write_rest(self) -> None:
        """What the state's step has besides state and losses; run.json last, as the seal."""
        model = self.trainer.export()
        if self.evaluation is not None:
            model.training_info |= self.evaluation.notes(self.trainer.step)
        save_model(model, self.path / MODEL_NAME)
        self._keep_checkpoint(model)
        self._write_run()

    @torch.no_grad()
    def samples(self) -> Tensor:
        """The grid as one picture, (3,H,W) in [0,1]: captions, then a row per sample."""
        model, device = self.trainer.state.trained, self.trainer.device
        rows: list[Tensor] = []
        widths: list[int] = []
        for number in range(self.num_samples):
            sample = self.trainer.data.sample(number, seed=_SAMPLE_SEED)
            a, b = sample.a[None].to(device), sample.b[None].to(device)
            if self.trainer.config.objective == "pix2pix":
                row: list[Tensor] = []
                for direction in model.directions:
                    source, partner = (a, b) if direction == "a_to_b" else (b, a)
                    row += [source, model.translate(source, direction), partner]
            else:
                there = model.reconstruct(a, "a_to_b")
                back = model.reconstruct(b, "b_to_a")
                row = [a, there.fake, there.rec, b, back.fake, back.rec]
            height = max(picture.shape[2] for picture in row)
            row = [_to_rgb(picture[0], height) for picture in row]
            widths = widths or [picture.shape[2] for picture in row]
            rows.append(torch.cat([picture.cpu() for picture in row], dim=2))
        width = max(row.shape[2] for row in rows)
        padded = [torch.nn.functional.pad(r, (0, width - r.shape[2]), value=1.0) for r in rows]
        return with_captions(torch.cat(padded, dim=1), self.captions, widths)

    @property
    def _samples_path(self) -> Path:
        """Where the grid of the current step goes."""
        return self.path / "samples" / f"step_{self.trainer.step:07d}.jpg"

    def write_samples(self) -> Path:
        """Write the grid of the current step."""
        path = self._samples_path
        with torch.inference_mode(mode=False):
            write_picture(path, self.samples())
        self.newest_samples = path
        return path

    def _keep_checkpoint(self, model: CycleGAN) -> None:
        """Keep `model` beside the newest of its predecessors, if that is wanted."""
        keep = self.trainer.config.keep_checkpoints
        if keep == 0:
            return
        folder = self.path / "checkpoints"
        with suppress(OSError):  # saving will say what is wrong
            folder.mkdir(exist_ok=True)
        newest = folder / f"model_step_{self.trainer.step:07d}.safetensors"
        save_model(model, newest)
        kept = folder.glob("model_step_*.safetensors")
        for old in sorted(kept, key=lambda path: (len(path.name), path.name))[:-keep]:  # by step
            with suppress(OSError):
                old.unlink()

    def _read_run(self) -> dict[str, float]:
        """What is needed of run.json, the step and the seconds so far; -1 and 0 without one."""
        try:
            run = json.loads(read_text(self.path / RUN_NAME))
            found = {"step": int(run["step"]), "seconds": float(run["seconds"])}
        except (OSError, ValueError, TypeError, LookupError, OverflowError, RecursionError):
            found = {"step": -1, "seconds": 0.0}  # it is made again
        return found if math.isfinite(found["seconds"]) else found | {"seconds": 0.0}

    def _write_run(self) -> None:
        """Write run.json: settings, data, versions, progress."""
        now = time.monotonic()
        self._seconds, self._since = self._seconds + now - self._since, now
        trainer = self.trainer
        report = trainer.data.report()
        run = {
            "step": trainer.step,
            "max_steps": trainer.config.max_steps,
            "seconds": round(self._seconds, 3),
            "wait_share": round(trainer.wait_share, 4),
            "device": str(trainer.device),
            "config": trainer.state.asked.to_dict(),
            "data": {
                "digest": trainer.data.digest,
                **described(trainer.data),
                "config": asdict(trainer.data.config),
                "a": str(report.a),
                "b": str(report.b),
                "warnings": list(report.warnings),
            },
            "versions": {"cyclegan": __version__, "torch": torch.__version__},
        }
        if self.evaluation is not None:
            run["evaluation"] = self.evaluation.facts()
        if self._command:
            run["command"] = self._command
        text = json.dumps(run, indent=2) + "\n"
        atomic_write(
            self.path / RUN_NAME, lambda temporary: temporary.write_text(text, encoding="utf-8")
        )


def _captions(trainer: Trainer) -> list[str]:
    """What stands over the columns of the grid: a picture, and what becomes of it."""
    config = trainer.config
    captions: list[str] = []
    for direction in config.trained_directions:
        a, b = drawable_domains(config.model, direction)
        captions += [a, f"to {b}", b if config.objective == "pix2pix" else "and back"]
    return captions


def _to_rgb(picture: Tensor, height: int) -> Tensor:
    """(C,H,W) grey or RGB -> (3,height,W), white below."""
    picture = picture.expand(3, -1, -1)
    return torch.nn.functional.pad(picture, (0, 0, 0, height - picture.shape[1]), value=1.0)
