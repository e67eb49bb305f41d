"""One domain's folder: which pictures it holds, which of them are fit for use, their pixels."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from ..config import DataConfig
from ..errors import DatasetError, PictureError, reason
from ..pictures.files import PAINTED, file_id, find_pictures
from ..pictures.picture import PictureHeader, read_flat, read_header
from ..progress import ignore
from ..validation import check_data_folder
from .transforms import Pixels, check_enlarged, prepare, prepared_size

log = logging.getLogger(__name__)

T = TypeVar("T")

OnFile = Callable[[], None]
"""Called after each file while a folder is opened; it ends that by raising."""

Half = Literal["left", "right"]
"""Of a file that shows a pair side by side."""

_SCAN_THREADS = 8


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file that looks like a picture by its name."""

    path: Path
    name: str
    """Path below the folder, with forward slashes: the sort key, the same on every system."""
    num_bytes: int
    mtime_ns: int

    def is_unchanged(self) -> bool:
        """Whether the file is still the one that was found."""
        return (self.num_bytes, self.mtime_ns) == _stat(self.path)


def list_pictures(folder: Path, domain: str) -> list[PictureFile]:
    """All pictures that `find_pictures` finds, sorted by their path below `folder`.

    Without those in `PAINTED`, into which `cyclegan translate` writes: what a model has made of
    these pictures is none of them.

    Raises:
        DatasetError: `folder` is missing, not a folder, unreadable, or holds no picture.
    """
    check_data_folder(folder, domain)
    results = folder / PAINTED
    if results.is_dir():
        log.warning("%s was left out: cyclegan translate writes its results there.", results)
    files = [
        PictureFile(path, path.relative_to(folder).as_posix(), *_stat(path))
        for path in find_pictures(folder, leave_out=file_id(results), on_error=_stop)
    ]
    if not files:
        raise DatasetError(
            f"{folder} holds no pictures; put at least 2 files such as .png or .jpg there."
        )
    return sorted(files, key=lambda file: file.name)


def digest(*sides: Iterable[PictureFile], with_times: bool = True) -> str:
    """A hash of names, sizes and, if wanted, times of change: what a training has seen."""
    hasher = hashlib.sha256()
    for number, files in enumerate(sides):
        for file in files:
            entry = f"{number}\0{file.name}\0{file.num_bytes}"
            entry += f"\0{file.mtime_ns}\n" if with_times else "\n"
            hasher.update(entry.encode("utf-8", "surrogateescape"))
    return hasher.hexdigest()


class PictureFolder:
    """The pictures of one domain, in an order that does not depend on the file system."""

    def __init__(
        self,
        folder: str | Path,
        domain: str,
        config: DataConfig,
        *,
        files: list[PictureFile] | None = None,
        half: Half | None = None,
        on_file: OnFile = ignore,
    ) -> None:
        """List the files, up to `config.max_images`, and read every header.

        Args:
            folder: where they lie, below it too.
            domain: "A" or "B".
            config: how pictures become samples.
            files: those of `list_pictures` to use; all up to `config.max_images` if not given.
            half: the part of every file that is the picture; the whole if not given.
            on_file: called after each file that is read.

        Raises:
            DatasetError: the folder can't be used.
        """
        self.folder = Path(folder)
        self.domain = domain
        self.half: Half | None = half
        self.skipped: dict[Path, str] = {}
        """Files that are not used, and why."""
        self.keeps_pixels = False
        """Whether decoded pictures stay in memory."""
        self._config = config
        self._on_file = on_file
        self._channels = config.channels_a if domain == "A" else config.channels_b
        self._cache: dict[Path, Pixels] = {}
        self._is_verified = False
        found = list_pictures(self.folder, domain) if files is None else files
        self.num_found = len(found)
        self.files = found[: config.max_images]
        self.sizes: dict[Path, tuple[int, int]] = {}
        """Width and height of each picture, upright."""
        self.grey: set[Path] = set()
        """Pictures without colour."""
        self.colours: dict[Path, str] = {}
        """What is done about profiles of other colour spaces, by picture."""
        self.losses: dict[Path, str] = {}
        """What of a decoded picture can't be shown, such as samples below 0."""
        for file, header in zip(self.files, self._attempt_all(self._read_header), strict=True):
            if header is not None:
                self.sizes[file.path] = header.size
                self.grey |= {file.path} if header.is_grey else set()
                if header.colours:
                    self.colours[file.path] = header.colours

    def __len__(self) -> int:
        return len(self.files)

    @property
    def num_pixels(self) -> int:
        """Pixels to decode, for all pictures together."""
        return sum(width * height for width, height in self.sizes.values())

    @property
    def num_prepared_bytes(self) -> int:
        """Memory for all pictures after the resize."""
        sizes = (prepared_size(size, self._config) for size in self.sizes.values())
        return sum(width * height * self._channels for width, height in sizes)

    def verify(self) -> None:
        """Decode every picture, so that damaged ones are known (and fill the cache, if kept)."""

        def decode(path: Path) -> None:  # whose pixels are dropped, all would be too much
            self._decode(path)

        self._attempt_all(decode)
        self._is_verified = True

    def used_files(self) -> list[PictureFile]:
        """The pictures that are not known to be damaged."""
        return [file for file in self.files if file.path not in self.skipped]

    def skip(self, path: Path, reason: str) -> None:
        """Don't use a picture; said once in the log, and in the report."""
        if path not in self.skipped:
            self.skipped[path] = reason
            log.warning("Skipping %s: it %s", path, reason)

    def _note_loss(self, path: Path, loss: str) -> None:
        """Keep for the report, and say once in the log, what of a picture can't be shown."""
        if path not in self.losses:
            self.losses[path] = loss
            log.warning("Reading %s: %s", path, loss)

    def settle(self) -> None:
        """Take the skipped pictures off the list, for good.

        Raises:
            DatasetError: fewer than 2 are left.
        """
        self.files = self.used_files()
        if len(self.files) < 2:
            reasons = [f"{path.name} {why}" for path, why in list(self.skipped.items())[:3]]
            skipped = f" (skipped: {'; '.join(reasons)})" if reasons else ""
            raise DatasetError(
                f"{self.folder} has {len(self.files) or 'no'} usable "
                f"picture{'' if len(self.files) == 1 else 's'}{skipped}; "
                f"domain {self.domain} needs at least 2."
            )

    def pixels(self, index: int) -> Pixels | None:
        """Picture number `index`, resized; None if it turns out to be damaged.

        Raises:
            DatasetError: the file was fine, or another, when the folder was opened.
        """
        file = self.files[index]
        if file.path in self.skipped:
            return None
        pixels = self._cache.get(file.path)
        if pixels is not None:
            return pixels
        try:
            return self._decode(file.path)
        except PictureError as error:
            if self._is_verified or not file.is_unchanged():
                raise DatasetError(
                    f"A picture of domain {self.domain} was changed or lost during the training: "
                    f"{str(error).rstrip('.')}; restore it and resume, or train on a copy."
                ) from None
            self.skip(file.path, _reason(file.path, error))
            return None

    def _read_header(self, path: Path) -> PictureHeader:
        """What a picture's file says before it is decoded."""
        header = read_header(path)
        if self.half is not None:
            width, height = header.size
            check_halves(path, width)
            header = replace(header, size=(width // 2, height))
        check_enlarged(path, header.size, self._config)
        return header

    def _decode(self, path: Path) -> Pixels:
        """Read and resize a picture, and keep it in memory if pictures are kept."""
        image = read_flat(
            path,
            channels=self._channels,
            background=self._config.background,
            on_loss=partial(self._note_loss, path),
        )
        if self.half is not None:
            image = half_of(image, self.half)
        pixels = prepare(image, self._config)
        if self.keeps_pixels:
            self._cache[path] = pixels
        return pixels

    def _attempt_all(self, read: Callable[[Path], T]) -> list[T | None]:
        """`read` every file that is not skipped, in threads; skip those that can't be read."""

        def attempt(file: PictureFile) -> tuple[T | None, str | None]:
            if file.path in self.skipped:
                return None, None
            try:
                return read(file.path), None
            except PictureError as error:
                return None, _reason(file.path, error)

        with ThreadPoolExecutor(min(_SCAN_THREADS, os.cpu_count() or 1)) as pool:
            results: list[tuple[T | None, str | None]] = []
            try:
                for result in pool.map(attempt, self.files):
                    self._on_file()
                    results.append(result)
            except BaseException:  # whatever it is, the other files are not waited for
                pool.shutdown(cancel_futures=True)
                raise
        for file, (_, fault) in zip(self.files, results, strict=True):
            if fault is not None:
                self.skip(file.path, fault)
        return [result for result, _ in results]


def half_of(image: Image.Image, half: Half) -> Image.Image:
    """The left or the right half of a picture of even width."""
    middle, (width, height) = image.width // 2, image.size
    left, right = (0, middle) if half == "left" else (middle, width)
    return image.crop((left, 0, right, height))


def check_halves(path: Path, width: int) -> None:
    """A file that shows a pair side by side has an even width.

    Raises:
        PictureError: it has not.
    """
    if width % 2:
        raise PictureError(f"{path} is {width} pixels wide, so that its halves are not equal.")


def _reason(path: Path, error: PictureError) -> str:
    """The error's text without the path that it begins with, and without the full stop."""
    return str(error).removeprefix(f"{path} ").rstrip(".")


def _stat(path: Path) -> tuple[int, int]:
    """Size and time of change; (-1, 0) for a file that can't be asked, such as a broken link."""
    try:
        status = path.stat()
    except OSError:
        return -1, 0
    return status.st_size, status.st_mtime_ns


def _stop(error: OSError) -> None:
    """End the search at a folder that can't be read."""
    raise DatasetError(
        f"{error.filename} can't be read ({reason(error)}); check the permissions, or move it."
    ) from None
