"""Files come from the Hub into the library's cache, verified; whoever watches may cancel."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import constants, hf_hub_download

from .._version import __version__
from ..errors import DownloadError
from .cache import check_content, check_space, is_cached, note_revision
from .faults import as_sentences
from .repository import LIBRARY, Resolved, place

OnBytes = Callable[[int, int], None]
"""Called as (bytes done, bytes in all) over all files; it cancels the download by raising."""


class Meter:
    """Adds up the bytes of several files."""

    def __init__(self, on_bytes: OnBytes, total: int) -> None:
        self.done = 0
        self.total = total
        self.stopped: BaseException | None = None
        """What `on_bytes` raised; the library may have swallowed or changed it on its way."""
        self._on_bytes = on_bytes

    def add(self, count: int) -> None:
        """Note `count` more bytes; fewer, if a download begins again."""
        self.set(self.done + count)

    def set(self, done: int) -> None:
        """Note that `done` bytes are there in all."""
        self.done = done
        if self.stopped is None:
            try:
                self._on_bytes(min(done, self.total), self.total)
            except BaseException as error:
                self.stopped = error
                raise

    def bar_class(self) -> type[Any]:
        """A class whose objects the library takes for progress bars of tqdm."""
        meter = self

        class Bar:
            total: int | None = None

            def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
                meter.add(initial)

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def update(self, count: int = 1) -> None:
                meter.add(count)

            def update_transfer(self, count: int) -> None:
                """Bytes on the wire, which compression makes fewer; the others are counted."""

            def set_postfix_str(self, *_: object, **__: object) -> None:
                """The speed, which is not shown."""

            set_transfer_postfix_str = set_postfix_str
            refresh = close = set_postfix_str

        return Bar


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
        path = _download(found, file.name, meter, is_offline=is_offline)
        fetched[file.name] = path, check_content(path, file, repo)
        meter.set(done + file.size)
    if not is_offline:
        note_revision(repo, found.revision, found.commit)
    return fetched


def _download(found: Resolved, name: str, meter: Meter, *, is_offline: bool) -> Path:
    """One file through the library's cache; what `on_bytes` raises comes out as it is."""
    options: dict[str, Any] = {"local_files_only": is_offline}
    if "tqdm_class" in inspect.signature(hf_hub_download).parameters:  # older ones tell nothing
        options["tqdm_class"] = meter.bar_class()
    try:
        with as_sentences(place(found.repo_id, found.revision), name):
            path = hf_hub_download(
                found.repo_id,
                name,
                revision=found.commit,
                library_name=LIBRARY,
                library_version=__version__,
                **options,
            )
    except DownloadError:
        if meter.stopped is not None:
            raise meter.stopped from None
        raise
    if meter.stopped is not None:
        raise meter.stopped
    return Path(path)
