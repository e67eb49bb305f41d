"""Unpaired training data: two folders of pictures that have nothing to do with each other."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from ..config import DataConfig
from ..progress import ignore
from .folder import OnFile, PictureFolder, digest, list_pictures
from .training_data import Sample, TrainingData, nothing_left
from .transforms import Pixels, draw


class UnpairedFolders(TrainingData):
    """Two folders of pictures as an endless, numbered sequence of samples; see `TrainingData`.

    An epoch is max(|A|, |B|) samples; in each, A is visited in a new random order (the smaller
    folder again from its start), and B is drawn at random. Crop and flip are drawn independently
    for A and B.
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
        config = replace(config or DataConfig(), **settings)
        if config.side_by_side != "no":
            raise ValueError(
                "side_by_side must be no for unpaired training: a file that shows A beside B is a "
                "pair, from which objective pix2pix learns."
            )
        a = PictureFolder(dir_a, "A", config, on_file=on_file)
        super().__init__(a, PictureFolder(dir_b, "B", config, on_file=on_file), config)

    def sample(self, number: int, *, seed: int = 0) -> Sample:
        """See `TrainingData.sample`."""
        index = self._index(number, seed)
        rng = random.Random(f"{seed} sample {number}")
        pixels_a, path_a = _picture_from(self._a, index % len(self._a))
        pixels_b, path_b = _picture_from(self._b, rng.randrange(len(self._b)))
        real_a = draw(pixels_a, self.config, rng)
        return Sample(real_a, draw(pixels_b, self.config, rng), path_a, path_b)


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
    raise nothing_left(folder)
