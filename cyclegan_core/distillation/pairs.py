"""Crops of the user's pictures and what the teacher makes of them: made once, kept, gone on with.

A folder of pairs has `inputs/` and `outputs/` with partners of one name, and `pairs.json`, which
says what they were made of.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import DataConfig, Direction, DistillConfig
from ..data.folder import PictureFolder, digest
from ..data.transforms import draw
from ..errors import CycleGANError, DatasetError
from ..files import atomic_write, make_folder, read_text
from ..model import CycleGAN
from ..pictures.picture import write_picture
from ..progress import OnProgress
from .self_ensemble import translate_views

_MANIFEST = "pairs.json"


class Source:
    """The user's pictures: those to learn from, and those held out, by one rule for every call."""

    def __init__(self, folder: Path, config: DistillConfig, channels: int) -> None:
        """Search the folder.

        Raises:
            DatasetError: it is missing, has no pictures, or too few; or none that is held out can
                be decoded.
            ValueError: pictures have 1 or 3 channels, and the teacher takes neither.
        """
        self._crops = DataConfig(
            preprocess="resize_and_crop",
            load_size=config.load_size,
            crop_size=config.crop_size,
            scales=config.load_size / config.crop_size,
            channels_a=channels,
        )
        self._folder = PictureFolder(folder, "A", self._crops)
        self._folder.settle()
        files = self._folder.files
        if len(files) < config.num_held_out + 2:
            raise DatasetError(
                f"{folder} has {len(files)} usable pictures, too few to hold {config.num_held_out} "
                "out and learn from the rest; add pictures, or hold fewer out."
            )
        self._seed = config.seed
        self.digest = digest(files)
        """A hash of the pictures' names, sizes and times of change."""
        order = list(range(len(files)))
        random.Random("held out").shuffle(order)
        self._held_out, self._learned = order[: config.num_held_out], order[config.num_held_out :]
        if all(self._folder.pixels(index) is None for index in self._held_out):
            path, why = next(reversed(self._folder.skipped.items()))
            raise DatasetError(
                f"Of {folder} no picture that is held out can be decoded ({path.name} {why}); "
                "replace the file, or hold more out."
            )

    def held_out(self) -> Iterator[Tensor]:
        """The pictures that no crop is of, whole, (C,H,W) in [0,1]; damaged ones are left out."""
        for index in self._held_out:
            pixels = self._folder.pixels(index)
            if pixels is not None:
                yield torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255

    def crop(self, number: int) -> Tensor:
        """Crop `number` (from 0, without end), (C,crop_size,crop_size) in [0,1].

        Raises:
            DatasetError: no picture can be decoded, or one was lost.
        """
        rng = random.Random(f"{self._seed} pair {number}")
        for place in range(number, number + len(self._learned)):
            pixels = self._folder.pixels(self._learned[place % len(self._learned)])
            if pixels is not None:
                return draw(pixels, self._crops, rng)
        raise DatasetError(
            f"No picture in {self._folder.folder} can be decoded; replace the files."
        )


def make_pairs(  # noqa: PLR0913 - of what, by whom, to where
    folder: Path,
    source: Source,
    teacher: CycleGAN,
    direction: Direction,
    config: DistillConfig,
    *,
    dtype: torch.dtype | None,
    on_progress: OnProgress,
) -> tuple[Path, Path]:
    """Fill `folder` with what is missing of `config.num_pairs`; the folders of inputs and outputs.

    Raises:
        CycleGANError: the folder holds other pairs, or can't be written.
        DatasetError: see `Source.crop`.
    """
    inputs, outputs = folder / "inputs", folder / "outputs"
    facts = {
        "teacher": weights_digest(teacher, direction),
        "direction": direction,
        "pictures": source.digest,
        "num_held_out": config.num_held_out,
        "crop_size": config.crop_size,
        "load_size": config.load_size,
        "seed": config.seed,
    }
    if config.views > 1:
        facts["views"] = config.views
    _begin(folder, facts)
    device = next(teacher.parameters()).device
    for number in range(config.num_pairs):
        name = f"{number:06d}.png"
        if not (outputs / name).exists():  # it is written last
            crop = source.crop(number)
            batch = crop[None].to(device)
            output = translate_views(teacher, batch, direction, views=config.views, dtype=dtype)
            write_picture(inputs / name, crop)
            write_picture(outputs / name, output[0])
        on_progress(number + 1, config.num_pairs)
    return inputs, outputs


def _begin(folder: Path, facts: dict[str, Any]) -> None:
    """Say what the pairs are made of, or make sure that those there are the same."""
    path = folder / _MANIFEST
    try:
        before: dict[str, Any] = dict(json.loads(read_text(path)))
    except FileNotFoundError:
        before = facts
    except (OSError, ValueError, TypeError, RecursionError):
        before = {}
    names = facts | before  # of both: several views are only noted where there are some
    changed = [name.replace("_", " ") for name in names if before.get(name) != facts.get(name)]
    if changed:
        raise CycleGANError(
            f"{folder} holds pairs that were made with other settings ({', '.join(changed)}); "
            "name another work folder, or delete this one."
        )
    try:
        make_folder(folder)
    except OSError as error:
        raise CycleGANError(
            f"The work folder {folder} can't be made ({error.strerror}); name another one."
        ) from None
    text = json.dumps(facts, indent=2) + "\n"
    atomic_write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def weights_digest(model: CycleGAN, direction: Direction) -> str:
    """A hash of a generator's weights, the same for every file that holds them in float32."""
    hasher = hashlib.sha256()
    for key, tensor in model.generator(direction).state_dict().items():
        hasher.update(key.encode())
        hasher.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return hasher.hexdigest()
