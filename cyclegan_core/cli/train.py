"""`cyclegan train`: two folders of pictures in, a run folder with a model out."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ..config import DataConfig, EvaluationConfig, TrainConfig
from ..errors import reason
from ..files import is_on_network, read_text
from ..hub.repository import PREFIX
from ..training.presets import PRESETS
from ..validation import check_data_folder, check_int
from .common import Lines, StopSignals, choose_device, find_with_bar, optional, print_text

if TYPE_CHECKING:
    import torch

    from ..evaluation.training_evaluation import TrainingEvaluation
    from ..runs.logs import TensorBoardLog
    from ..runs.run_folder import RunFolder
    from ..runs.trackers import TrackerLog
    from ..training.trainer import StepReport, Trainer

_ADVICE = "\n\n".join(f"{name}: {preset.advice}" for name, preset in PRESETS.items())
_HOW_LONG = " On one core of a processor 2000 steps of quick take some 20 minutes."

_Run = dict[str, Any]
"""What run.json says."""

_PRESETS = ("none", *PRESETS)
if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = tyro.extras.literal_type_from_choices(_PRESETS)
Tracker = Literal["none", "trackio", "wandb"]


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a CycleGAN on two folders of pictures, or pix2pix on pairs of them.

    To go on with a run: cyclegan train --run DIR; what is not named is as it was.

    Data-parallel: torchrun --nproc-per-node 2 -m -- cyclegan_core.cli train ...
    """

    dir_a: tyro.conf.Positional[Annotated[Path | None, optional("DIR_A")]] = None
    """Folder with domain A's pictures; searched through. To be left out to go on with a run."""
    dir_b: tyro.conf.Positional[Annotated[Path | None, optional("DIR_B")]] = None
    """Folder with domain B's pictures; searched through. To be left out with --side-by-side."""
    run_dir: Annotated[Path, tyro.conf.arg(name="run", metavar="DIR")]
    """Run folder: samples, losses, state and model."""
    preset: Annotated[
        PresetName,
        tyro.conf.arg(
            help="Starting point; the other options go before it.\n\n" + _ADVICE + _HOW_LONG,
        ),
    ] = "none"
    start: Annotated[str | None, optional("MODEL")] = None
    """A model to start from instead of fresh weights (fine-tuning): a file or a bundled name; its
    networks replace the model options."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """A torch device such as cpu, cuda, mps; auto takes a GPU if there is one."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a line of JSON every 10 steps and at the end instead of progress for people."""
    tensorboard: bool = False
    """Log to RUN/tensorboard as well (extra tensorboard)."""
    tracker: Tracker = "none"
    """Log to a tracker as well (extra trackio, or wandb): trackio to this machine's database,
    wandb offline into RUN/wandb; neither uses the network unless your own settings of it say so."""
    test_a: Annotated[Path | None, optional("DIR")] = None
    """Folder with held-out pictures of domain A, to score the model on as it learns (extra eval):
    RUN/scores.csv has the scores, RUN/best.safetensors the best model."""
    test_b: Annotated[Path | None, optional("DIR")] = None
    """Folder with held-out pictures of domain B."""
    evaluate_every: Annotated[int, tyro.conf.arg(metavar="STEPS")] = 0
    """Steps from one evaluation on the test folders to the next; 0: none."""
    patience: Annotated[int | None, optional("COUNT")] = None
    """Stop after so many evaluations in a row without a new best; never if not given."""
    metric: Annotated[str | None, optional("NAME")] = None
    """The score that decides what is best: KID or FID; PSNR, SSIM, L1 or "perceptual distance" of
    pairs. By default KID, or the perceptual distance."""
    config: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)
    """The training."""
    data: Annotated[DataConfig, tyro.conf.arg(name="")] = field(default_factory=DataConfig)
    """How pictures become training samples."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How the test folders are compared."""

    def run(self) -> int:
        """Train until the end, or until interrupted; returns the exit code."""
        # What can be wrong with the options is said before anything slow is imported.
        before = read_run(self.run_dir)
        self._check_evaluation()
        self._check_folders(before)
        self._check_image_size(before)
        start = find_with_bar(self.start, hidden=True) if self.start else None
        with _process_group() as device:
            return self._train(device or choose_device(self.device), start, before)

    def _check_image_size(self, before: _Run | None) -> None:
        """Nothing that is asked for is passed over: a model's size is that of its crops."""
        told = (TrainConfig.from_dict(before["config"]) if before else TrainConfig()).model
        if self.config.model.image_size not in (told.image_size, self.data.crop_size):
            raise ValueError(
                "--model.image-size follows from --crop-size, the side of what is learned from; "
                f"give --crop-size {self.config.model.image_size} instead."
            )

    def _check_folders(self, before: _Run | None) -> None:
        """Whether one or two folders are given, as the objective and the pictures want it."""
        if self.dir_a is None:
            problem = (
                f"there is no run in {self.run_dir} to go on with; to begin one, name two folders"
                if before is None
                else f"the run in {self.run_dir} does not say what it learns from; name the folders"
            )
            raise ValueError(
                f"{problem} of pictures: cyclegan train DIR_A DIR_B --run {self.run_dir}."
            )
        is_side_by_side = self.data.side_by_side != "no"
        if is_side_by_side and self.config.objective != "pix2pix":
            raise ValueError(
                "--side-by-side pictures are pairs, from which --objective pix2pix learns; give "
                "that too, or two folders."
            )
        if is_side_by_side == (self.dir_b is not None):
            raise ValueError(
                "with --side-by-side the files of DIR_A have both domains; leave DIR_B out."
                if is_side_by_side
                else "DIR_B is missing: name the folder of domain B's pictures too."
            )
        for folder, domain in ((self.dir_a, "A"), (self.dir_b, "B")):
            if folder is not None:
                check_data_folder(folder, domain)

    def _check_evaluation(self) -> None:
        """What the evaluation's options need of each other."""
        check_int("evaluate_every", self.evaluate_every, least=0)
        if self.patience is not None:
            check_int("patience", self.patience, least=1)
        is_side_by_side = self.evaluation.side_by_side != "no"
        if is_side_by_side and self.test_b is not None:
            raise ValueError(
                "with --evaluation.side-by-side the files of --test-a have both domains; leave "
                "--test-b out."
            )
        given = [self.test_a is not None, self.test_b is not None, self.evaluate_every > 0]
        given[1] |= is_side_by_side and self.test_a is not None
        if any(given) and not all(given):
            raise ValueError(
                "an evaluation during the training needs --test-a, --test-b and --evaluate-every; "
                "give all three, or none."
            )
        if (self.patience is not None or self.metric is not None) and not any(given):
            raise ValueError(
                "--patience and --metric are about an evaluation during the training; give "
                "--test-a, --test-b and --evaluate-every as well, or leave them out."
            )
        for folder, domain in ((self.test_a, "A"), (self.test_b, "B")):
            if folder is not None:
                check_data_folder(folder, domain)

    def _command(self) -> dict[str, Any]:
        """What run.json keeps beside the settings, as it was typed, for `defaults`."""
        kept = {name: getattr(self, name) for name in _KEPT}
        kept["evaluation_settings"] = asdict(self.evaluation)
        values: dict[str, Any] = json.loads(json.dumps(kept, default=str))  # of paths
        return values

    def _check_changes(self, trainer: Trainer, before: _Run | None) -> None:
        """Name the folders or the options that differ from the run's and can't."""
        from ..runs.beginning import other_folders
        from ..runs.run_folder import STATE_NAME
        from ..training.state_file import setting_changes

        if before is None or not (self.run_dir / STATE_NAME).exists():
            return
        # On other machines the same pictures may lie elsewhere.
        others = other_folders(before, trainer.data) if trainer.rank == 0 else None
        if others is not None:
            report = trainer.data.report()
            raise ValueError(
                f"the run {self.run_dir} learned from the folders {others[0]} and {others[1]}; "
                f"name another --run for {report.a.folder} and {report.b.folder}, or delete "
                f"{self.run_dir} to begin anew."
            )
        config = TrainConfig.from_dict(before["config"]).to_dict()  # with settings newer than it
        data = before.get("data", {}).get("config", {})
        for change in setting_changes(config, data, trainer.config, trainer.data.config):
            flag = "--model." if change.part == "model" else "--"
            flag += change.name.replace("_", "-")
            if change.is_fixed:
                raise ValueError(
                    f"{flag} is {change.before} in the run {self.run_dir}, not {change.now}; leave "
                    f"{flag} out, or name another run folder."
                )

    def _train(self, device: torch.device, start_path: Path | None, before: _Run | None) -> int:
        from ..data.paired_folders import open_folders
        from ..device.distributed import rank_and_world_size
        from ..model import load_model
        from ..runs.beginning import new_warnings
        from ..runs.pace import copying_note, warmup_note
        from ..runs.run_folder import MODEL_NAME, RunFolder
        from ..training.trainer import Trainer

        level = logging.INFO if rank_and_world_size()[0] == 0 else logging.ERROR
        logging.getLogger("cyclegan_core").setLevel(level)
        assert self.dir_a is not None
        data = open_folders(self.config.objective, self.dir_a, self.dir_b, self.data)
        start = load_model(start_path) if start_path else None
        model = replace(self.config.model, image_size=self.data.crop_size)
        trainer = Trainer(replace(self.config, model=model), data, device=device, model=start)
        self._check_changes(trainer, before)
        console = Console(stderr=True, quiet=self.json or trainer.rank > 0)
        report = data.report()
        untold = new_warnings(before or {}, report.warnings)
        print_text(console, str(replace(report, warnings=untold)))
        evaluation = self._evaluation(device) if trainer.rank == 0 else None
        with (
            RunFolder(
                self.run_dir, trainer, evaluation=evaluation, command=self._command()
            ) as folder,
            _Stop(trainer, console) as stop,
        ):
            first, num_steps = trainer.step, trainer.config.max_steps
            if first > num_steps:
                raise ValueError(
                    f"the run in {self.run_dir} has done {first} steps, more than --max-steps "
                    f"{num_steps}; name a larger number, or another run folder."
                )
            note = warmup_note(trainer.config)
            if note and first < min(trainer.config.warmup_steps, num_steps):
                print_text(console, f"Warning: {note}")
            with (
                self._boards(trainer) as boards,
                _progress(console) as progress,
                suppress(_StoppedError),
            ):
                trainer.run(on_step=self._watch(folder, boards, progress, stop))
            folder.save()
        if evaluation is not None and evaluation.best_step is not None:
            from ..evaluation.training_evaluation import BEST_NAME

            best = f"{evaluation.summary()}, which is {self.run_dir / BEST_NAME}."
            print_text(console, best)
        if trainer.step < num_steps and evaluation is not None and evaluation.should_stop:
            text = (
                f"Stopped early after step {trainer.step} of {num_steps}: the last "
                f"{evaluation.patience} evaluations were no better; a larger --patience goes on."
            )
        elif trainer.step < num_steps:
            text = (
                f"Stopped after step {trainer.step} of {num_steps}; "
                f"`cyclegan train --run {self.run_dir}` goes on."
                f"{copying_note(trainer.config, trainer.step)}"
            )
        else:
            made = self.run_dir / MODEL_NAME
            text = f"{made} is ready."
            if first == num_steps:
                text += f" All {num_steps} steps were done before; a larger --max-steps goes on."
            text += f"\nTo use it: cyclegan translate PICTURE -m {shlex.quote(str(made))}"
            if folder.newest_samples is not None:
                text += f"\nWhat it makes of the samples: {folder.newest_samples}"
        print_text(console, text)
        return 130 if stop.is_done else 0

    def _training_folders(self) -> tuple[Path | None, Path | None]:
        """What an evaluation fits its floors on: folders like those that it tests with."""
        if self.data.side_by_side == self.evaluation.side_by_side:
            return self.dir_a, self.dir_b
        return None, None

    def _evaluation(self, device: torch.device) -> TrainingEvaluation | None:
        """What scores the model on the test folders, if that is wanted."""
        if self.test_a is None:
            return None
        from ..evaluation.evaluator import Evaluator
        from ..evaluation.training_evaluation import TrainingEvaluation

        return TrainingEvaluation(
            self.run_dir,
            Evaluator(
                self.test_a, self.test_b, *self._training_folders(), self.evaluation, device=device
            ),
            every=self.evaluate_every,
            patience=self.patience,
            metric=self.metric,
        )

    @contextmanager
    def _boards(self, trainer: Trainer) -> Generator[list[TensorBoardLog | TrackerLog]]:
        """What else hears of steps and scores."""
        from ..runs.logs import TensorBoardLog
        from ..runs.trackers import TrackerLog

        boards: list[TensorBoardLog | TrackerLog] = []
        with ExitStack() as stack:
            if self.tensorboard and trainer.rank == 0:
                boards.append(stack.enter_context(closing(TensorBoardLog(self.run_dir))))
            if self.tracker != "none" and trainer.rank == 0:
                settings = trainer.config.to_dict() | {"data": asdict(trainer.data.config)}
                tracker = TrackerLog(self.tracker, self.run_dir, settings)
                boards.append(stack.enter_context(closing(tracker)))
            yield boards

    def _watch(
        self,
        folder: RunFolder,
        boards: Sequence[TensorBoardLog | TrackerLog],
        progress: Progress,
        stop: _Stop,
    ) -> Callable[[StepReport], None]:
        """What happens after each step; losses are told when the trainer has read them."""
        from ..runs.pace import Pace
        from ..training.losses import as_losses

        trainer, evaluation = folder.trainer, folder.evaluation
        warmup = trainer.config.warmup_steps
        pace = Pace(trainer.config.max_steps, warmup=warmup)
        lines = Lines(progress.console, at_once=True)
        task = progress.add_task(
            "", total=trainer.config.max_steps, completed=trainer.step, left=""
        )
        untold: list[StepReport] = []

        left = ""

        def tell(report: StepReport) -> None:
            is_newest = report.step == trainer.step
            for board in boards:
                board.on_step(report, folder.newest_samples if is_newest else None)
            if not self.json:
                progress.update(task, description=_line(report, warmup))
                if lines.is_due(is_last=report.step == report.num_steps):
                    far = f"step {report.step} of {report.num_steps}"
                    if left and report.step < report.num_steps:
                        far += f", {left} left"
                    lines.tell(f"{far}: {_line(report, warmup)}")
            elif report.step % 10 == 0 or report.step == report.num_steps:
                sys.stdout.write(json.dumps(_values(report)) + "\n")
                sys.stdout.flush()

        def on_step(report: StepReport) -> None:
            before = evaluation and evaluation.last
            folder.on_step(report)
            found = evaluation and evaluation.last
            scores = found.scalars() if found is not None and found is not before else None
            if evaluation is not None and scores is not None:
                if self.json:
                    sys.stdout.write(json.dumps({"step": report.step, "scores": scores}) + "\n")
                    sys.stdout.flush()
                else:
                    progress.console.print(evaluation.summary(), markup=False, highlight=False)
            nonlocal left
            left = pace.on_step(report.step)
            progress.update(task, completed=report.step, left=left and f"{left} left")
            untold.append(report)
            if trainer.rank == 0 and not trainer.unread:
                for each in untold:
                    losses = as_losses(trainer.config, trainer.history[each.step - 1])
                    tell(replace(each, losses=losses))
                untold.clear()
            if scores is not None:  # after its steps, for trackers take none that is earlier
                for board in boards:
                    board.on_scores(report.step, scores)
            stop.check()

        return on_step


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


_KEPT: dict[str, Callable[[object], bool]] = {
    "dir_a": _is_text,
    "dir_b": _is_text,
    "preset": lambda value: value in _PRESETS,
    "start": _is_text,
    "tensorboard": lambda value: isinstance(value, bool),
    "tracker": lambda value: value in get_args(Tracker),
    "test_a": _is_text,
    "test_b": _is_text,
    "evaluate_every": lambda value: type(value) is int,
    "patience": lambda value: value is None or type(value) is int,
    "metric": _is_text,
}
"""Options of the command that run.json keeps beside all settings, and what they may be there."""
_PATHS = ("dir_a", "dir_b", "test_a", "test_b")


def defaults(argv: Sequence[str]) -> Train | None:
    """The options' defaults: of the run that `argv` names, else under its preset.

    Raises:
        ValueError: the run can't be read, or another preset is named than it has.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")
    parser.add_argument("--run", nargs="?")
    parser.add_argument("--start", nargs="?")
    found = parser.parse_known_args(argv)[0]
    run = read_run(Path(found.run)) if found.run else None
    if run is not None:
        return _as_before(Path(found.run), run, found.preset, found.start)
    preset = PRESETS.get(found.preset)
    if preset is None:
        return None  # "none", or tyro will say what is wrong with it
    train = dict(preset.train)
    if preset.max_steps is not None:
        train["max_steps"] = preset.max_steps
    if preset.sample_every is not None:
        train["sample_every"] = preset.sample_every
    if found.start:
        train["warmup_steps"] = 0  # its networks know what a warm-up teaches
    config = TrainConfig(**train)
    return Train(
        run_dir=tyro.MISSING,
        preset=found.preset,
        config=replace(config, model=replace(config.model, **preset.model)),
        data=DataConfig(**preset.data),
    )


def read_run(folder: Path) -> _Run | None:
    """What run.json of a run says; None if there is no such file.

    Raises:
        ValueError: it can't be read.
    """
    path = folder / "run.json"
    try:
        run = json.loads(read_text(path))
        TrainConfig.from_dict(run["config"])  # whose errors say which setting is unknown
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    return run


_UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)
"""What reading a run.json raises in which something else stands than this command writes."""


def _unreadable(path: Path, error: BaseException) -> ValueError:
    return ValueError(
        f"{path} can't be read ({reason(error).rstrip('.')}); delete it, and name the run's "
        "settings once more."
    )


def _as_before(folder: Path, run: _Run, preset: str | None, start: str | None) -> Train:
    """The options that a run has been trained with.

    Raises:
        ValueError: it has another preset, or options that there are not; or it would have a model
            fetched that nobody named.
    """
    try:
        before = _kept_options(folder, run)
    except _UNREADABLE as error:
        raise _unreadable(folder / "run.json", error) from None
    if preset is not None and preset != before.preset:
        raise ValueError(
            f"--preset is {before.preset} in the run {folder}, not {preset}; leave --preset out, "
            "or name another run folder."
        )
    is_elsewhere = before.start is not None and _leads_to_network(before.start)
    if is_elsewhere and start is None:
        raise ValueError(
            f"the run in {folder} began with the model {before.start}, and nothing is fetched that "
            "was not asked for; name it, or another one, with --start."
        )
    return before


def _leads_to_network(name: str) -> bool:
    return name.startswith(PREFIX) or is_on_network(name)


def _kept_options(folder: Path, run: _Run) -> Train:
    """The same, of a folder that may be a stranger's: nothing is taken that the command refuses.

    Nor are folders of other computers, which have to be named anew.
    """
    command: dict[str, Any] = run.get("command", {})
    kept: dict[str, Any] = {name: command[name] for name in _KEPT if name in command}
    wrong = [name for name, value in kept.items() if not _KEPT[name](value)]
    if wrong:
        raise ValueError(f"{wrong[0]} is {kept[wrong[0]]!r}")
    paths = {name: kept.pop(name) for name in _PATHS if kept.get(name) is not None}
    kept |= {name: Path(path) for name, path in paths.items() if not is_on_network(path)}
    if (folder / "state.safetensors").exists():
        kept["start"] = None  # its networks have become the state's
    data: dict[str, Any] = dict(run.get("data", {}).get("config", {}))
    if "background" in data:
        data["background"] = tuple(data["background"])
    how: dict[str, Any] = dict(command.get("evaluation_settings", {}))
    if weights := how.pop("inception_weights", None):
        how |= {} if is_on_network(weights) else {"inception_weights": Path(weights)}
    return Train(
        **kept,
        run_dir=tyro.MISSING,
        config=TrainConfig.from_dict(run["config"]),
        data=DataConfig(**data),
        evaluation=EvaluationConfig(**how),
    )


@contextmanager
def _process_group() -> Generator[torch.device | None]:
    """Join the other ranks when `torchrun` started us; the device is then the rank's own GPU."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield None
        return
    import torch
    import torch.distributed as dist

    from ..device.distributed import losing_others, own_meeting_place

    has_gpus = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if has_gpus else None
    if device is not None:
        torch.cuda.set_device(device)
    # With both, what is no tensor goes over the CPU: pools need not fit into a GPU's memory.
    with losing_others():
        backend = "cpu:gloo,cuda:nccl" if has_gpus else "gloo"
        dist.init_process_group(backend, **own_meeting_place())
        try:
            yield device or torch.device("cpu")
        finally:
            dist.destroy_process_group()


class _StoppedError(Exception):
    """Ends the training between two steps, to be saved."""


class _Stop(StopSignals):
    """Remembers a Ctrl-C until the step is complete.

    A second one does not wait, and saves nothing: half a step is no state. Ranks do wait, for each
    other; who can't has `torchrun` to end them.
    """

    def __init__(self, trainer: Trainer, console: Console) -> None:
        self.trainer = trainer
        self.console = console
        self.is_asked = self.is_done = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked and self.trainer.world_size == 1:
            raise KeyboardInterrupt
        if not self.is_asked:
            again = "; once more stops at once" if self.trainer.world_size == 1 else ""
            self.console.print(f"Stopping after this step{again}.")
        self.is_asked = True

    def check(self) -> None:
        """Between two steps: raise if some rank was asked to stop."""
        from ..device.distributed import any_rank

        trainer = self.trainer
        if trainer.is_time_to_agree and any_rank(self.is_asked, trainer.device):
            self.is_done = True
            raise _StoppedError


def _progress(console: Console) -> Progress:
    """A bar, if there is a terminal; in a narrow one the losses are cut, and never the numbers."""
    whole = Column(no_wrap=True)
    return Progress(
        BarColumn(bar_width=8),
        TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=whole),
        TextColumn("{task.fields[left]}", table_column=whole),
        TextColumn("{task.description}", table_column=Column(overflow="ellipsis", max_width=50)),
        console=console,
        disable=not console.is_terminal,
    )


def _values(report: StepReport) -> dict[str, float]:
    from ..training.losses import by_name

    terms = {name: round(float(term), 5) for name, term in by_name(report.losses).items()}
    return {"step": report.step, "lr": report.lr, **terms}


def _line(report: StepReport, warmup: int) -> str:
    """The losses; in the first `warmup` steps the identity terms alone."""
    from ..training.losses import by_name

    sums: dict[str, float] = {}
    for name, term in by_name(report.losses).items():
        kind = name.partition("_")[0]  # gan, cycle, … of both domains together
        sums[kind] = sums.get(kind, 0.0) + float(term)
    if report.step <= warmup:
        return f"learning to copy until step {warmup}: identity {sums['identity']:.2f}"
    return " ".join(f"{kind} {value:.2f}" for kind, value in sums.items())
