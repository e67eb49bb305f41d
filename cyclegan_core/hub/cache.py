"""The library's cache on the disk: what is in it, whether it is right, and whether more fits.

Its layout (`models--owner--repo` with refs, blobs and snapshots) is documented by the library.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from huggingface_hub import constants

from ..errors import CycleGANError, DownloadError
from ..files import atomic_write, partial_file, read_text
from .repository import MAIN, HubFile, is_commit, is_safe_name, place

log = logging.getLogger(__name__)

_CHUNK = 2**20
_PATIENCE = 1.5
"""Seconds of waiting for another process that nobody is told of."""


def cached_files(repo: str, revision: str | None) -> tuple[str, list[HubFile]]:
    """The commit that a revision had when it was last fetched, and the files of it that are there.

    Raises:
        DownloadError: nothing is there.
    """
    folder = _folder(repo)
    commit = revision or MAIN
    try:
        if not is_commit(commit):
            commit = read_text(folder / "refs" / commit).strip()
        snapshot = folder / "snapshots" / commit
        if not is_commit(commit) or not snapshot.is_dir():
            raise FileNotFoundError
        paths = sorted(path for path in snapshot.rglob("*") if path.is_file())
        names = {path.relative_to(snapshot).as_posix(): path for path in paths}
        return commit, [_describe(p, name) for name, p in names.items() if is_safe_name(name)]
    except (OSError, ValueError):
        raise DownloadError(
            f"There is no local copy of {place(repo, revision)}; fetch it once with a network "
            "connection."
        ) from None


def _describe(path: Path, name: str) -> HubFile:
    """A cached file; where links are used, the name of what they lead to is its checksum."""
    digest = path.resolve().name if path.is_symlink() else _git_name(path)
    is_sha256 = len(digest) == 64
    return HubFile(
        name, path.stat().st_size, digest if is_sha256 else None, None if is_sha256 else digest
    )


def note_revision(repo: str, revision: str | None, commit: str) -> None:
    """Remember which commit a branch or tag is, as the library does, for use without a network."""
    if is_commit(revision):
        return
    path = _folder(repo) / "refs" / (revision or MAIN)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda temporary: temporary.write_text(commit, encoding="utf-8"))
    except (OSError, CycleGANError) as error:  # a cache that is only read serves all the same
        log.info("%s of %s is not noted: %s", revision or MAIN, repo, error)


def store(
    repo: str,
    commit: str,
    file: HubFile,
    write: Callable[[Path], object],
    while_waiting: Callable[[], object],
) -> None:
    """Let `write` make a file of a commit; its name in the cache is the checksum that was listed.

    While another process makes the same file, `while_waiting` is called now and then, and ends the
    wait by raising.

    Raises:
        OSError: it can't be stored.
    """
    path = cached_path(repo, commit, file)
    blob = _folder(repo) / "blobs" / str(file.sha256 or file.blob_id)
    lock = _cache() / ".locks" / _folder(repo).name / f"{blob.name}.lock"  # the library's own
    for folder in (blob.parent, path.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with _locked(lock, f"{file.name} of {repo}", while_waiting):  # a second one finds the file
        if not blob.is_file():
            blob.unlink(missing_ok=True)  # a link to nothing
            with partial_file(blob) as partial:
                write(partial)
        if path.is_file():
            return
        path.unlink(missing_ok=True)
        try:
            path.symlink_to(os.path.relpath(blob, path.parent))
        except OSError:  # Windows gives them to few
            shutil.copyfile(blob, path)


@contextmanager
def _locked(path: Path, what: str, while_waiting: Callable[[], object]) -> Generator[None]:
    """Hold a lock; somebody who has to wait for it is told why."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        log.warning("Another process is fetching %s; waiting for it.", what)
        while not lock.is_locked:
            while_waiting()
            with suppress(Timeout):
                lock.acquire(timeout=0.2)
    try:
        yield
    finally:
        lock.release()


def check_content(path: Path, file: HubFile, repo: str) -> str:
    """Compare a fetched file with what the Hub stated; a wrong one is removed from the cache.

    Returns:
        Its sha256.

    Raises:
        DownloadError: size or checksum differ, or a link leads out of the cache.
    """
    roots = [folder.resolve() for folder in (_folder(repo), _cache())]
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise DownloadError(
            f"{path} is a link that leads out of the cache, so {file.name} of {repo} was not "
            "used; delete it and try again."
        )
    size = path.stat().st_size
    sha256 = _digest(path, hashlib.sha256())
    is_right = sha256 == file.sha256 if file.sha256 else _git_name(path) == file.blob_id
    if size == file.size and is_right:
        return sha256
    for wrong in (path.resolve(), path):
        with suppress(OSError):  # it is refused in any case
            wrong.unlink(missing_ok=True)
    what = f"has {size:,} bytes instead of {file.size:,}" if size != file.size else "differs"
    raise DownloadError(
        f"{file.name} of {repo} was damaged on its way (it {what} from what the Hub states), so "
        "nothing was installed; try again."
    )


def is_cached(repo: str, commit: str, file: HubFile) -> bool:
    """Whether a file of a commit is there already."""
    return cached_path(repo, commit, file).is_file()


def cached_path(repo: str, commit: str, file: HubFile) -> Path:
    """Where a file of a commit lies, or would lie."""
    return _folder(repo) / "snapshots" / commit / file.name


def check_space(repo: str, needs: Iterable[tuple[Path, int]]) -> None:
    """Make sure that so many bytes fit into each folder.

    Raises:
        DownloadError: they don't.
    """
    sums: dict[int, tuple[Path, int]] = {}  # by disk
    for folder, size in needs:
        # The folder may be made later; the nearest one above it lies on the same disk.
        folder = folder.absolute()
        folder = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        disk = folder.stat().st_dev
        first, others = sums.get(disk, (folder, 0))
        sums[disk] = first, others + size
    for folder, size in sums.values():
        free = shutil.disk_usage(folder).free
        if size > free:
            raise DownloadError(
                f"{repo} needs {size / 1e6:,.0f} MB on the disk of {folder}, which has "
                f"{free / 1e6:,.0f} MB left; free some space, or set HF_HOME to another disk."
            )


def _cache() -> Path:
    return Path(constants.HF_HUB_CACHE).expanduser()


def _folder(repo: str) -> Path:
    return _cache() / f"models--{repo.replace('/', '--')}"


def _git_name(path: Path) -> str:
    """What git calls a file's content."""
    header = f"blob {path.stat().st_size}\0".encode()
    return _digest(path, hashlib.sha1(header, usedforsecurity=False))


def _digest(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
