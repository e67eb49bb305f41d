"""Training data: an endless, numbered sequence of samples, a picture of A and one of B each."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from ..config import DataConfig
from ..errors import DatasetError
from .folder import PictureFolder, digest
from .report import DatasetReport, Twins, describe, identical_files
from .transforms import prepared_size

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


class TrainingData(ABC):
    """The pictures of both domains as an endless, numbered sequence of samples.

    Sample number k depends on the seed, k and the files only: not on threads, on the cache, on
    the file system's order, or on what was sampled before.

    Damaged files: every header is read at the start, and when both domains together have no
    more than `VERIFY_PIXELS`, every picture is decoded once; what fails is left out, named in
    the log and in the report. In larger folders a picture found damaged later is named likewise
    and the next one in order takes its place, which is the same one after a resume. A file that
    changes or vanishes during the training is an error.

    Pictures stay in memory after decoding and resizing if both domains fit `cache_bytes`.
    """

    def __init__(self, a: PictureFolder, b: PictureFolder, config: DataConfig) -> None:
        """Check the pictures of both domains.

        Raises:
            DatasetError: a domain has fewer than 2 usable pictures.
        """
        self.config = config
        self._a, self._b = a, b
        self.digest = digest(a.files, b.files)
        """A hash of both domains' names, sizes and times of change."""
        self.names_digest = digest(a.files, b.files, with_times=False)
        """A hash of names and sizes alone, which copies on several machines have in common."""
        num_bytes = a.num_prepared_bytes + b.num_prepared_bytes
        a.keeps_pixels = b.keeps_pixels = num_bytes <= config.cache_bytes
        if a.num_pixels + b.num_pixels <= VERIFY_PIXELS:
            a.verify()
            b.verify()
        self._settle()
        self._twins: Twins | None = None

    def _settle(self) -> None:
        """Take the pictures that can't be used off the lists."""
        self._a.settle()
        self._b.settle()

    def __len__(self) -> int:
        """Samples in an epoch: the larger domain's number of pictures."""
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

    @abstractmethod
    def sample(self, number: int, *, seed: int = 0) -> Sample:
        """Sample `number` (from 0, without end) of the sequence that belongs to `seed`.

        Raises:
            DatasetError: a picture was changed or lost since the start, or none is left.
        """

    def _index(self, number: int, seed: int) -> int:
        """Where sample `number` begins: every epoch visits all indices in a new order."""
        epoch, place = divmod(number, len(self))
        return shuffled(seed, epoch, len(self))[place]

    def report(self) -> DatasetReport:
        """Counts, sizes, skipped files and warnings, as known by now; `str` of it is for people."""
        # Once, because files of the same size are read whole for it, and every save has a report.
        if self._twins is None:
            self._twins = self._find_twins()
        return describe(self._a, self._b, self.config, self.digest, self._twins)

    def _find_twins(self) -> Twins:
        """Files that are in both domains."""
        return identical_files(self._a.used_files(), self._b.used_files())


def nothing_left(folder: PictureFolder) -> DatasetError:
    """What to say when every picture of a folder turned out to be damaged."""
    return DatasetError(
        f"No picture in {folder.folder} can be decoded; see the log for the reasons, "
        "and replace the files."
    )


@lru_cache(maxsize=4)
def shuffled(seed: int, epoch: int, length: int) -> tuple[int, ...]:
    """The order in which an epoch visits the larger domain's indices."""
    order = list(range(length))
    random.Random(f"{seed} epoch {epoch}").shuffle(order)
    return tuple(order)
