"""Which files of a folder are taken for pictures: the same ones in training, shell and host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .files import READABLE

Identity = tuple[int, int]
"""What two names of one file have in common: its device and its number there."""


def identity(path: Path) -> Identity | None:
    """The identity of a file or folder; None if there is nothing to be seen."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def find_pictures(
    folder: Path,
    *,
    leave_out: Identity | None = None,
    on_error: Callable[[OSError], None] | None = None,
) -> Iterator[Path]:
    """Files with the ending of a picture, below `folder` too; each folder's own, sorted, first.

    Hidden files and folders don't count. Links are followed, but no folder is entered twice, so
    a circle of links ends.

    Args:
        folder: where to search.
        leave_out: the `identity` of a folder that is not entered.
        on_error: told of each folder that can't be read; those are passed over.
    """
    entered = {leave_out}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=on_error):
        here = Path(parent)
        known_as = identity(here)
        if known_as in entered:
            folders.clear()
            continue
        entered.add(known_as)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in READABLE:
                yield here / name
