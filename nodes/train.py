"""Train CycleGAN on Folders: two folders under input/ become a model, in the graph."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..cyclegan_core import CycleGAN
from ..cyclegan_core.config import DataConfig, ModelConfig, TrainConfig
from ..cyclegan_core.data import TrainingData, folders_digest, open_folders
from ..cyclegan_core.device import NAMES
from ..cyclegan_core.runs import MODEL_NAME, STATE_NAME, RunFolder
from ..cyclegan_core.training import StepReport, Trainer
from . import host
from .plot import TOTAL
from .train_inputs import train_inputs

_LOAD_RATIO = 286 / 256
"""The paper's: pictures are made a little larger than the crop."""


class TrainCycleGAN(io.ComfyNode):
    """Watch it learn, stop it, queue it again to go on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Re-run whenever the page asks for the nodes, so the R key finds new folders."""
        return io.Schema(
            node_id="CycleGAN_Train",
            display_name="Train CycleGAN on Folders",
            category=host.CATEGORY,
            description=(
                "Trains a CycleGAN on two folders of pictures under ComfyUI's input (or output) "
                "folder. The preview shows, row by row: a, a→b, a→b→a, b, b→a, b→a→b. Cancel keeps "
                "everything learned so far; queue again to go on. Everything lies in "
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
        cls, folder_a: str | None, folder_b: str | None, run_name: str | None
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
    ) -> io.NodeOutput:
        """Build the configs, train in the run folder, convert the results."""
        path, dir_a, dir_b = _folders(folder_a, folder_b, run_name)
        is_same = dir_a.samefile(dir_b)
        if not resume and ((path / STATE_NAME).exists() or (path / MODEL_NAME).exists()):
            raise FileExistsError(
                f"The run '{run_name}' exists; turn resume on to go on with it, or choose another "
                "run_name."
            )
        widgets = {
            "max_steps": steps,
            "max_minutes": max_minutes or None,
            "lambda_identity": lambda_identity,
            "seed": seed,
        }
        config, data_config = _configs(settings or {}, widgets, image_size)
        if is_same and config.objective != "pix2pix":
            raise ValueError("folder_a and folder_b are the same; choose one folder per domain.")
        data_config = replace(data_config, side_by_side="ab" if is_same else "no")
        if start_model is not None:
            channels = start_model.config.channels("a_to_b")
            data_config = replace(data_config, channels_a=channels[0], channels_b=channels[1])
        data = open_folders(
            config.objective,
            dir_a,
            None if is_same else dir_b,
            data_config,
            on_file=host.stop_if_cancelled,
        )
        with host.training_device() as device:
            model, losses, grid, summary = _train(path, config, data, device, start_model)
        samples = host.to_bhwc(grid[None])
        return io.NodeOutput(model, losses, samples, summary, ui=ui.PreviewImage(samples))


def _folders(folder_a: str, folder_b: str, run_name: str) -> tuple[Path, Path, Path]:
    """The run's folder, and the folders of both domains.

    Raises:
        ValueError: a name leads elsewhere.
        FileNotFoundError: a domain's folder is not there.
    """
    return host.run_folder(run_name), host.picture_folder(folder_a), host.picture_folder(folder_b)


def _train(
    path: Path,
    config: TrainConfig,
    data: TrainingData,
    device: torch.device,
    start: CycleGAN | None,
) -> tuple[CycleGAN, dict[str, list[float]], Tensor, str]:
    """Train to the end, or until the user cancels; either way everything is saved."""
    started = time.monotonic()
    trainer = Trainer(config, data, device=device, model=start)
    try:
        with RunFolder(path, trainer) as folder:
            first_step = trainer.step
            progress = host.TrainProgress(trainer.config.max_steps)
            progress.update(first_step, max((path / "samples").glob("*.jpg"), default=None))

            def on_step(report: StepReport) -> None:
                folder.on_step(report)
                progress.update(report.step, folder.newest_samples)

            try:
                model = trainer.run(on_step=on_step)
            except host.Cancelled:
                folder.save()
                raise
            folder.save()
            samples = folder.samples()
        summary = _summary(trainer, path, first_step, time.monotonic() - started)
        return model, _loss_map(trainer), samples, summary
    finally:
        trainer.release()


def _configs(
    settings: dict[str, dict[str, Any]], widgets: dict[str, Any], image_size: int
) -> tuple[TrainConfig, DataConfig]:
    """The settings node's over the node's own widgets over the defaults.

    The two nodes share no widget; only a preset says something about one of Train's.
    """
    model: dict[str, Any] = {
        "num_blocks": 6 if image_size < 256 else 9,
        **settings.get("model", {}),
        "image_size": image_size,
    }
    precision = NAMES[host.gpu_dtype()]
    train: dict[str, Any] = {"precision": precision, **widgets, **settings.get("train", {})}
    data: dict[str, Any] = {**settings.get("data", {}), "crop_size": image_size}
    # Crops of several scales need pictures with room for the largest.
    data["load_size"] = round(image_size * max(_LOAD_RATIO, data.get("scales", 1.0)))
    return TrainConfig(model=ModelConfig(**model), **train), DataConfig(**data)


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


def _summary(trainer: Trainer, path: Path, first_step: int, seconds: float) -> str:
    last = trainer.config.max_steps
    if trainer.step < last:
        end = "stopped by max_minutes; queue again to go on"
    elif trainer.step == first_step:
        end = "it was finished before; raise steps to train on"
    else:
        end = "finished"
    terms = zip(trainer.term_names, trainer.history[-1].tolist(), strict=True)
    return "\n\n".join(  # Preview Any shows it as Markdown
        [
            f"{path.name}: step {trainer.step} of {last} ({end}), "
            f"{seconds / 60:.1f} minutes this time",
            ", ".join(f"{name} {value:.3f}" for name, value in terms),
            *str(trainer.data.report()).splitlines(),
            f"Load CycleGAN has it as {path.name}/{MODEL_NAME}.",
        ]
    )
