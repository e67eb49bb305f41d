"""Runs in a folder, and what they left there."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from safetensors import safe_open

from cyclegan_core.evaluation import TrainingEvaluation
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import Trainer

from .tiny import make_config, open_folders


class KilledError(Exception):
    """As good as a kill: nothing is saved on the way out."""


def run(
    path: Path,
    pictures: Path,
    *,
    kill_at: int | None = None,
    evaluation: TrainingEvaluation | None = None,
    **settings,
) -> Trainer:
    """Train in a folder; `kill_at` ends it after that step's callback."""
    trainer = Trainer(make_config(**settings), open_folders(pictures))
    with RunFolder(path, trainer, num_samples=2, evaluation=evaluation) as folder:

        def on_step(report):
            folder.on_step(report)
            if report.step == kill_at:
                raise KilledError

        trainer.run(on_step=on_step)
        folder.save()
    return trainer


def killed(path, pictures, step, **settings):
    with pytest.raises(KilledError):
        run(path, pictures, kill_at=step, **settings)


def link(path: Path, target: Path) -> None:
    """A link, where the system makes some."""
    try:
        path.symlink_to(target)
    except OSError as error:
        pytest.skip(f"this system makes no links: {error}")


def rows(path: Path) -> list[dict[str, str]]:
    with (path / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def files(path: Path) -> dict[str, object]:
    """Everything but what tells the time; weights by what they hold, for their headers' order is
    random."""
    return {
        str(file.relative_to(path)): content(file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in ("run.json", ".lock", ".owner")
    }


def content(file: Path) -> object:
    """Of .safetensors, bytes by name and what the header's JSON means."""
    if file.suffix != ".safetensors":
        return file.read_bytes()
    with safe_open(file, framework="pt") as weights:
        texts = weights.metadata().items()
        parts = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    metadata = {key: json.loads(text) if text[0] in "{[" else text for key, text in texts}
    tensors = {
        name: (str(tensor.dtype), tuple(tensor.shape), tensor.numpy().tobytes())
        for name, tensor in parts.items()
    }
    return metadata | tensors
