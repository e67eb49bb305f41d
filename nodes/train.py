"""Train CycleGAN on Folders: two folders under input/ become a model, in the graph."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..cyclegan_core import CycleGAN
from ..cyclegan_core.config import ModelConfig, TrainConfig
from ..cyclegan_core.data import UnpairedFolders, folders_digest
from ..cyclegan_core.losses import Losses
from ..cyclegan_core.run_folder import MODEL_NAME, STATE_NAME, RunFolder
from ..cyclegan_core.trainer import StepReport, Trainer
from ..cyclegan_core.transforms import DataConfig
from . import host
from .plot import TOTAL
from .train_settings import SettingsType

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
                "Trains a CycleGAN on two folders of pictures under ComfyUI's input folder. The "
                "preview shows, row by row: a, a→b, a→b→a, b, b→a, b→a→b. Cancel keeps everything "
                "learned so far; queue again to go on. Everything lies in output/cyclegan/<run>, "
                "and the model appears in Load CycleGAN."
            ),
            inputs=[*_folder_inputs(), *_length_inputs(), *_optional_inputs()],
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
    def validate_inputs(cls, folder_a: str, folder_b: str, run_name: str) -> bool | str:
        """Say what is wrong with folders and name before anything runs."""
        try:
            host.input_folder(folder_a)
            host.input_folder(folder_b)
            host.run_folder(run_name)
        except (ValueError, FileNotFoundError) as error:
            return str(error)
        if folder_a == folder_b:
            return "folder_a and folder_b are the same; choose one folder per domain."
        return True

    @classmethod
    def fingerprint_inputs(
        cls, folder_a: str, folder_b: str, run_name: str, **_: object
    ) -> tuple[str, ...]:
        """Changed pictures mean more training, and so does a run that is not at its end."""
        digest = folders_digest(host.input_folder(folder_a), host.input_folder(folder_b))
        return digest, _unfinished(host.run_folder(run_name))

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
        path = host.run_folder(run_name)
        if not resume and (path / STATE_NAME).exists():
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
        data = UnpairedFolders(
            host.input_folder(folder_a), host.input_folder(folder_b), data_config
        )
        with host.training_device() as device:
            result = _train(path, config, data, device, start_model)
        model, losses, samples, summary = result
        return io.NodeOutput(model, losses, host.to_bhwc(samples[None]), summary)


def _train(
    path: Path,
    config: TrainConfig,
    data: UnpairedFolders,
    device: torch.device,
    start: CycleGAN | None,
) -> tuple[CycleGAN, dict[str, list[float]], Tensor, str]:
    """Train to the end, or until the user cancels; either way everything is saved."""
    started = time.monotonic()
    trainer = Trainer(config, data, device=device, model=start)
    try:
        with RunFolder(path, trainer) as folder:
            progress = host.TrainProgress(trainer.config.max_steps)

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
        summary = _summary(trainer, path, time.monotonic() - started)
        return model, _loss_map(trainer.history), samples, summary
    finally:
        trainer.release()


def _configs(
    settings: dict[str, dict[str, Any]], widgets: dict[str, Any], image_size: int
) -> tuple[TrainConfig, DataConfig]:
    """The node's own widgets over the settings node's over the defaults."""
    model: dict[str, Any] = {
        "num_blocks": 6 if image_size < 256 else 9,
        **settings.get("model", {}),
        "image_size": image_size,
    }
    precision = "bf16" if host.choose_dtype("auto") == torch.bfloat16 else "fp32"
    train: dict[str, Any] = {"precision": precision, **settings.get("train", {}), **widgets}
    data: dict[str, Any] = {**settings.get("data", {}), "crop_size": image_size}
    data["load_size"] = round(image_size * _LOAD_RATIO)
    return TrainConfig(model=ModelConfig(**model), **train), DataConfig(**data)


def _unfinished(path: Path) -> str:
    """The step of a run that stopped before its end, else nothing."""
    try:
        run: dict[str, int] = json.loads((path / "run.json").read_text(encoding="utf-8"))
        return str(run["step"]) if run["step"] < run["max_steps"] else ""
    except (OSError, ValueError, KeyError):
        return ""


def _loss_map(history: list[Tensor]) -> dict[str, list[float]]:
    """Every term per step, and the generators' total, of which the built-in graph needs two."""
    table = torch.stack(history) if history else torch.zeros(1, len(Losses._fields))
    total = table[:, :6].sum(1).tolist()
    if len(set(total)) < 2:
        total.append(total[-1] * 1.001 + 1e-6)
    terms = {name: table[:, number].tolist() for number, name in enumerate(Losses._fields)}
    return {TOTAL: total, **terms}


def _summary(trainer: Trainer, path: Path, seconds: float) -> str:
    config = trainer.config
    end = "finished" if trainer.step >= config.max_steps else "stopped by max_minutes; queue again"
    lines = [
        f"{path.name}: step {trainer.step} of {config.max_steps} ({end}), "
        f"{seconds / 60:.1f} minutes this time",
        str(trainer.data.report()),
        f"Load CycleGAN has it as {path.name}/{MODEL_NAME}.",
    ]
    if trainer.history:
        terms = zip(Losses._fields, trainer.history[-1].tolist(), strict=True)
        lines.insert(1, ", ".join(f"{name} {value:.3f}" for name, value in terms))
    return "\n".join(lines)


def _folder_inputs() -> list[io.Input]:
    folders = host.input_folders()
    return [
        io.Combo.Input(
            "folder_a",
            options=folders,
            tooltip="Folder under ComfyUI's input with pictures of domain A (press R after adding "
            "one). Some hundred pictures are a good start.",
        ),
        io.Combo.Input(
            "folder_b",
            options=folders,
            tooltip="Folder under ComfyUI's input with pictures of domain B. No pairs are needed.",
        ),
        io.String.Input(
            "run_name",
            default="my_style",
            tooltip="Name of the run: everything goes to output/cyclegan/<run_name>.",
        ),
    ]


def _length_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "steps",
            default=20_000,
            min=1,
            max=10_000_000,
            tooltip="Length of the whole training. A style shows after some thousand steps.",
        ),
        io.Float.Input(
            "max_minutes",
            default=60.0,
            min=0.0,
            max=100_000.0,
            step=1.0,
            tooltip="Stop for now after so many minutes, so that the queue stays usable; queue "
            "again to go on. 0: no limit.",
        ),
        io.Int.Input(
            "image_size",
            default=256,
            min=32,
            max=1024,
            step=4,
            tooltip="Side in pixels of the training crops. The model later takes any size.",
        ),
        io.Float.Input(
            "lambda_identity",
            default=TrainConfig().lambda_identity,
            min=0.0,
            max=10.0,
            step=0.1,
            tooltip="Keeps colours as they are; 0 for domains that look nothing alike.",
        ),
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=0xFFFFFFFF,
            tooltip="Decides the fresh weights and the order of pictures; fixed for a run.",
        ),
        io.Boolean.Input(
            "resume",
            default=True,
            tooltip="Go on with the run of this name if there is one. Off: an existing run is an "
            "error, nothing is ever overwritten.",
        ),
    ]


def _optional_inputs() -> list[io.Input]:
    return [
        SettingsType.Input(
            "settings", optional=True, tooltip="From CycleGAN Train Settings, for experts."
        ),
        host.CycleGANType.Input(
            "start_model",
            optional=True,
            tooltip="A model to start from instead of fresh weights (fine-tuning). It stays as it "
            "is; its network replaces the settings'.",
        ),
    ]
