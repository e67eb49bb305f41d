"""What goes wrong between us and the Hub, each in one sentence that holds no secret.

The library's own texts are not repeated: they hold addresses, and run over several lines.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import DownloadError, reason

# The base class of what the library's HTTP client raises, whichever client this version has.
TRANSPORT_FAULT: type[Exception] = next(
    kind for kind in HfHubHTTPError.__bases__ if kind.__name__ == "HTTPError"
)
_NO_CONNECTION = {
    "ConnectError",
    "ConnectionError",
    "InvalidSchema",
    "InvalidURL",
    "MissingSchema",
    "ProxyError",
    "SSLError",
    "UnsupportedProtocol",
}
_LOG_IN = "log in with `hf auth login`"


@contextmanager
def as_sentences(place: str, file: str = "") -> Generator[None]:
    """Turn the faults of the library, network and disk into a `DownloadError`.

    Args:
        place: the repository that is talked about, as owner/repo or owner/repo@revision.
        file: the one that is asked for.
    """
    try:
        yield
    except (TRANSPORT_FAULT, EntryNotFoundError, OSError, RuntimeError) as error:
        raise explain(error, place, file) from None


def explain(error: BaseException, place: str, file: str = "") -> DownloadError:
    """The sentence for a fault."""
    if isinstance(error, OfflineModeIsEnabled):
        return unreachable(place, "HF_HUB_OFFLINE is set", "unset it to use the network")
    if isinstance(error, HfHubHTTPError):
        return _explain_answer(error, place, file)
    if isinstance(error, LocalTokenNotFoundError):
        return DownloadError(f"{place} needs a login; {_LOG_IN}.")
    if isinstance(error, OSError) and error.errno is not None:
        return _explain_disk(error, place)
    return _explain_transport(error, place)


def not_a_hub(place: str) -> DownloadError:
    """Something answered, but it does not speak like the Hub."""
    return DownloadError(
        f"{place} can't be had because {host()} does not answer as the Hub does; check HF_ENDPOINT "
        "and the proxy."
    )


def host() -> str:
    """The server's name and port, without whatever else its address holds."""
    try:
        name = urlsplit(constants.ENDPOINT).netloc.rpartition("@")[2]
    except ValueError:  # no address at all
        name = ""
    return name or "the server in HF_ENDPOINT"


def unreachable(place: str, reason: str, advice: str) -> DownloadError:
    """The error of a Hub that did not answer; `reason` is a clause."""
    error = DownloadError(f"There is no access to {place} because {reason}; {advice}.")
    error.unreachable = reason
    return error


def _explain_answer(error: HfHubHTTPError, place: str, file: str) -> DownloadError:
    """An HTTP status that says no."""
    repo, _, revision = place.partition("@")
    status = error.response.status_code
    page = f"https://{host()}/{repo}"
    if isinstance(error, GatedRepoError):
        text = f"{repo} is gated: accept its terms on {page}, and {_LOG_IN}"
    elif isinstance(error, DisabledRepoError):
        text = f"{repo} has been disabled; choose another repository"
    elif isinstance(error, RevisionNotFoundError):
        text = f"{repo} has no revision '{revision or 'main'}'; name a branch, tag or commit of it"
    elif isinstance(error, EntryNotFoundError):
        text = f"{place} lists {file} but does not have it; try again, or name another revision"
    elif isinstance(error, RepositoryNotFoundError) or status == 404:
        text = f"There is no {repo} on the Hub, or it is private; check the name, or {_LOG_IN}"
    elif status == 401 and "Authorization" not in error.response.request.headers:
        text = f"{repo} needs a login; {_LOG_IN}"
    elif status == 401:
        text = f"The Hub does not accept your login for {repo}; {_LOG_IN} again"
    elif status == 403:
        text = f"Your login may not do this with {repo}; use a token with the permission for it"
    elif status == 429:
        text = f"The Hub has had too many requests to answer for {repo}; try again{_wait(error)}"
    elif status >= 500:
        return unreachable(place, f"{host()} has a fault (status {status})", "try again later")
    else:
        text = f"{place} can't be had because the Hub answered with status {status}; try again"
    return DownloadError(f"{text}.")


def retry_seconds(error: HfHubHTTPError) -> int | None:
    """How long the server wants to be left alone; None if it does not say."""
    headers = error.response.headers
    limit = re.search(r"\bt=(\d+)", headers.get("RateLimit", ""))  # as "api";r=0;t=55
    seconds = headers.get("Retry-After") or (limit[1] if limit else "")
    return int(seconds[:9]) if seconds.isascii() and seconds.isdecimal() else None


def _wait(error: HfHubHTTPError) -> str:
    """The end of a sentence that says when to try again."""
    seconds = retry_seconds(error)
    return " later" if seconds is None else f" in {seconds} seconds"


def _explain_disk(error: OSError, place: str) -> DownloadError:
    """A fault of the local disk."""
    where = error.filename or constants.HF_HUB_CACHE
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        why, advice = "the disk is full", "free some space, or set HF_HOME to another disk"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        why, advice = f"{where} can't be written to", "check its permissions, or set HF_HOME"
    else:
        why, advice = f"of {where} ({reason(error)})", "check that folder"
    return DownloadError(f"{place} can't be stored because {why}; {advice}.")


def _explain_transport(error: BaseException, place: str) -> DownloadError:
    """No answer, or a part of one. The clients differ in their classes and agree in names."""
    name = type(error).__name__
    if "Timeout" in name:
        return unreachable(place, f"{host()} did not answer in time", "try again later")
    if name in _NO_CONNECTION:
        return unreachable(
            place, f"{host()} can't be reached", "check the network, the proxy, and HF_ENDPOINT"
        )
    return unreachable(place, f"the connection to {host()} was cut", "try again")
