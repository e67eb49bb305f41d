"""Training data: an endless, numbered sequence of samples from two folders."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from ..config import DataConfig
from ..errors import DatasetError
from ..progress import ignore
from .folder import OnFile, PictureFolder, digest, list_pictures
from .report import DatasetReport, Twins, describe, identical_files
from .transforms import Pixels, draw, prepared_size

VERIFY_PIXELS = 2**27
"""Folders with no more pixels than this (2,000 pictures of 256², some seconds) are decoded once
at the start, to know the damaged files beforehand."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of each domain, (C,H,W) float32 in [0,1]."""

    a: Tensor
    b: Tensor
    path_a: Path
    path_b: Path


class UnpairedFolders:
    """Two folders of pictures as an endless, numbered sequence of samples.

    Sample number k depends on the seed, k and the files only: not on threads, on the cache, on
    the file system's order, or on what was sampled before. An epoch is max(|A|, |B|) samples;
    in each, A is visited in a new random order (the smaller folder again from its start), and
    B is drawn at random, or has the same index when paired. Crop and flip are drawn
    independently for A and B.

    Damaged files: every header is read at the start, and when both folders together have no
    more than `VERIFY_PIXELS`, every picture is decoded once; what fails is left out, named in
    the log and in the report. In larger folders a picture found damaged later is named likewise
    and the next one in order takes its place, which is the same one after a resume. When paired,
    the partner is left out too. A file that changes or vanishes during the training is an error.

    Pictures stay in memory after decoding and resizing if both folders fit `cache_bytes`.
    """

    def __init__(
        self,
        dir_a: str | Path,
        dir_b: str | Path,
        config: DataConfig | None = None,
        *,
        on_file: OnFile = ignore,
        **settings: object,
    ) -> None:
        """Search both folders, below them too, and check their pictures.

        Args:
            dir_a: domain A's folder.
            dir_b: domain B's folder.
            config: how pictures become samples; the defaults of `DataConfig` if not given.
            on_file: called after each file that is read now; what it raises comes out here.
            settings: fields of `DataConfig` by name, for example `crop_size=128`; they go
                before `config`.

        Raises:
            ValueError: a setting is out of range.
            DatasetError: a folder is missing, not a folder, empty, or has fewer than 2 usable
                pictures.
        """
        self.config = replace(config or DataConfig(), **settings)
        self._a = PictureFolder(dir_a, "A", self.config, on_file=on_file)
        self._b = PictureFolder(dir_b, "B", self.config, on_file=on_file)
        self.digest = digest(self._a.files, self._b.files)
        """A hash of both folders' names, sizes and times of change."""
        num_bytes = self._a.num_prepared_bytes + self._b.num_prepared_bytes
        self._a.keeps_pixels = self._b.keeps_pixels = num_bytes <= self.config.cache_bytes
        if self._a.num_pixels + self._b.num_pixels <= VERIFY_PIXELS:
            self._a.verify()
            self._b.verify()
        if self.config.pairing == "paired":
            _skip_partners(self._a, self._b)
            _skip_partners(self._b, self._a)
        self._a.settle()
        self._b.settle()
        self._twins: Twins | None = None

    def __len__(self) -> int:
        """Samples in an epoch: the larger folder's number of pictures."""
        return max(len(self._a), len(self._b))

    @property
    def sample_sizes(self) -> tuple[frozenset[tuple[int, int]], frozenset[tuple[int, int]]]:
        """Every (height, width) that samples of A and of B can have."""
        if self.config.crops:
            square = frozenset([(self.config.crop_size, self.config.crop_size)])
            return square, square

        def sizes(folder: PictureFolder) -> frozenset[tuple[int, int]]:
            prepared = (prepared_size(folder.sizes[f.path], self.config) for f in folder.files)
            return frozenset((height, width) for width, height in prepared)

        return sizes(self._a), sizes(self._b)

    def sample(self, number: int, *, seed: int = 0) -> Sample:
        """Sample `number` (from 0, without end) of the sequence that belongs to `seed`.

        Raises:
            DatasetError: a picture was changed or lost since the start, or none is left.
        """
        epoch, place = divmod(number, len(self))
        index = _shuffled(seed, epoch, len(self))[place]
        rng = random.Random(f"{seed} sample {number}")
        if self.config.pairing == "paired":
            (pixels_a, path_a), (pixels_b, path_b) = self._pair_from(index)
        else:
            pixels_a, path_a = _picture_from(self._a, index % len(self._a))
            pixels_b, path_b = _picture_from(self._b, rng.randrange(len(self._b)))
        real_a = draw(pixels_a, self.config, rng)
        return Sample(real_a, draw(pixels_b, self.config, rng), path_a, path_b)

    def report(self) -> DatasetReport:
        """Counts, sizes, skipped files and warnings, as known by now; `str` of it is for people."""
        # Once, because files of the same size are read whole for it, and every save has a report.
        if self._twins is None:
            self._twins = identical_files(self._a.used_files(), self._b.used_files())
        return describe(self._a, self._b, self.config, self.digest, self._twins)

    def _pair_from(self, index: int) -> tuple[tuple[Pixels, Path], tuple[Pixels, Path]]:
        """The pair at `index`, or the next one of which both pictures are sound."""
        for number in range(index, index + len(self)):
            a, b = number % len(self) % len(self._a), number % len(self) % len(self._b)
            pixels_a, pixels_b = self._a.pixels(a), self._b.pixels(b)
            if pixels_a is not None and pixels_b is not None:
                return (pixels_a, self._a.files[a].path), (pixels_b, self._b.files[b].path)
        raise _nothing_left(self._a)


def folders_digest(dir_a: str | Path, dir_b: str | Path, *, max_images: int | None = None) -> str:
    """The `digest` that `UnpairedFolders` would have, without opening a picture.

    Raises:
        DatasetError: a folder is missing, not a folder, or empty.
    """
    files_a, files_b = list_pictures(Path(dir_a), "A"), list_pictures(Path(dir_b), "B")
    return digest(files_a[:max_images], files_b[:max_images])


def _picture_from(folder: PictureFolder, index: int) -> tuple[Pixels, Path]:
    """The picture at `index`, or the next one that is sound."""
    for number in range(index, index + len(folder)):
        place = number % len(folder)
        pixels = folder.pixels(place)
        if pixels is not None:
            return pixels, folder.files[place].path
    raise _nothing_left(folder)


def _nothing_left(folder: PictureFolder) -> DatasetError:
    """What to say when every picture of a folder turned out to be damaged."""
    return DatasetError(
        f"No picture in {folder.folder} can be decoded; see the log for the reasons, "
        "and replace the files."
    )


def _skip_partners(folder: PictureFolder, other: PictureFolder) -> None:
    """Leave out the partner of each skipped picture, so that the later pairs stay together."""
    for file, partner in zip(folder.files, other.files, strict=False):
        if file.path in folder.skipped:
            other.skip(partner.path, f"has no partner: {file.name} of {folder.domain} is skipped")


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, length: int) -> tuple[int, ...]:
    """The order in which an epoch visits the larger folder's indices."""
    order = list(range(length))
    random.Random(f"{seed} epoch {epoch}").shuffle(order)
    return tuple(order)
