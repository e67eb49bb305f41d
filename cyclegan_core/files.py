"""Files that are read only if they are files, and that appear whole or not at all.

On a full disk the write fails with `OSError` (No space left on device), or with `SafetensorError`
where safetensors itself wrote the file. Then the file that was there stays, nothing lies beside it,
and one sentence says so.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from .errors import CycleGANError, reason


def check_file(path: Path) -> os.stat_result:
    """Make sure that there is a file that can be read to its end, and say what the system knows.

    Raises:
        OSError: nothing is there, or a folder; or a pipe, a socket or a device, which might never
            end. Links are followed.
        ValueError: there can't be such a path.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, and no file", str(path))
    return status


def read_text(path: Path) -> str:
    """The text of a file, which is UTF-8.

    Raises:
        OSError: see `check_file`; or it can't be read.
        ValueError: it is no such text, or there can't be such a path.
    """
    check_file(path)
    return path.read_text(encoding="utf-8")


def read_table(path: Path) -> str:
    """The text of a table, in which a power cut or a kill may have left anything.

    Raises:
        OSError: see `check_file`; or it can't be read.
    """
    check_file(path)
    return path.read_text(encoding="utf-8", errors="replace")


@contextmanager
def partial_file(path: Path) -> Generator[Path]:
    """An empty file beside `path`, which takes its place when the block ends without an error.

    It is on the disk by then. A link stays a link, and what it leads to is replaced. The name ends
    in `.partial`: where a process was killed, such a file stays.
    """
    path = Path(os.path.realpath(path))
    name = path.name[:40]  # a name may have 255 bytes, and a letter takes up to 4
    partial = path.with_name(f".{name}.{secrets.token_hex(4)}.partial")
    try:
        partial.touch(exist_ok=False)
        mode = partial.stat().st_mode
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.chmod(mode)  # some writers make a file that only its owner may read
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def atomic_write(
    path: Path,
    write: Callable[[Path], object],
    *,
    error_type: type[CycleGANError] = CycleGANError,
) -> None:
    """Let `write` make a file that then appears under `path` complete, or not at all.

    Args:
        path: the file; a link stays a link, and what it leads to is replaced.
        write: makes the file at the path it is given, which lies beside `path`.
        error_type: what is raised when it can't be written.

    Raises:
        error_type: the file can't be written; a file that was there stays as it was.
    """
    try:
        with partial_file(path) as partial:
            write(partial)
    except (OSError, SafetensorError) as error:
        path = Path(os.path.realpath(path))
        raise error_type(
            f"{path.name} can't be written to {path.parent} ({reason(error)}); "
            "check that the folder exists, may be written to, and has space."
        ) from None
