"""What a user writes against the public names: read by pyright in its strict mode, never run.

Every step that a README snippet takes is here, with what it gives back spelled out as the type that
a reader of the documentation expects.
"""

# ruff: noqa: T201 - a user's script prints

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from cyclegan_core import (
    CheckpointInfo,
    Comparison,
    CycleGAN,
    CycleGANError,
    DataConfig,
    Direction,
    DistillConfig,
    EquivarianceLosses,
    ExportReport,
    Losses,
    ModelConfig,
    PairedFolders,
    PairedLosses,
    Picture,
    Reconstruction,
    RunFolder,
    StepReport,
    TrainConfig,
    Trainer,
    UnpairedFolders,
    __version__,
    distill,
    export_model,
    inspect_checkpoint,
    load_model,
    read_picture,
    save_model,
    write_picture,
)
from cyclegan_core.evaluation import evaluate


def told(done: int, total: int) -> None:
    print(f"{done} of {total}")


def on_step(report: StepReport) -> None:
    losses: Losses | EquivarianceLosses | PairedLosses = report.losses
    step: int = report.step
    rate: float = report.lr
    print(step, report.num_steps, rate, losses)


def translate(path: Path) -> Tensor:
    model: CycleGAN = load_model("photo2monet")
    directions: tuple[Direction, ...] = model.directions
    config: ModelConfig = model.config
    picture: Picture = read_picture(path)
    result: Tensor = model.translate(
        picture.pixels[None], directions[0], memory="auto", on_progress=told
    )
    write_picture("painting.png", result[0], alpha=picture.alpha)
    there_and_back: Reconstruction = model.reconstruct(picture.pixels[None])
    print(__version__, config.norm, there_and_back.fake, there_and_back.error)
    return there_and_back.rec


def train(photos: Path, paintings: str) -> CycleGAN:
    folders = UnpairedFolders(photos, paintings, DataConfig(crop_size=128))
    trainer = Trainer(TrainConfig(max_steps=20_000), folders, device="cuda")
    with RunFolder("runs/monet", trainer) as run:
        model: CycleGAN = trainer.run(on_step=run.on_step)
        run.save()
    Trainer(TrainConfig(), PairedFolders(photos, paintings), model=model).run(on_step=on_step)
    save_model(model, "model.safetensors", source={"data": "mine"})
    return model


def hand_on(model: CycleGAN) -> None:
    report: ExportReport = export_model(model, "model.onnx", "a_to_b", half=True)
    comparison: Comparison = distill(
        model, "photos", Path("student.safetensors"), config=DistillConfig(), on_pair=told
    )
    info: CheckpointInfo = inspect_checkpoint("student.safetensors")
    print(report.path, report.largest_error, comparison, info)
    found = evaluate(model, "test/facades", "test/labels", paired=True)
    print(found.score("PSNR"), found.summary(), found.to_dict())


def main() -> int:
    try:
        hand_on(train(Path("photos"), "paintings"))
    except CycleGANError as error:
        print(error)
        return 1
    return 0
