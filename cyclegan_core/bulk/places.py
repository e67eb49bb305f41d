"""Folders on disks and in object stores: looked through, read from, and written to whole or not.

What fsspec reads can be a source: local paths, s3://, gs://, hf:// and many more. A target must be
one where a file can appear whole: on a disk by a temporary name, in an object store by itself.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import fsspec  # pyright: ignore[reportMissingTypeStubs]
from fsspec.implementations.local import (  # pyright: ignore[reportMissingTypeStubs]
    LocalFileSystem,
)

from ..errors import CycleGANError, reason
from ..files import check_file, make_folder, partial_file, remove_partials

_WHOLE_BY_THEMSELVES = frozenset(
    ["s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "memory"]
)
"""Where nobody sees an object before all of it is there."""

_READ_ONLY = frozenset(["hf", "http", "https", "zip", "tar", "github"])
"""Where files can't be written one by one; on the Hub each would be a commit."""


MISTAKES = (NameError, AttributeError, AssertionError)
"""What no store raises."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in one folder, both sorted by name."""

    folders: list[str]
    files: dict[str, int]
    """Sizes in bytes by name."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder somewhere; names below it have slashes. It can be sent to other processes."""

    fs: Any
    root: str
    """As the file system calls it."""
    url: str
    """As the user calls it."""

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk of this computer, or one that is mounted."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def real_root(self) -> str:
        """What is the same for two names of one folder."""
        return os.path.realpath(self.root) if self.is_local else self.root

    def path(self, name: str) -> str:
        """A name below the folder, as the file system calls it."""
        return f"{self.root.rstrip('/')}/{name}" if name else self.root

    def shown(self, name: str) -> str:
        """A name below the folder, as the user would write it."""
        return f"{self.url.rstrip('/')}/{name}" if name else self.url

    def size(self, name: str) -> int | None:
        """Bytes of a file; None if there is none.

        Raises:
            OSError: it can't be looked at.
        """
        try:
            info = self.fs.info(self.path(name))
            if info.get("islink"):
                return os.path.getsize(self.path(name))  # noqa: PTH202
        except FileNotFoundError:
            return None
        return int(info.get("size") or 0) if info["type"] == "file" else None

    def listing(self, name: str) -> Listing:
        """What lies in a folder; links are followed, and a folder that is missing is empty.

        Raises:
            OSError: it can't be read.
        """
        folders: list[str] = []
        files: dict[str, int] = {}
        if self.is_local:
            with suppress(FileNotFoundError), os.scandir(self.path(name)) as entries:
                for entry in entries:
                    with suppress(OSError):  # a link that leads nowhere
                        if entry.is_dir():
                            folders.append(entry.name)
                        elif entry.is_file():
                            files[entry.name] = entry.stat().st_size
        else:
            with suppress(FileNotFoundError):
                for entry in self.fs.ls(self.path(name), detail=True):
                    own = entry["name"].rstrip("/").rpartition("/")[2]
                    if entry["type"] == "directory":
                        folders.append(own)
                    elif not entry["name"].endswith("/"):  # which only stands for a folder
                        files[own] = int(entry.get("size") or 0)
        return Listing(sorted(folders), dict(sorted(files.items())))

    def read(self, name: str) -> bytes:
        """All of a file."""
        content: bytes = self.fs.cat_file(self.path(name))
        return content

    def open(self, name: str) -> BinaryIO:
        """A file, to be read piece by piece."""
        file: BinaryIO = self.fs.open(self.path(name), "rb")
        return file

    def create(self, name: str, content: bytes) -> None:
        """Write a small file that must not exist.

        Raises:
            FileExistsError: it does.
        """
        path = self.path(name)
        if self.is_local:
            make_folder(Path(path).parent)
            with open(path, "xb") as file:  # noqa: PTH123 - as `Path.open`, of a str
                try:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    os.unlink(path)  # noqa: PTH108 - an empty one would pass for somebody's
                    raise
            return
        try:
            self.fs.pipe_file(path, content, mode="create")
        except (NotImplementedError, TypeError):  # a store without that
            if self.fs.exists(path):
                raise FileExistsError(path) from None
            self.fs.pipe_file(path, content)

    def write(self, name: str, write: Callable[[Path], object]) -> int:
        """Let `write` make a file, which then appears whole or not at all; returns its bytes.

        Args:
            name: below the folder; missing folders are made.
            write: makes the file at the path it is given, which has the same ending.
        """
        path = self.path(name)
        if self.is_local:
            target = Path(path)
            make_folder(target.parent)
            write(target)
            return target.stat().st_size
        with tempfile.TemporaryDirectory(prefix="cyclegan-") as folder:
            made = Path(folder) / path.rpartition("/")[2]
            write(made)
            size = made.stat().st_size
            protocols = (
                {self.fs.protocol} if isinstance(self.fs.protocol, str) else self.fs.protocol
            )
            if _WHOLE_BY_THEMSELVES & set(protocols):
                self.fs.put_file(str(made), path)
            else:
                parent, _, own = path.rpartition("/")
                self.fs.makedirs(parent, exist_ok=True)
                partial = f"{parent}/.{own[:40]}.{secrets.token_hex(4)}.partial"
                self.fs.put_file(str(made), partial)
                self.fs.mv(partial, path)
        return size

    def write_own(self, name: str, content: bytes) -> None:
        """Write a small file of the job's own, whole or not at all.

        Raises:
            CycleGANError: it can't be written; one that was there stays as it was.
        """

        def write(path: Path) -> None:
            if not self.is_local:
                path.write_bytes(content)
                return
            with partial_file(path) as partial:
                partial.write_bytes(content)

        with self.telling(name, "written"):
            self.write(name, write)

    def read_own(self, name: str) -> bytes | None:
        """All of a small file of the job's own; None if there is none.

        Raises:
            CycleGANError: it can't be read.
        """
        with self.telling(name, "read"), suppress(FileNotFoundError):
            if self.is_local:
                check_file(Path(self.path(name)))
            return self.read(name)
        return None

    def remove(self, name: str) -> None:
        """Delete a small file of the job's own, if it is there.

        Raises:
            CycleGANError: it can't be deleted.
        """
        with self.telling(name, "deleted"), suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    @contextmanager
    def telling(self, name: str, what: str) -> Generator[None]:
        """Make any fault a sentence: each kind of store has its own.

        What only a mistake in a program raises goes on as it is.

        Raises:
            CycleGANError: what is done with a file of the job's own failed.
        """
        try:
            yield
        except MISTAKES:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            raise CycleGANError(
                f"{self.shown(name)} can't be {what}: {fault(error)}; mend that, and the same "
                "command goes on."
            ) from None

    def remove_partials(self, folders: Iterable[str]) -> None:
        """Remove what killed processes left of files that never became whole, on a disk."""
        if self.is_local:
            for folder in folders:
                remove_partials(Path(self.path(folder)))


def find_place(url: str) -> Place:
    """A folder that a user named, by path or URL.

    Raises:
        CycleGANError: nothing here reads such a URL.
        ValueError: the name is empty.
    """
    if not url:
        raise ValueError("the name of a folder is empty; give a path or a URL.")
    try:
        fs, root = fsspec.url_to_fs(url, **({"use_listings_cache": False} if "://" in url else {}))
    except ImportError as error:  # fsspec's sentence names the package
        raise CycleGANError(f"{url} can't be read: {error}.") from None
    except ValueError as error:
        raise CycleGANError(f"{url} can't be read: {error}.") from None
    except Exception as error:  # noqa: BLE001 - each kind of store has its own
        raise CycleGANError(f"{url} can't be read: {fault(error)}.") from None
    return Place(fs, str(root), url)


def check_target(target: Place, source: Place) -> None:
    """Make sure that results can be written, and never beside or over what is read.

    Raises:
        CycleGANError: they can't.
    """
    protocol = target.url.partition("://")[0]
    if "://" in target.url and protocol in _READ_ONLY:
        raise CycleGANError(
            f"{target.url} can't be written to picture by picture; choose a folder or an object "
            "store, and send the results on afterwards."
        )
    if type(target.fs) is not type(source.fs):
        return
    inner, outer = f"{target.real_root.rstrip('/')}/", f"{source.real_root.rstrip('/')}/"
    if inner == outer:
        raise CycleGANError(f"{target.url} is the source itself; choose another target.")
    if inner.startswith(outer):
        raise CycleGANError(
            f"The target {target.url} lies inside the source {source.url}, and results would be "
            "taken for pictures; choose a target outside it."
        )
    if outer.startswith(inner):
        raise CycleGANError(
            f"The source {source.url} lies inside the target {target.url}, and results could "
            "replace what is read; choose another target."
        )


def fault(error: BaseException) -> str:
    """Why a store refused, on one line, without the full stop."""
    text = reason(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")
