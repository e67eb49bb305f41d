"""The work: pictures of the source without those whose results exist and are whole.

Folder by folder, so that names are held once, in Arrow's tables, and the files of one folder at a
time beside them.
"""

from __future__ import annotations

import os
import struct
import unicodedata
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..errors import PictureError
from ..pictures.files import WRITABLE, is_picture_name, opened
from .arrow import Table, pa
from .places import Listing, Place, fault

FOLDER = "_cyclegan"
"""Below the target: the lease, the job's settings, the report."""

ROWS = 256
"""Pictures of a table, which one task reads."""

WORK = pa.schema([("input", pa.string()), ("output", pa.string()), ("size", pa.int64())])
"""Names below source and target, and the bytes of the picture's file."""

_LOOKERS = 8
"""Threads that look at results."""

_TIFF_PLACES = ((273, 279), (324, 325))
"""The tags that say where strips, or tiles, begin and how long they are."""


@dataclass(slots=True)
class Worklist:
    """What is to be done, and what isn't."""

    open: list[Table] = field(default_factory=list[Table])
    """Of `WORK`."""
    there: list[Table] = field(default_factory=list[Table])
    """Of `WORK`, with the size of the result instead of the picture's."""
    refused: dict[str, str] = field(default_factory=dict[str, str])
    """Sentences by input."""

    @property
    def total(self) -> int:
        """Pictures of the source, and folders that can't be read."""
        return self.num_open + self.num_there + len(self.refused)

    @property
    def num_open(self) -> int:
        """Pictures to be done."""
        return sum(len(table) for table in self.open)

    @property
    def num_there(self) -> int:
        """Pictures whose results exist."""
        return sum(len(table) for table in self.there)

    def folders(self) -> set[str]:
        """Those that have results, or will."""
        tables = (*self.open, *self.there)
        names = (name for table in tables for name in table["output"].to_pylist())
        return {name.rpartition("/")[0] for name in names}


def find_work(
    source: Place, target: Place, on_found: Callable[[int], object] = lambda _: None
) -> Worklist:
    """Look through both.

    Hidden files and folders don't count, nor do files without the ending of a picture. Of names
    that would become one file on some disk, the first is taken and the others are refused.

    Args:
        source: where the pictures are.
        target: where the results go.
        on_found: told how many pictures were found so far.

    Raises:
        OSError: the source itself can't be read.
    """
    work = Worklist()
    todo, there = _Table(work.open), _Table(work.there)
    found = 0
    folders_by_key: dict[str, str] = {}
    with ThreadPoolExecutor(_LOOKERS) as pool:
        for folder, listing in _walk(source, work.refused):
            names = [name for name in listing.files if is_picture_name(name)]
            found += len(names)
            if odd := [name for name in names if not _is_text(_join(folder, name))]:
                for name in (_escaped(_join(folder, name)) for name in odd):
                    work.refused[name] = (
                        f"{source.shown(name)} has a name that is no UTF-8 text, which no table "
                        "holds; rename it."
                    )
                names = [name for name in names if name not in odd]
            if not names:
                continue
            other = folders_by_key.setdefault(_key(folder), folder)
            if other != folder:
                refused = (
                    f"{source.shown(folder)} and {source.shown(other)} differ only by case, and "
                    "would be one folder on many disks; rename one."
                )
                work.refused |= dict.fromkeys((_join(folder, name) for name in names), refused)
                continue
            results = target.listing(folder).files
            taken: dict[str, str] = {}
            pairs: list[tuple[str, str]] = []
            for name in names:
                output = _output_name(name)
                other = taken.setdefault(_key(output), name)
                if other == name:
                    pairs.append((name, output))
                    continue
                both = (
                    f"{source.shown(_join(folder, name))} and {source.shown(_join(folder, other))}"
                )
                if output == _output_name(other):
                    sentence = f"{both} would both become {output}; translate them apart."
                else:
                    sentence = f"The results of {both} would differ only by case; rename one."
                work.refused[_join(folder, name)] = sentence

            def is_there(
                pair: tuple[str, str], folder: str = folder, results: dict[str, int] = results
            ) -> bool:
                return is_whole(target, _join(folder, pair[1]), results.get(pair[1]))

            for (name, output), is_done in zip(pairs, pool.map(is_there, pairs), strict=True):
                size = results[output] if is_done else listing.files[name]
                (there if is_done else todo).add(_join(folder, name), _join(folder, output), size)
            on_found(found)
    todo.close()
    there.close()
    return work


def is_whole(target: Place, name: str, size: int | None) -> bool:
    """Whether a result has its end; looked at on disks only: a store shows whole objects.

    A result of ours always has. A file that was copied there by other means may not.

    Args:
        target: where results are.
        name: of the result.
        size: its bytes; None if there is no such file.
    """
    if not size or not target.is_local:
        return bool(size)
    path = Path(target.path(name))
    suffix = path.suffix.lower()
    try:
        if suffix in (".tif", ".tiff"):
            return _has_strips(path, size)
        with path.open("rb") as file:
            head = file.read(12)
            file.seek(max(0, size - 12))
            tail = file.read()
    except (OSError, PictureError):
        return False
    if suffix == ".png":
        return head.startswith(b"\x89PNG") and tail[4:8] == b"IEND"
    if suffix in (".jpg", ".jpeg"):
        return head.startswith(b"\xff\xd8") and tail.endswith(b"\xff\xd9")
    if len(head) < 12:
        return False
    if suffix == ".webp":
        return head.startswith(b"RIFF") and struct.unpack("<I", head[4:8])[0] + 8 <= size
    return head.startswith(b"BM") and struct.unpack("<I", head[2:6])[0] <= size


def _has_strips(path: Path, size: int) -> bool:
    """Whether a TIFF's samples lie inside the file."""
    with opened(path, max_pixels=2**40) as image:
        tags = getattr(image, "tag_v2", {})
        for offsets, counts in _TIFF_PLACES:
            if offsets in tags:
                ends = map(sum, zip(tags[offsets], tags.get(counts, ()), strict=True))
                return max(ends, default=0) <= size
    return False


def _walk(source: Place, refused: dict[str, str]) -> Iterator[tuple[str, Listing]]:
    """Every folder and what lies in it, in the order of their names; none twice."""
    entered: set[str] = set()
    left = [""]
    while left:
        folder = left.pop()
        if source.is_local:  # a circle of links ends
            real = os.path.realpath(source.path(folder))
            if real in entered:
                continue
            entered.add(real)
        try:
            listing = source.listing(folder)
        except Exception as error:  # each kind of store has its own
            if not folder:
                raise
            folder = _escaped(folder)
            refused[folder] = f"{source.shown(folder)} can't be read: {fault(error)}."
            continue
        left += [_join(folder, name) for name in reversed(listing.folders) if name[:1] != "."]
        yield folder, listing


class _Table:
    """Rows of `WORK` that become tables of `ROWS` each."""

    def __init__(self, tables: list[Table]) -> None:
        self.tables = tables
        self.rows: list[tuple[str, str, int]] = []

    def add(self, *row: object) -> None:
        self.rows.append(row)  # pyright: ignore[reportArgumentType]
        if len(self.rows) == ROWS:
            self.close()

    def close(self) -> None:
        if self.rows:
            columns = [list(column) for column in zip(*self.rows, strict=True)]
            self.tables.append(pa.table(columns, schema=WORK))
            self.rows = []


def _output_name(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name if suffix.lower() in WRITABLE else name.removesuffix(suffix) + ".png"


def _is_text(name: str) -> bool:
    """Whether a name is Unicode; a disk's may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(name: str) -> str:
    """A name as text, whatever it is."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _key(name: str) -> str:
    """What is the same for names that a disk may take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
