"""Files come from the Hub into the library's cache, verified; whoever watches may cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants, hf_hub_url

from ..errors import DownloadError
from .cache import cached_path, check_content, check_space, is_cached, note_revision, store
from .faults import as_sentences
from .repository import HubFile, Resolved, place
from .transfer import download

OnBytes = Callable[[int, int], None]
"""Called as (bytes done, bytes in all) over all files; it cancels the download by raising."""


class Meter:
    """Tells of the bytes of several files together."""

    def __init__(self, on_bytes: OnBytes, total: int) -> None:
        self.done = 0
        self.total = total
        self.stopped: BaseException | None = None
        """What `on_bytes` raised, which is nobody's fault."""
        self._on_bytes = on_bytes

    def set(self, done: int) -> None:
        """Note that `done` bytes are there in all; fewer than before, if a file begins again."""
        self.done = done
        try:
            self._on_bytes(min(done, self.total), self.total)
        except BaseException as error:
            self.stopped = error
            raise


def fetch(
    found: Resolved, on_bytes: OnBytes, *, is_offline: bool, also: tuple[Path, int] | None = None
) -> dict[str, tuple[Path, str]]:
    """Bring all files of a model into the cache.

    Args:
        found: what to bring.
        on_bytes: called as the download goes on; it cancels by raising.
        is_offline: they are in the cache, and no network is to be used.
        also: a folder and the bytes that it will take afterwards.

    Returns:
        Name in the repository -> where the file lies, and its sha256.

    Raises:
        DownloadError: a file can't be had or stored, or is not what the Hub stated.
    """
    repo = found.repo_id
    with as_sentences(repo):
        missing = [file.size for file in found.downloads if not is_cached(repo, found.commit, file)]
        check_space(repo, [(Path(constants.HF_HUB_CACHE), sum(missing)), *([also] if also else [])])
    meter = Meter(on_bytes, sum(file.size for file in found.downloads))
    fetched: dict[str, tuple[Path, str]] = {}
    for file in found.downloads:
        done = meter.done
        path = _bring(found, file, meter, is_offline=is_offline)
        fetched[file.name] = path, check_content(path, file, repo)
        meter.set(done + file.size)
    if not is_offline:
        note_revision(repo, found.revision, found.commit)
    return fetched


def _bring(found: Resolved, file: HubFile, meter: Meter, *, is_offline: bool) -> Path:
    """Where a file lies in the cache, to which it is fetched if it is not there.

    What `on_bytes` raises comes out as it is.
    """
    repo, commit = found.repo_id, found.commit
    where = place(repo, found.revision)
    if not is_cached(repo, commit, file):
        if is_offline:
            raise DownloadError(
                f"{where} is not in the local cache; fetch it once with a network connection."
            )
        before, url = meter.done, hf_hub_url(repo, file.name, revision=commit)

        def write(path: Path) -> None:
            download(url, path, file.size, where, lambda done: meter.set(before + done))

        try:
            with as_sentences(where, file.name):
                store(repo, commit, file, write, lambda: meter.set(before))
        except DownloadError:
            if meter.stopped is not None:
                raise meter.stopped from None
            raise
    return cached_path(repo, commit, file)
