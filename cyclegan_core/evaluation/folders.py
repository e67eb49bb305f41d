"""Folders to evaluate with: which pictures, which of them are partners, and their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..config import DataConfig
from ..data.folder import Half, check_halves, half_of, list_pictures
from ..data.paired_folders import by_name
from ..data.transforms import check_enlarged, prepare
from ..errors import DatasetError
from ..pictures.picture import read_flat

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class HalfPicture:
    """One half of a file that shows a pair side by side."""

    path: Path
    half: Half

    def __str__(self) -> str:
        return f"{self.path} ({self.half} half)"


Picture = Path | HalfPicture

_MEAN_SIDE = 256
"""Height and width of the mean picture; pictures of this size enter it as they are."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Two folders, listed; or one of files that show pairs side by side."""

    a: tuple[Picture, ...]
    """Pictures of domain A, sorted by name."""
    b: tuple[Picture, ...]
    """Pictures of domain B; number k is the partner of `a`'s number k if they are paired."""
    dir_a: Path
    dir_b: Path
    num_alone: int = 0
    """Pictures that have no partner, of both folders, if they are paired."""
    names_agree: bool = False
    """Whether both folders have the same names, as pairs have."""

    @classmethod
    def side_by_side(
        cls, folder: str | Path, order: Literal["ab", "ba"], *, most: int | None = None
    ) -> Folders:
        """Search one folder, whose files have A in one half and B in the other.

        Raises:
            DatasetError: it can't be used.
        """
        files = spread(list_pictures(Path(folder), "A"), most)
        half_a, half_b = ("left", "right") if order == "ab" else ("right", "left")
        return cls(
            tuple(HalfPicture(file.path, half_a) for file in files),
            tuple(HalfPicture(file.path, half_b) for file in files),
            Path(folder),
            Path(folder),
            names_agree=True,
        )

    @classmethod
    def list(
        cls, dir_a: str | Path, dir_b: str | Path, *, paired: bool, most: int | None = None
    ) -> Folders:
        """Search two folders, below them too.

        Args:
            dir_a: domain A's folder.
            dir_b: domain B's folder.
            paired: keep pictures that have a partner, a file of the same path without its ending.
            most: keep so many of each folder, evenly spread; all if not given.

        Raises:
            DatasetError: a folder can't be used, or there are no pairs.
        """
        sides: list[dict[str, Path]] = []
        for folder, domain in ((Path(dir_a), "A"), (Path(dir_b), "B")):
            files = list_pictures(folder, domain)
            named = by_name(files, folder) if paired else {file.name: file for file in files}
            sides.append({name: file.path for name, file in named.items()})
        side_a, side_b = sides
        if not paired:
            agree = {Path(n).with_suffix("") for n in side_a} == {
                Path(n).with_suffix("") for n in side_b
            }
            a, b = (spread(tuple(side.values()), most) for side in sides)
            return cls(a, b, Path(dir_a), Path(dir_b), names_agree=agree)
        common = [name for name in side_a if name in side_b]
        if not common:
            raise DatasetError(
                f"{dir_a} and {dir_b} have no names in common, so there are no pairs to compare; "
                "give partners the same name, or evaluate the folders as unpaired."
            )
        alone = len(side_a) + len(side_b) - 2 * len(common)
        kept = spread(common, most)
        return cls(
            tuple(side_a[name] for name in kept),
            tuple(side_b[name] for name in kept),
            Path(dir_a),
            Path(dir_b),
            num_alone=alone,
            names_agree=alone == 0,
        )


def spread(items: Sequence[T], most: int | None) -> tuple[T, ...]:
    """At most so many of the items, evenly spread from the first on; all if `most` is None."""
    if most is None or len(items) <= most:
        return tuple(items)
    return tuple(items[number * len(items) // most] for number in range(most))


class PictureReader:
    """Reads pictures as RGB at the size of the evaluation."""

    def __init__(self, size: int | None) -> None:
        """Bring the short side to `size` pixels, or leave pictures as they are."""
        self._config: DataConfig | None = None
        if size is not None:
            self._config = DataConfig(load_size=size, crop_size=size)
        self.rule = (
            "as they are"
            if size is None
            else f"short side to {size} pixels, Pillow's bicubic, aspect kept"
        )
        """How pictures are resized before anything else, for the record."""

    def __call__(self, picture: Picture) -> Tensor:
        """(3,H,W) float32 in [0,1].

        Raises:
            PictureError: the file can't be read, or has no halves; a score without it would be
                another score.
        """
        path = picture.path if isinstance(picture, HalfPicture) else picture
        image = read_flat(path)
        if isinstance(picture, HalfPicture):
            check_halves(path, image.width)
            image = half_of(image, picture.half)
        if self._config is None:
            pixels = np.asarray(image)
        else:
            check_enlarged(path, image.size, self._config)
            pixels = prepare(image, self._config)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div_(255)

    def pair(self, path: Picture, partner: Picture) -> tuple[Tensor, Tensor]:
        """Two pictures of one size.

        Raises:
            DatasetError: their sizes differ.
            PictureError: a file can't be read.
        """
        first, second = self(path), self(partner)
        if first.shape != second.shape:
            raise DatasetError(
                f"{path} has {first.shape[2]}×{first.shape[1]} pixels and its partner {partner} "
                f"{second.shape[2]}×{second.shape[1]}; give partners one size."
            )
        return first, second


class MeanPicture:
    """The mean of pictures of any sizes."""

    def __init__(self) -> None:
        self._sum = torch.zeros(1, 3, _MEAN_SIDE, _MEAN_SIDE, dtype=torch.float64)
        self._count = 0

    def add(self, picture: Tensor) -> None:
        """Take in a picture (3,H,W), squashed to a square."""
        self._sum += _resize(picture[None].cpu(), (_MEAN_SIDE, _MEAN_SIDE)).double()
        self._count += 1

    def at(self, height: int, width: int) -> Tensor:
        """The mean at a size, (3,height,width) float32 in [0,1]."""
        return _resize((self._sum / self._count).float(), (height, width))[0]


def _resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    if pictures.shape[-2:] == size:
        return pictures
    resized = torch.nn.functional.interpolate(pictures, size, mode="bicubic", antialias=True)
    return resized.clamp(0, 1)


def as_written(picture: Tensor) -> Tensor:
    """The picture as a file of 8 bits per sample has it: clamped to [0,1] and rounded."""
    return (picture.clamp(0, 1) * 255).round() / 255
