"""Files that are read only if they are files, and that appear whole or not at all.

On a full disk the write fails with `OSError` (No space left on device), or with `SafetensorError`
where safetensors itself wrote the file. Then the file that was there stays, nothing lies beside it,
and one sentence says so.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from .errors import CycleGANError, reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


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


def make_folder(path: Path) -> None:
    """Make sure that a folder is there, and those above it.

    Raises:
        OSError: it can't be made; where something else has its name, that is said, which the
            system's words for it ("File exists") don't.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        place = Path(error.filename or path)
        is_hanging = place.is_symlink() and not place.exists()
        what = "a link that leads nowhere" if is_hanging else "a file, and no folder"
        why = f"{place.name} is {what}"
        raise NotADirectoryError(errno.ENOTDIR, why, str(place)) from None


_DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])[ ]*([.].*)?",
    re.IGNORECASE,
)
"""What Windows takes for a device, whatever its ending, and in any folder."""
_MOST_BYTES = 255
"""Of a name, on nearly every file system."""


def is_portable(name: str) -> bool:
    """Whether a name is a file's or folder's own on every system, and can be shown in a line.

    So it leads nowhere: it is no path, no drive, no device, no stream beside another file, and
    doesn't end in the dots and spaces that Windows takes off.
    """
    return (
        name.isprintable()
        and not set('/\\:*?"<>|') & set(name)
        and name[-1:] not in ("", ".", " ")
        and not _DEVICE.fullmatch(name)
        and len(name.encode()) <= _MOST_BYTES
    )


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, or is it, once all links are followed."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def check_links(folder: Path, *inner: str) -> None:
    """Refuse a folder that somebody may have packed so that what is written to it lies elsewhere.

    The folder itself may be a link, and links may lead to places inside.

    Args:
        folder: where files are replaced and removed; it need not be there.
        inner: folders inside in which that is done, too; one before those that lie in it.

    Raises:
        CycleGANError: something in it leads out.
        OSError: it can't be looked at.
    """
    for place in (folder, *(folder / name for name in inner)):
        if not place.is_dir():
            continue
        with os.scandir(place) as scan:
            entries = list(scan)
        for entry in entries:
            # Windows has links that only show when they are followed; they look like folders.
            may_lead = entry.is_symlink() or entry.is_dir(follow_symlinks=False)
            if may_lead and not is_inside(Path(entry.path), folder):
                raise CycleGANError(
                    f"{entry.path} is a link that leads out of the folder, to "
                    f"{os.path.realpath(entry.path)}, where would be written; put a copy in its "
                    "place, or name another folder."
                )


def is_on_network(path: str | Path) -> bool:
    r"""Whether Windows, to open it, might ask another computer: `\\computer\share` (UNC).

    It hands that computer the user's name and what a password can be guessed from.
    """
    return re.match(r"[/\\]{2}", str(path)) is not None


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

    Zeros are replaced, too: in Python 3.10 `csv` reads none.

    Raises:
        OSError: see `check_file`; or it can't be read.
    """
    check_file(path)
    return path.read_text(encoding="utf-8", errors="replace").replace("\0", "\ufffd")


_PARTIAL = re.compile(r"\..{1,40}\.[0-9a-f]{8}\.partial", re.DOTALL)
_SECONDS_TO_LOCK = 60
_tidied: set[Path] = set()


@contextmanager
def partial_file(path: Path) -> Generator[Path]:
    """An empty file beside `path`, which takes its place when the block ends without an error.

    It is on the disk by then. A link stays a link, and what it leads to is replaced. The name ends
    in `.partial`: where a process was killed, such a file stays until another one is written there.

    Raises:
        OSError: it can't be written, or links lead round in a circle.
    """
    path = Path(os.path.realpath(path))
    if path.is_symlink():  # a circle: of another link the end is known
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    _tidy(path.parent)
    name = path.name[:40]  # a name may have 255 bytes, and a letter takes up to 4
    partial = path.with_name(f".{name}.{secrets.token_hex(4)}.partial")
    try:
        partial.touch(exist_ok=False)
        mode = partial.stat().st_mode
        with _locked(partial):
            yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.chmod(mode)  # some writers make a file that only its owner may read
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Generator[bool]:
    """Hold a file's lock, which ends with the process; False if another one has it, or none can."""
    if fcntl is None:
        yield False
        return
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours = True
        except OSError:  # somebody is writing; or this disk knows no locks
            is_ours = False
        yield is_ours


def _tidy(folder: Path) -> None:
    """`remove_partials`, once in a process; not of a file so new that it may not be locked yet."""
    if folder not in _tidied:
        _tidied.add(folder)
        remove_partials(folder, seconds=_SECONDS_TO_LOCK)


def remove_partials(folder: Path, *, seconds: float = 0) -> None:
    """Remove what killed processes left in a folder; nothing that is in use.

    Args:
        folder: the files' own.
        seconds: how old they must be; 0 where nobody else is about to write.
    """
    with suppress(OSError):
        names = [entry.name for entry in os.scandir(folder) if _PARTIAL.fullmatch(entry.name)]
        for path in map(folder.joinpath, names):
            with suppress(OSError):
                is_old = time.time() - check_file(path).st_mtime >= seconds
                with _locked(path) as is_ours:
                    if is_old and is_ours:
                        path.unlink()


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
