"""Bytes from the Hub: no more than were stated, no slower than any line is, and to no other place.

The library's own download names its files after what the server calls them (the ETag), which may
lead anywhere on the disk, stores whatever is sent, and waits as long as now and then a byte comes.
So the requests go through the library, its login and its proxies, and the rest is done here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from .._version import __version__
from ..errors import DownloadError
from .faults import TRANSPORT_FAULT, host, retry_seconds, unreachable
from .repository import LIBRARY

PATIENCE = 60.0
"""Seconds after which a transfer is judged, and ended if it was slower than `SLOWEST`."""
SLOWEST = 1000
"""Bytes per second."""
_ATTEMPTS = 5
"""In vain, one after the other; whatever arrives begins to count anew."""
PAUSE = 1.0
"""Seconds before the next attempt, if the server does not name its own."""
_LONGEST_WAIT = 30
"""Seconds that a server may ask us to wait before we try again by ourselves."""

OnChunk = Callable[[int], None]
"""Called with how many bytes of the file are there; it cancels by raising."""


class _Pace:
    """Ends a transfer that hardly goes on, however the server contrives it."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._begin()

    def _begin(self) -> None:
        self._since, self._count = time.monotonic(), 0

    def add(self, count: int) -> None:
        """Note `count` bytes that came.

        Raises:
            DownloadError: too few came for too long.
        """
        self._count += count
        seconds = time.monotonic() - self._since
        if seconds >= PATIENCE:
            if self._count < seconds * SLOWEST:
                reason = f"{host()} sends next to nothing ({self._count} bytes in {seconds:.0f} s)"
                raise unreachable(self._place, reason, "try again later")
            self._begin()


def read_answer(url: str, place: str, *, most: int, timeout: float) -> bytes:
    """The answer to one request, which is a small one.

    Args:
        url: what to ask for.
        place: the repository that is talked about, for messages.
        most: bytes that it may have.
        timeout: seconds of silence that end it.

    Raises:
        ValueError: it is longer.
        DownloadError: it comes too slowly.
    """
    pace = _Pace(place)
    content = bytearray()
    with _opened(url, timeout=timeout) as (_, chunks):
        for chunk in chunks:
            content += chunk
            if len(content) > most:
                raise ValueError(f"an answer of more than {most:,} bytes")
            pace.add(len(chunk))
    return bytes(content)


def download(url: str, path: Path, size: int, place: str, on_chunk: OnChunk) -> None:
    """Write what a server sends to `path`; where it was cut, it goes on from there.

    Args:
        url: the file.
        path: where to; it exists and is empty.
        size: bytes that the Hub stated.
        place: the repository that is talked about, for messages.
        on_chunk: told of the bytes that are there, also while nothing comes.

    Raises:
        DownloadError: more came than was stated, or it comes too slowly.
    """
    pace = _Pace(place)
    done = in_vain = 0
    with path.open("wb") as file:
        while True:
            before = done
            try:
                with _opened(url, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, first=done) as answer:
                    done, chunks = answer
                    file.seek(done)
                    file.truncate()
                    for chunk in chunks:
                        done += len(chunk)
                        if done > size:
                            raise DownloadError(
                                f"Nothing of {place} was installed because {host()} sends more "
                                f"than the {size:,} bytes that the Hub states; try again."
                            )
                        file.write(chunk)
                        on_chunk(done)
                        pace.add(len(chunk))
            except (TRANSPORT_FAULT, OSError) as error:
                in_vain = 1 if done > before else in_vain + 1
                wait = _seconds_to_wait(error)
                if wait is None or in_vain > _ATTEMPTS:
                    raise
            else:
                return
            until = time.monotonic() + wait
            while time.monotonic() < until:
                on_chunk(done)  # so that a wait can be cancelled
                time.sleep(min(0.2, wait))
            pace.add(0)


def _seconds_to_wait(error: Exception) -> float | None:
    """How long to wait until a request is tried again; None if that is of no use."""
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code not in (408, 429):
            return None
        asked = retry_seconds(error)
        return None if asked and asked > _LONGEST_WAIT else asked or PAUSE
    if isinstance(error, OSError) and error.errno is not None:
        return None  # of the disk
    return PAUSE


@contextmanager
def _opened(url: str, *, timeout: float, first: int = 0) -> Generator[tuple[int, Iterator[bytes]]]:
    """Ask for `url` from byte `first` on: where the answer begins, and its pieces as they come."""
    wishes = {"Accept-Encoding": "identity"}  # its size is to be the file's
    if first:
        wishes["Range"] = f"bytes={first}-"
    headers = build_hf_headers(library_name=LIBRARY, library_version=__version__, headers=wishes)
    session: Any = get_session()
    # Before version 1 the library used requests, whose sessions have a setting of this name.
    is_httpx = callable(getattr(session, "stream", None))
    request = (
        session.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True)
        if is_httpx
        else session.get(url, headers=headers, timeout=timeout, stream=True)
    )
    with request as response:
        hf_raise_for_status(response)
        start = first if response.status_code == 206 else 0
        yield start, response.iter_bytes() if is_httpx else _pieces(response)


def _pieces(response: Any) -> Iterator[bytes]:  # noqa: ANN401 - of requests
    """Of an answer to requests, as they come.

    Its own `iter_content` waits for the whole of a piece, for hours if the server drips, and loses
    what came of the last one where the transfer is cut.
    """
    from urllib3.exceptions import HTTPError  # which is there if requests is

    raw = response.raw
    try:
        if not hasattr(raw, "read1"):  # before urllib3 2.2
            yield from raw.stream(2**10, decode_content=False)
            return
        while piece := raw.read1(2**16, decode_content=False):
            yield piece
    except HTTPError as error:
        kind = TimeoutError if "Timeout" in type(error).__name__ else ConnectionResetError
        raise kind(str(error)) from error
