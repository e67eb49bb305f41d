"""From a teacher and a folder of pictures to the student's file.

The student begins as a part of its teacher (`start`), and then learns by paired training (Isola
et al. 2017) without the adversarial term: L1 to what the teacher makes of the same crop, and a
light term on ImageNet's features (Zhang et al. 2018), which keeps detail. The idea of a student is
Hinton et al. 2015's; for generators, Li et al. 2020 ("GAN Compression").
"""

from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from ..config import DataConfig, Direction, DistillConfig, ModelConfig, TrainConfig
from ..data.paired_folders import PairedFolders
from ..device.precision import DTYPES
from ..errors import CheckpointError, CycleGANError, reason
from ..files import check_links, is_inside
from ..model import CycleGAN, load_model, save_model
from ..networks import ResnetGenerator
from ..pictures.picture import read_picture
from ..progress import OnProgress, ignore
from ..runs.run_folder import RunFolder
from ..training.trainer import OnStep, StepReport, Trainer
from .comparison import Comparison, compare
from .pairs import Source, make_pairs, weights_digest
from .start import part_of

WORK_SUFFIX = ".distill"
"""Of the folder beside the student's file where pairs and training are kept."""

_START_PAIRS = 32
"""Crops that the start is fitted on."""


@torch.inference_mode(mode=False)  # a host may have it on
def distill(  # noqa: PLR0913 - of what, on what, to where, how
    teacher: CycleGAN,
    pictures: str | Path,
    out: str | Path,
    *,
    direction: Direction = "a_to_b",
    config: DistillConfig | None = None,
    work: str | Path | None = None,
    teacher_name: str = "",
    license: str = "",
    precision: Literal["fp32", "bf16", "fp16"] = "fp32",
    on_pair: OnProgress = ignore,
    on_step: OnStep = ignore,
    on_compare: OnProgress = ignore,
) -> Comparison:
    """Teach a small student what `teacher` does to pictures like those in a folder.

    The teacher's outputs and the training stay in `work`: the same call goes on where an earlier
    one was stopped, and ends with the same student.

    Args:
        teacher: any model, on the device that is to work.
        pictures: a folder with pictures of the kind that will be translated; searched through.
        out: the file to write, which ends in .safetensors; an existing one is replaced.
        direction: which of the teacher's directions the student learns; it has this one alone.
        config: the student's size, and how it learns.
        work: the folder for pairs and training; by default `out` with the ending .distill.
        teacher_name: what the teacher is called, for the student's header.
        license: the licence of the teacher's weights, for the header: the student derives from
            them.
        precision: number format of the convolutions of both, "fp32", "bf16" or "fp16".
        on_pair: called after each crop that the teacher has translated.
        on_step: called after each step of the training, which it ends by raising; the same call
            goes on then.
        on_compare: called after each picture that was held out and is compared.

    Returns:
        How close and how fast the student is.

    Raises:
        ValueError: a setting is wrong, or the student would be larger than its teacher.
        MissingDirectionError: the teacher does not translate in `direction`.
        DatasetError: the folder has no pictures, or too few.
        CheckpointError: the file can't be written.
        CycleGANError: the work folder can't be used, links lead out of it, it lies among the
            pictures, or it belongs to another distillation.
        TrainingDivergedError: see `Trainer.read`.
    """
    config, out = config or DistillConfig(), Path(out)
    work = out.with_suffix(WORK_SUFFIX) if work is None else Path(work)
    device = next(teacher.parameters()).device
    dtype = None if precision == "fp32" else DTYPES[precision]
    student_config = _student_config(teacher, direction, config)
    check_target(out)
    _check_work(work, Path(pictures))
    source = Source(Path(pictures), config, teacher.config.channels(direction)[0])

    # How it learns; settings that don't fit are refused before the teacher works.
    training = TrainConfig(
        model=replace(student_config, image_size=teacher.config.image_size),
        objective="pix2pix",
        directions=direction,
        lambda_gan=0.0,
        discriminator="pixel",  # there is none; but another would ask for larger crops
        lambda_l1=1.0,
        lambda_features=config.lambda_features,
        lr=config.lr,
        beta1=0.9,
        beta2=0.99,
        schedule="cosine",
        constant_fraction=0.0,
        lr_interval=1,
        grad_clip=1.0,
        batch_size=config.batch_size,
        precision=precision,
        max_steps=config.max_steps,
        save_every=config.save_every,
        sample_every=config.save_every,
        seed=config.seed,
    )

    # The teacher's part, once.
    inputs, outputs = make_pairs(
        work / "pairs", source, teacher, direction, config, dtype=dtype, on_progress=on_pair
    )
    start = _start(work / "start.safetensors", teacher, direction, config, inputs, dtype)

    # The student's part: paired training without a discriminator.
    folders = (inputs, outputs) if direction == "a_to_b" else (outputs, inputs)
    data = PairedFolders(
        *folders,
        DataConfig(
            preprocess="crop",
            crop_size=config.crop_size,
            flip=False,  # a mirrored picture's translation is not the translation mirrored
            max_images=config.num_pairs,
            channels_a=student_config.channels_a,
            channels_b=student_config.channels_b,
        ),
    )
    trainer = Trainer(training, data, device=device, model=start)
    try:
        student = _train(trainer, work / "training", on_step)
    finally:
        trainer.release()
    student.training_info |= {
        "data": source.digest,
        "teacher": teacher_name,
        "teacher_digest": weights_digest(teacher, direction),
        "license": license,
    }
    found = compare(
        teacher,
        student.to(device),
        direction,
        source.held_out(),
        views=config.views,
        dtype=dtype,
        on_progress=on_compare,
    )
    # Last, so that the file is there when there is nothing left to go on with.
    save_model(student, out, dtype=torch.float16)
    return found


def _train(trainer: Trainer, path: Path, on_step: OnStep) -> CycleGAN:
    """Train in a run folder to the end; if `on_step` raises before, everything learned is kept."""
    with RunFolder(path, trainer, captions=("picture", "student", "teacher")) as folder:

        def after_step(report: StepReport) -> None:
            folder.on_step(report)
            try:
                on_step(report)
            except BaseException:  # whatever ends it here, the step is complete
                folder.save()
                raise

        student = trainer.run(on_step=after_step)
        folder.save()
        folder.write_samples()
    return student


def check_target(out: Path) -> None:
    """Make sure before any work that the student's file can be written.

    Raises:
        ValueError: its name does not end in .safetensors.
        CheckpointError: its folder is missing or can't be written to.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"a student is saved as .safetensors; got the name {out.name!r}.")
    try:
        if out.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise CheckpointError(
            f"{out} can't be written ({reason(error)}); check that its folder exists and may be "
            "written to."
        ) from None


def _check_work(work: Path, pictures: Path) -> None:
    """Make sure that all work stays in its folder, which may be a stranger's.

    Raises:
        CycleGANError: links lead out of it, it can't be looked at, or it lies among the pictures.
    """
    if is_inside(work, pictures):
        raise CycleGANError(
            f"The work folder {work} lies in {pictures}, where all that it holds would be taken "
            "for pictures to learn from; name another place for it or for the student."
        )
    try:
        check_links(work, "pairs", "pairs/inputs", "pairs/outputs")
    except OSError as error:
        raise CycleGANError(
            f"The work folder {work} can't be used ({reason(error)}); name another one."
        ) from None


def _student_config(teacher: CycleGAN, direction: Direction, config: DistillConfig) -> ModelConfig:
    """The student's architecture, which is nowhere larger than the teacher's."""
    teacher.generator(direction)  # says so if there is none
    theirs = teacher.config
    taken, made = theirs.channels(direction)
    if not {taken, made} <= {1, 3}:
        raise CycleGANError(
            f"The teacher makes pictures of {made} channels from {taken}, and pairs are files, "
            "which are grey (1) or RGB (3); choose another teacher."
        )
    for name in ("base_channels", "num_blocks"):
        mine, most = getattr(config, name), getattr(theirs, name)
        if mine > most and (name == "base_channels" or theirs.generator == "resnet"):
            raise ValueError(
                f"{name} must be at most the teacher's {most}, or the student would not be "
                f"smaller; got {mine}."
            )
    return replace(
        theirs,
        generator="resnet",
        base_channels=config.base_channels,
        num_blocks=config.num_blocks,
    )


def _start(
    path: Path,
    teacher: CycleGAN,
    direction: Direction,
    config: DistillConfig,
    inputs: Path,
    dtype: torch.dtype | None,
) -> CycleGAN | None:
    """What the training starts from, kept in a file; None for a teacher that is no resnet."""
    if not isinstance(teacher.generator(direction), ResnetGenerator):
        return None
    if path.exists():
        kept = load_model(path)
        wanted = _student_config(teacher, direction, config).to_dict()
        there = kept.config.to_dict()
        other = [f"{name} is {there[name]}" for name in wanted if there[name] != wanted[name]]
        other += [] if direction in kept.directions else [f"it does not translate {direction}"]
        if other:
            raise CycleGANError(
                f"{path.parent} belongs to another student ({', '.join(other)}); name another work "
                "folder for this one."
            )
        return kept
    names = sorted(inputs.glob("*.png"))[: min(_START_PAIRS, config.num_pairs)]
    crops = torch.stack([read_picture(name).pixels for name in names])
    start = part_of(
        teacher,
        direction,
        crops,
        base_channels=config.base_channels,
        num_blocks=config.num_blocks,
        dtype=dtype,
    )
    save_model(start, path)
    return start
