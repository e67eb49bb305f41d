"""What two folders hold, for people: counts, sizes, what was skipped, what may go wrong."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..config import DataConfig
from ..errors import plain
from ..pictures.colours import CONVERTED
from .folder import Half, PictureFile, PictureFolder

FEW_PICTURES = 100
"""With fewer, a discriminator soon knows them by heart."""

Twins = list[tuple[PictureFile, PictureFile]]
"""Files of A with the same content as one of B."""

_NAMED_IN_TEXT = 5


@dataclass(frozen=True, slots=True)
class FolderReport:
    """One domain's pictures."""

    folder: Path
    num_images: int
    """Pictures that are used."""
    num_found: int
    """Picture files in the folder: more than that if some were skipped or `max_images` is set."""
    smallest: tuple[int, int]
    """Width and height of the picture with the fewest pixels."""
    median: tuple[int, int]
    """Width and height of the middle one when sorted by pixels."""
    largest: tuple[int, int]
    """Width and height of the picture with the most pixels."""
    aspects: tuple[float, float]
    """Least and greatest width / height."""
    skipped: tuple[tuple[Path, str], ...]
    """Files that are not used, and why."""
    half: Half | None = None
    """The part of every file that is the picture, if it is not the whole."""

    def __str__(self) -> str:
        small, middle, large = (f"{w}×{h}" for w, h in (self.smallest, self.median, self.largest))
        sizes = small if small == large else f"{small} to {large}, median {middle}"
        low, high = self.aspects
        aspect = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
        of_found = f" of {self.num_found}" if self.num_found != self.num_images else ""
        lines = [
            f"{self.num_images}{of_found} pictures in {plain(str(self.folder))}"
            + (f", {self.half} halves" if self.half else ""),
            f"  size {sizes}; width/height {aspect}",
        ]
        return "\n".join([*lines, *(f"  skipped: {text}" for text in self._skipped())])

    def left_out(self) -> str:
        """A sentence about the files that are not used; empty if all are."""
        skipped = ", ".join(self._skipped())
        return f"Left out of {plain(str(self.folder))}: {skipped}." if skipped else ""

    def _skipped(self) -> list[str]:
        """The first of them, each with the reason, and how many there are more."""
        named = [f"{plain(path.name)} {why}" for path, why in self.skipped[:_NAMED_IN_TEXT]]
        more = len(self.skipped) - len(named)
        return [*named, f"{more} more"] if more else named


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """Both domains, and what to look at before training on them."""

    a: FolderReport
    b: FolderReport
    warnings: tuple[str, ...]
    """One sentence each."""
    digest: str
    """A hash of names, sizes and times of change of the files in both folders."""

    def __str__(self) -> str:
        warnings = [f"Warning: {warning}" for warning in self.warnings]
        return "\n".join([f"A: {self.a}", f"B: {self.b}", *warnings])


def describe(
    a: PictureFolder, b: PictureFolder, config: DataConfig, digest: str, twins: Twins
) -> DatasetReport:
    """The report on two folders, as they are known by now; `twins` are their `identical_files`."""
    # Of a folder that has both domains, everything would be said twice.
    warnings = tuple(dict.fromkeys(_warnings(a, b, config, twins)))
    return DatasetReport(_describe_folder(a), _describe_folder(b), warnings, digest)


def _describe_folder(folder: PictureFolder) -> FolderReport:
    """One domain's part of the report."""
    sizes = sorted(_sizes(folder), key=lambda size: (size[0] * size[1], size))
    aspects = [width / height for width, height in sizes]
    return FolderReport(
        folder=folder.folder,
        num_images=len(folder.used_files()),
        num_found=folder.num_found,
        smallest=sizes[0],
        median=sizes[len(sizes) // 2],
        largest=sizes[-1],
        aspects=(min(aspects), max(aspects)),
        skipped=tuple(folder.skipped.items()),
        half=folder.half,
    )


def _sizes(folder: PictureFolder) -> list[tuple[int, int]]:
    """Width and height of each picture in use."""
    return [folder.sizes[file.path] for file in folder.files]


def _warnings(
    a: PictureFolder, b: PictureFolder, config: DataConfig, twins: Twins
) -> Iterator[str]:
    """A sentence for each thing that may go wrong with both folders."""
    for folder in (a, b):
        sizes = _sizes(folder)
        if len(sizes) < FEW_PICTURES:
            yield (
                f"{folder.folder} has only {len(sizes)} pictures; below {FEW_PICTURES} "
                "they are learned by heart and results suffer."
            )
        grey = sum(file.path in folder.grey for file in folder.files)
        if 0 < grey < len(sizes):
            channels = config.channels_a if folder.domain == "A" else config.channels_b
            yield (
                f"{grey} of {len(sizes)} pictures in {folder.folder} are grey and the others in "
                f"colour; all are read as {'RGB' if channels == 3 else 'grey'}."
            )
        yield from _colour_warnings(folder)
        yield from _size_warnings(folder.folder, sizes, config)
    if twins:
        names = ", ".join(file.name for file, _ in twins[:_NAMED_IN_TEXT])
        more = f" and {len(twins) - _NAMED_IN_TEXT} more" if len(twins) > _NAMED_IN_TEXT else ""
        yield (
            f"{len(twins)} files of A are in B too ({names}{more}); "
            "a picture should show one domain only."
        )


def _colour_warnings(folder: PictureFolder) -> Iterator[str]:
    """A sentence for each way in which colours are not what the files hold."""
    used = {file.path for file in folder.files}
    notes = Counter(note for path, note in folder.colours.items() if path in used)
    spaces = {
        note.removesuffix(CONVERTED): count
        for note, count in notes.items()
        if note.endswith(CONVERTED)
    }
    if spaces:
        names = sorted(spaces, key=lambda name: (-spaces[name], name))
        more = "" if len(names) <= _NAMED_IN_TEXT else f" and {len(names) - _NAMED_IN_TEXT} more"
        yield (
            f"{sum(spaces.values())} of {len(used)} pictures in {folder.folder} had a colour "
            f"profile and were converted to sRGB ({', '.join(names[:_NAMED_IN_TEXT])}{more})."
        )
    for note, count in notes.most_common():
        if not note.endswith(CONVERTED):
            yield f"{count} of {len(used)} pictures in {folder.folder}: {note}."
    losses = [f"{path.name} ({loss})" for path, loss in folder.losses.items()]
    if losses:
        more = "" if len(losses) <= _NAMED_IN_TEXT else f" and {len(losses) - _NAMED_IN_TEXT} more"
        yield (
            f"Samples below 0 in {folder.folder} can't be shown: "
            f"{', '.join(sorted(losses)[:_NAMED_IN_TEXT])}{more}."
        )


def _size_warnings(folder: Path, sizes: list[tuple[int, int]], config: DataConfig) -> Iterator[str]:
    """A sentence for each way in which pictures lose by their resize."""
    side = config.crop_size
    small = sum(min(size) < side for size in sizes)
    if config.crops and small:
        yield (
            f"{small} of {len(sizes)} pictures in {folder} are smaller than the crop of {side} "
            "pixels and are enlarged to fit; smaller crops would keep them sharp."
        )
    squashed = sum(width != height for width, height in sizes)
    if config.preprocess == "square_and_crop" and squashed:
        yield (
            f"{squashed} of {len(sizes)} pictures in {folder} are not square and are squashed; "
            "resize_and_crop keeps their aspect."
        )
    flat = sum(config.load_size * height / width < side for width, height in sizes)
    if config.preprocess in ("scale_width", "scale_width_and_crop") and flat:
        yield (
            f"{flat} of {len(sizes)} pictures in {folder} are so wide that they are stretched "
            f"in height to {side} pixels; resize_and_crop keeps their aspect."
        )


def identical_files(files_a: list[PictureFile], files_b: list[PictureFile]) -> Twins:
    """Pairs with the same content, by size first and SHA-256 then; at most one per file of A."""
    by_size: dict[int, list[PictureFile]] = defaultdict(list)
    for file in files_b:
        by_size[file.num_bytes].append(file)
    digests: dict[Path, str] = {}

    def content(file: PictureFile) -> str:
        if file.path not in digests:
            try:
                digests[file.path] = hashlib.sha256(file.path.read_bytes()).hexdigest()
            except OSError:  # gone since it was listed: like no other file
                digests[file.path] = str(file.path)
        return digests[file.path]

    pairs: Twins = []
    for file in files_a:
        candidates = by_size.get(file.num_bytes, [])
        twin = next((other for other in candidates if content(other) == content(file)), None)
        if twin is not None:
            pairs.append((file, twin))
    return pairs
