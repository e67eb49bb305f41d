"""Paired training data: partners of one name in two folders, or side by side in one file."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..config import DataConfig, Objective
from ..errors import DatasetError
from ..progress import ignore
from .folder import Half, OnFile, PictureFile, PictureFolder, list_pictures
from .report import Twins
from .training_data import Sample, TrainingData, nothing_left
from .transforms import draw
from .unpaired_folders import UnpairedFolders

log = logging.getLogger(__name__)

_NAMED = 3
"""So many files without a partner are named in the log; all are in the report."""


class PairedFolders(TrainingData):
    """Pairs of pictures as an endless, numbered sequence of samples; see `TrainingData`.

    Partners are files of one path below their folders, whatever their endings; or with
    `config.side_by_side` the halves of one file. An epoch visits every pair once, in a new random
    order. Both pictures of a pair have one size, and get the same crop and flip.

    A picture without a partner is left out, named in the log and in the report; so is the partner
    of a damaged one.
    """

    def __init__(
        self,
        dir_a: str | Path,
        dir_b: str | Path | None = None,
        config: DataConfig | None = None,
        *,
        on_file: OnFile = ignore,
        **settings: object,
    ) -> None:
        """Search the folders, below them too, and check their pictures.

        Args:
            dir_a: domain A's folder, or the one with the pictures side by side.
            dir_b: domain B's folder; none if they are side by side.
            config: how pictures become samples; the defaults of `DataConfig` if not given.
            on_file: called after each file that is read now; what it raises comes out here.
            settings: fields of `DataConfig` by name, for example `crop_size=128`; they go
                before `config`.

        Raises:
            ValueError: a setting is out of range, or the folders don't fit `side_by_side`.
            DatasetError: a folder is missing, not a folder or empty, there are fewer than 2 usable
                pairs, or partners differ in size.
        """
        config = replace(config or DataConfig(), **settings)
        if (config.side_by_side == "no") == (dir_b is None):
            raise ValueError(
                "pairs need a folder of domain B too, or side_by_side ab for files that show A "
                "beside B."
                if dir_b is None
                else f"side_by_side is {config.side_by_side}, so that one folder has both domains; "
                "leave the second one out."
            )
        half_a: Half | None = None
        half_b: Half | None = None
        files_a = files_b = list_pictures(Path(dir_a), "A")
        if dir_b is None:
            dir_b = dir_a
            is_a_left = config.side_by_side == "ab"
            half_a, half_b = ("left", "right") if is_a_left else ("right", "left")
            pairs, alone_a, alone_b = (
                [(file, file) for file in files_a],
                list[PictureFile](),
                list[PictureFile](),
            )
        else:
            files_b = list_pictures(Path(dir_b), "B")
            pairs, alone_a, alone_b = _pairs(files_a, Path(dir_a), files_b, Path(dir_b))
        pairs = pairs[: config.max_images]
        used_a, used_b = [a for a, _ in pairs], [b for _, b in pairs]
        a = PictureFolder(dir_a, "A", config, files=used_a, half=half_a, on_file=on_file)
        b = PictureFolder(dir_b, "B", config, files=used_b, half=half_b, on_file=on_file)
        a.num_found, b.num_found = len(files_a), len(files_b)
        _check_sizes(a, b)
        super().__init__(a, b, config)
        a.skipped |= {file.path: f"has no partner in {dir_b}" for file in alone_a}
        b.skipped |= {file.path: f"has no partner in {dir_a}" for file in alone_b}
        if alone_a or alone_b:
            alone = [str(file.path) for file in (*alone_a, *alone_b)]
            more = f" and {len(alone) - _NAMED} more" if len(alone) > _NAMED else ""
            log.warning("Left out, for want of a partner: %s%s.", ", ".join(alone[:_NAMED]), more)

    def sample(self, number: int, *, seed: int = 0) -> Sample:
        """See `TrainingData.sample`."""
        index, count = self._index(number, seed), len(self)
        for place in (n % count for n in range(index, index + count)):
            pixels_a, pixels_b = self._a.pixels(place), self._b.pixels(place)
            if pixels_a is None or pixels_b is None:
                continue  # damaged: the next pair takes its place
            # Equal sizes and equal random numbers give equal crops and flips.
            key = f"{seed} sample {number}"
            real_a = draw(pixels_a, self.config, random.Random(key))
            real_b = draw(pixels_b, self.config, random.Random(key))
            return Sample(real_a, real_b, self._a.files[place].path, self._b.files[place].path)
        raise nothing_left(self._a)

    def _settle(self) -> None:
        """Leave out the partner of each skipped picture, so that the later pairs stay together."""
        for folder, other in ((self._a, self._b), (self._b, self._a)):
            for file, partner in zip(folder.files, other.files, strict=True):
                if file.path in folder.skipped and file.path != partner.path:
                    why = f"has no partner: {file.name} of {folder.domain} is skipped"
                    other.skip(partner.path, why)
        super()._settle()

    def _find_twins(self) -> Twins:
        """None in files that are to have both domains."""
        return super()._find_twins() if self.config.side_by_side == "no" else []


def open_folders(
    objective: Objective,
    dir_a: str | Path,
    dir_b: str | Path | None,
    config: DataConfig,
    *,
    on_file: OnFile = ignore,
) -> UnpairedFolders | PairedFolders:
    """The data that `objective` learns from; arguments and errors are those of the two classes."""
    if objective == "pix2pix":
        return PairedFolders(dir_a, dir_b, config, on_file=on_file)
    if dir_b is None:
        raise ValueError("an unpaired training needs a folder of domain B too; name it.")
    return UnpairedFolders(dir_a, dir_b, config, on_file=on_file)


def by_name(files: Iterable[PictureFile], folder: Path) -> dict[str, PictureFile]:
    """Path below the folder without its ending -> the file: what partners have in common.

    Raises:
        DatasetError: two files differ in their ending alone.
    """
    named: dict[str, PictureFile] = {}
    for file in files:
        name = file.name[: -len(file.path.suffix)]
        if name in named:
            raise DatasetError(
                f"{folder} has {named[name].path.name} and {file.path.name}, so it is not clear "
                "which is the partner of a picture of that name; remove one."
            )
        named[name] = file
    return named


Pairs = list[tuple[PictureFile, PictureFile]]


def _pairs(
    files_a: list[PictureFile], dir_a: Path, files_b: list[PictureFile], dir_b: Path
) -> tuple[Pairs, list[PictureFile], list[PictureFile]]:
    """The pairs in the order of A, and the files of A and of B that have no partner."""
    named_a, named_b = by_name(files_a, dir_a), by_name(files_b, dir_b)
    pairs = [(file, named_b[name]) for name, file in named_a.items() if name in named_b]
    if not pairs:
        raise DatasetError(
            f"{dir_a} and {dir_b} have no names in common, so there are no pairs; give partners "
            "the same name, or train with objective cyclegan, which needs no pairs."
        )
    alone_a = [file for name, file in named_a.items() if name not in named_b]
    return pairs, alone_a, [file for name, file in named_b.items() if name not in named_a]


def _check_sizes(a: PictureFolder, b: PictureFolder) -> None:
    """Partners must have one size, or a crop of one would not show what that of the other does."""
    unequal = [
        (file, partner)
        for file, partner in zip(a.files, b.files, strict=True)
        if file.path in a.sizes
        and partner.path in b.sizes
        and a.sizes[file.path] != b.sizes[partner.path]
    ]
    if unequal:
        file, partner = unequal[0]
        (width, height), (other_width, other_height) = a.sizes[file.path], b.sizes[partner.path]
        more = f" (and {len(unequal) - 1} more pairs like it)" if len(unequal) > 1 else ""
        raise DatasetError(
            f"{file.path} has {width}×{height} pixels and its partner {partner.path} "
            f"{other_width}×{other_height}{more}; give partners one size."
        )
