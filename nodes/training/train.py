"""Train CycleGAN on Folders: two folders under input/ become a model, in the graph."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ...cyclegan_core import CycleGAN
from ...cyclegan_core.config import EvaluationConfig, TrainConfig
from ...cyclegan_core.data import TrainingData, folders_digest, open_folders
from ...cyclegan_core.evaluation import (
    BEST_NAME,
    FEWEST_PICTURES,
    Evaluator,
    TrainingEvaluation,
)
from ...cyclegan_core.runs import (
    MODEL_NAME,
    STATE_NAME,
    Pace,
    RunFolder,
    busy_note,
    copying_note,
    duration,
    estimate,
    new_warnings,
    other_folders,
    read_before,
    time_step,
    warmup_note,
)
from ...cyclegan_core.training import PRESETS, FixedSettingError, StepReport, Trainer
from .. import host
from .inputs import NONE, auto_preset, configs, train_inputs
from .plot import TOTAL, kinds

log = logging.getLogger(__name__)

_MOST_TEST_PICTURES = 60
"""So many of each test folder are scored: enough to tell models apart, in bearable time."""


class TrainCycleGAN(io.ComfyNode):
    """Watch it learn, stop it, queue it again to go on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Re-run whenever the page asks for the nodes, so the R key finds new folders."""
        return host.schema(
            node_id="CycleGAN_Train",
            display_name="Train CycleGAN on Folders",
            search_aliases=[
                "train style",
                "fine-tune",
                "unpaired",
                "image to image",
                "horse2zebra",
            ],
            description=(
                "Trains a CycleGAN on two folders of pictures under ComfyUI's input (or output) "
                "folder. The preview shows pictures of both and what becomes of them, there and "
                "back. Cancel keeps everything learned so far; queue again to go on. Everything "
                "lies in "
                "output/cyclegan, and the model appears in Load CycleGAN."
            ),
            inputs=train_inputs(),
            outputs=[
                host.CycleGANType.Output(display_name="CYCLEGAN", tooltip="The trained model."),
                io.Custom("LOSS_MAP").Output(
                    display_name="losses", tooltip="For Plot CycleGAN Losses, or the built-in one."
                ),
                io.Image.Output(display_name="samples", tooltip="The last sample grid."),
                io.String.Output(
                    display_name="summary", tooltip="What was trained, on what, for how long."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(
        cls,
        folder_a: str | None,
        folder_b: str | None,
        run_name: str | None,
        folder_test_a: str | None = NONE,
        folder_test_b: str | None = NONE,
    ) -> bool:
        """Leave it to `execute` to say what is wrong with the folders and the name.

        The host does not check the choices of inputs that are named here, and its pages show the
        sentences of errors better than those of this function.
        """
        return True

    @classmethod
    def fingerprint_inputs(
        cls, folder_a: str | None, folder_b: str | None, run_name: str | None, **_: object
    ) -> tuple[str, ...] | float:
        """Changed pictures mean more training, and so does a run that is not at its end."""
        if folder_a is None or folder_b is None or run_name is None:
            return math.nan  # linked, so unknown yet: like nothing before, not even itself
        path, dir_a, dir_b = _folders(folder_a, folder_b, run_name)
        return folders_digest(dir_a, dir_b), _unfinished(path)

    @classmethod
    def execute(
        cls,
        folder_a: str,
        folder_b: str,
        run_name: str,
        steps: int,
        max_minutes: float,
        image_size: int,
        lambda_identity: float,
        seed: int,
        resume: bool,
        settings: dict[str, dict[str, Any]] | None = None,
        start_model: CycleGAN | None = None,
        folder_test_a: str = NONE,
        folder_test_b: str = NONE,
        evaluate_every: int = 500,
        patience: int = 0,
    ) -> io.NodeOutput:
        """Build the configs, train in the run folder, convert the results."""
        with host.faults_told():
            path, dir_a, dir_b = _folders(folder_a, folder_b, run_name)
            if not resume and ((path / STATE_NAME).exists() or (path / MODEL_NAME).exists()):
                raise FileExistsError(
                    f"The run '{run_name}' exists; turn resume on to go on with it, or choose "
                    "another run_name."
                )
            widgets = {
                "max_steps": steps,
                "max_minutes": max_minutes or None,
                "lambda_identity": lambda_identity,
                "seed": seed,
            }
            before = read_before(path)
            preset = None
            if settings is None:
                preset = auto_preset(before, has_start_model=start_model is not None)
                settings = _settings(preset)
            is_same = dir_a.samefile(dir_b)
            if not is_same:
                names = {"domain_a": dir_a.name, "domain_b": dir_b.name}
                settings = {**settings, "model": names | settings.get("model", {})}
            config, data_config = configs(settings, widgets, image_size)
            if is_same and config.objective != "pix2pix":
                raise ValueError(
                    "folder_a and folder_b are the same; choose one folder per domain."
                )
            data_config = replace(data_config, side_by_side="ab" if is_same else "no")
            if start_model is not None:
                config = replace(config, warmup_steps=0)  # it knows what a preset's teaches
                channels = start_model.config.channels("a_to_b")
                data_config = replace(data_config, channels_a=channels[0], channels_b=channels[1])
            tests = _test_folders(folder_test_a, folder_test_b)
            host.show_text("Reading the pictures …")
            try:
                data = open_folders(
                    config.objective,
                    dir_a,
                    None if is_same else dir_b,
                    data_config,
                    on_file=host.stop_if_cancelled,
                )
            except host.Cancelled:
                host.show_text("Cancelled before the first step; nothing was written.")
                raise
            _check_same_folders(path, before, data)
            with host.training_device() as device:
                session = _Session(path, before, config, data, device, start_model, preset)
                if tests is not None:
                    session.score_on(*tests, every=evaluate_every, patience=patience)
                model, losses, grid, summary = session.run()
        # Without a picture for the page, which would draw it beside the last preview.
        return io.NodeOutput(model, losses, host.to_bhwc(grid[None]), summary)


def _folders(folder_a: str, folder_b: str, run_name: str) -> tuple[Path, Path, Path]:
    """The run's folder, and the folders of both domains.

    Raises:
        ValueError: a name leads elsewhere.
        FileNotFoundError: a domain's folder is not there.
    """
    return host.run_folder(run_name), host.picture_folder(folder_a), host.picture_folder(folder_b)


def _check_same_folders(path: Path, before: dict[str, Any], data: TrainingData) -> None:
    """A style that was learned from other pictures is a poor start, and hardly ever meant.

    Raises:
        ValueError: the run learned from other folders.
    """
    others = other_folders(before, data) if (path / STATE_NAME).exists() else None
    if others is not None:
        now = data.report()
        raise ValueError(
            f"{path.name} learned from the folders {others[0]} and {others[1]}; choose another "
            f"run_name for {now.a.folder} and {now.b.folder}, or delete {path} to begin anew."
        )


def _test_folders(folder_test_a: str, folder_test_b: str) -> tuple[Path, Path] | None:
    """The folders to score on, or None if there are none.

    Raises:
        ValueError: there is one alone, or one has too few pictures.
        FileNotFoundError: one is not there.
    """
    names = {"folder_test_a": folder_test_a, "folder_test_b": folder_test_b}
    if all(name == NONE for name in names.values()):
        return None
    if NONE in names.values():
        raise ValueError(
            "scores need both test folders; choose folder_test_a and folder_test_b, or none of "
            "them."
        )
    for widget, name in names.items():
        count = host.count_pictures(host.picture_folder(name))
        if count < FEWEST_PICTURES:
            raise ValueError(
                f"{widget} '{name}' has {count} pictures, and a score needs at least "
                f"{FEWEST_PICTURES}; add some, or choose {NONE}."
            )
    return host.picture_folder(folder_test_a), host.picture_folder(folder_test_b)


def _settings(preset: str) -> dict[str, dict[str, Any]]:
    """A preset as the settings node would give it."""
    chosen = PRESETS.get(preset)
    if chosen is None:
        return {"train": {}, "model": {}, "data": {}}
    train = dict(chosen.train)
    if chosen.sample_every is not None:
        train["sample_every"] = chosen.sample_every
    return {"train": train, "model": chosen.model, "data": chosen.data}


@dataclass
class _Session:
    """A training from where the run stands to its end, or until the user cancels."""

    path: Path
    before: dict[str, Any]
    """What `run.json` says, if the run goes on."""
    config: TrainConfig
    data: TrainingData
    device: torch.device
    start: CycleGAN | None
    preset: str | None
    """Which was taken because nobody chose settings."""
    evaluation: TrainingEvaluation | None = None

    def score_on(self, test_a: Path, test_b: Path, *, every: int, patience: int) -> None:
        """Score the model as it learns, with features that need nothing installed.

        Raises:
            CycleGANError: the folders can't be compared.
            ValueError: they are the same.
        """
        size = self.data.config.crop_size
        config = EvaluationConfig(extractor="builtin", size=size, max_pictures=_MOST_TEST_PICTURES)
        report = self.data.report()
        # Files that show both domains side by side are no folders to fit colours on.
        is_side_by_side = self.data.config.side_by_side != "no"
        trained = () if is_side_by_side else (report.a.folder, report.b.folder)
        self.evaluation = TrainingEvaluation(
            self.path,
            Evaluator(test_a, test_b, *trained, config=config, device=self.device),
            every=every,
            patience=patience or None,
            on_progress=self._while_scoring,
        )

    def run(self) -> tuple[CycleGAN, dict[str, list[float]], Tensor, str]:
        """Train; whatever ends it, everything learned is saved."""
        started = time.monotonic()
        config, data, device = self.config, self.data, self.device
        trainer = Trainer(config, data, device=device, model=self.start)
        warnings = new_warnings(self.before, self._warnings())
        try:
            with RunFolder(self.path, trainer, evaluation=self.evaluation) as folder:
                first_step = trainer.step
                seconds, told = None, ""
                if first_step < trainer.config.max_steps:
                    host.show_text("Measuring how long a step takes here …")
                    seconds = time_step(config, data, device=device, model=self.start)
                    told = self._estimate(trainer, seconds)
                notes = self._before(trainer, warnings)
                progress = host.TrainProgress(trainer.config.max_steps, notes, told)
                progress.update(
                    first_step, max((self.path / "samples").glob("*.jpg"), default=None)
                )
                pace = Pace(
                    trainer.config.max_steps,
                    warmup=trainer.config.warmup_steps,
                    seconds_per_step=seconds,
                )

                def on_step(report: StepReport) -> None:
                    folder.on_step(report)
                    text = self._line(trainer, pace.on_step(report.step))
                    progress.update(report.step, folder.newest_samples, text)

                try:
                    model = trainer.run(on_step=on_step)
                except host.Cancelled:
                    folder.save()
                    progress.end(trainer.step, folder.newest_samples)
                    host.show_text(
                        f"Cancelled: everything is saved at step {trainer.step:,} of "
                        f"{trainer.config.max_steps:,}, in {self._place}; run again to go on."
                        f"{copying_note(trainer.config, trainer.step)} {self._listed}"
                    )
                    raise
                folder.save()
                progress.end(trainer.step, folder.newest_samples)
                samples = folder.samples()
            summary = self._summary(trainer, first_step, time.monotonic() - started)
            host.show_text(self._end(trainer, first_step))
            return model, _loss_map(trainer), samples, summary
        except FixedSettingError as error:
            change = error.change
            name = "image_size" if change.name == "crop_size" else change.name
            raise ValueError(
                f"{self.path.name} was begun with {name} = {change.before}, not {change.now}; "
                "choose another run_name, or set that again."
            ) from None
        finally:
            trainer.release()

    def _estimate(self, trainer: Trainer, seconds_per_step: float) -> str:
        """How long it will take, before there is a pace to tell it by."""
        config = trainer.config
        copies = max(0, min(config.warmup_steps, config.max_steps) - trainer.step)
        seconds_per_copy = 0.0
        if copies:
            seconds_per_copy = time_step(
                self.config, self.data, device=self.device, model=self.start, is_copying=True
            )
        told = estimate(
            seconds_per_step,
            config.max_steps - trainer.step,
            config,
            image_size=self.data.config.crop_size,
            on_cpu=self.device.type == "cpu",
            max_minutes=config.max_minutes,
            copying=(copies, seconds_per_copy),
        )
        log.info("CycleGAN: %s", told)
        return told

    def _before(self, trainer: Trainer, warnings: Sequence[str]) -> list[str]:
        """What a person should know before the first step, and still read while it runs."""
        config = trainer.config
        notes = [f"It learns {self._way(trainer, '→', ', and the way back')}."]
        if trainer.step < config.max_steps and self.device.type == "cpu" and (note := busy_note()):
            notes.append(note)
        if note := warmup_note(config):
            notes.append(note)
        notes += self._skipped()
        notes += [f"Warning: {text}" for text in warnings]
        for note in notes:
            log.info("CycleGAN: %s", note)
        return [host.shortened(note) for note in notes]

    def _skipped(self) -> list[str]:
        """A sentence about the files of each folder that are no pictures."""
        report = self.data.report()
        return list(filter(None, dict.fromkeys((report.a.left_out(), report.b.left_out()))))

    def _warnings(self) -> list[str]:
        """About the folders."""
        found = list(self.data.report().warnings)
        return found + (self.evaluation.evaluator.notes if self.evaluation else [])

    def _while_scoring(self, done: int, total: int) -> None:
        host.stop_if_cancelled()
        if done == total or done % 10 == 1:
            host.show_text(f"Scoring the model on the test folders: picture {done} of {total}.")

    def _line(self, trainer: Trainer, left: str) -> str:
        """How far it is, in a line or two."""
        parts = [f"Step {trainer.step:,} of {trainer.config.max_steps:,}"]
        if left:
            parts.append(f"{left} left")
        lines = [", ".join(parts)]
        if trainer.step < trainer.config.warmup_steps:
            lines.append(
                f"Learning to copy until step {trainer.config.warmup_steps:,}; the style begins "
                "after it"
            )
        if trainer.history:  # on a GPU some steps old, so that nothing waits for it
            terms = zip(trainer.term_names, trainer.history[-1].tolist(), strict=True)
            terms = ", ".join(f"{kind} {value:.2f}" for kind, value in kinds(terms).items())
            lines.append(f"Losses: {terms}")
        if self.evaluation is not None and self.evaluation.summary():
            lines.append(self.evaluation.summary())
        return "\n".join(f"{line}." for line in lines)  # a page may run them together

    @property
    def _place(self) -> str:
        """The run folder, for people."""
        return host.shortened(str(self.path))

    @property
    def _listed(self) -> str:
        """Where the model is from now on, as a sentence."""
        return f"Load CycleGAN (press R) has the model as {self.path.name}/{MODEL_NAME}."

    def _state(self, trainer: Trainer, first_step: int) -> str:
        """How the training ended, as a clause."""
        if trainer.step < trainer.config.max_steps:
            if self.evaluation is not None and self.evaluation.should_stop:
                return (
                    f"stopped early, for the last {self.evaluation.patience} scores were no "
                    "better; raise patience to go on"
                )
            return "stopped by max_minutes; queue again to go on"
        if trainer.step == first_step:
            return "it was finished before; raise steps to train on"
        return "finished"

    def _end(self, trainer: Trainer, first_step: int) -> str:
        """What stands on the node afterwards."""
        far = f"Step {trainer.step:,}"
        if trainer.step <= trainer.config.max_steps:
            far += f" of {trainer.config.max_steps:,}"
        lines = [
            f"{far}: {self._state(trainer, first_step)}.",
            f"Saved in {self._place}. {self._listed}",
            *self._skipped(),
        ]
        return host.shortened("\n".join([*lines, *self._scores()]))

    def _scores(self) -> list[str]:
        """The last score and the best one, and where that model is."""
        if self.evaluation is None or self.evaluation.best_step is None:
            return []
        return [f"{self.evaluation.summary()}, which is {self.path.name}/{BEST_NAME}."]

    def _way(self, trainer: Trainer, into: str, and_back: str) -> str:
        """What becomes what, in these words."""
        there, *back = trainer.config.trained_directions
        source, target = trainer.config.model.domains(there)
        return f"{source} {into} {target}" + (and_back if back else "")

    def _summary(self, trainer: Trainer, first_step: int, seconds: float) -> str:
        terms = zip(trainer.term_names, trainer.history[-1].tolist(), strict=True)
        presets = {
            "quick": "No settings were connected: the preset quick, which suits a processor.",
            "none": "No settings were connected: those of the paper.",
        }
        found = self.evaluation.last if self.evaluation else None
        paragraphs = [
            f"A model that turns pictures of {self._way(trainer, 'into', ' and back')}. "
            f"Everything is in {self._place}. {self._listed}",
            f"{self.path.name}: step {trainer.step} of {trainer.config.max_steps} "
            f"({self._state(trainer, first_step)}), {duration(seconds)} this time",
            *([presets[self.preset]] if self.preset else []),
            *str(self.data.report()).splitlines(),
            *(self.evaluation.evaluator.notes if self.evaluation else []),
            *self._scores(),
            *(found.summary().splitlines() if found else []),
            "Losses of the last step: " + ", ".join(f"{name} {value:.3f}" for name, value in terms),
        ]
        return host.shortened("\n\n".join(paragraphs))  # Preview Any shows it as Markdown


def _unfinished(path: Path) -> str:
    """The step of a run that stopped before its end, else nothing."""
    file = path / "run.json"
    try:
        run: dict[str, int] = json.loads(file.read_bytes()) if file.is_file() else {}
        return str(run["step"]) if run["step"] < run["max_steps"] else ""
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""  # nothing is there, or nothing that we wrote


def _loss_map(trainer: Trainer) -> dict[str, list[float]]:
    """Every term per step, and the generators' total.

    The built-in graph node divides by the total's range, so two values of it must differ.
    """
    columns = torch.stack(trainer.history).unbind(1)
    terms = dict(zip(trainer.term_names, columns, strict=True))
    generators = [term for name, term in terms.items() if not name.startswith("disc")]
    total: list[float] = torch.stack(generators).sum(0).tolist()
    if len(set(total)) < 2:
        total.append(total[-1] * 1.001 + 1e-6)
    return {TOTAL: total, **{name: term.tolist() for name, term in terms.items()}}
