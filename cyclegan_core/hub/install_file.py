"""What was fetched from a repository becomes a model, and a file that says where it is from."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.checkpoint import inspect_checkpoint, load_files
from ..checkpoint.folder import name_direction, read_settings
from ..config import Direction
from ..errors import CheckpointError, DownloadError
from ..model import CycleGAN
from .repository import MAIN, Resolved, place

log = logging.getLogger(__name__)

Fetched = Mapping[str, tuple[Path, str]]
"""Name in the repository -> where the file lies, and its sha256."""

AS_ASKED = "offline, as asked"
"""The reason of somebody who wants no network."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that was installed, or was there already."""

    path: Path
    repo_id: str
    commit: str
    from_cache: bool
    """Nothing was fetched, because it was there already."""
    note: str = ""
    """What people should know: that it was taken without asking the Hub, and why."""


def load_fetched(found: Resolved, fetched: Fetched) -> CycleGAN:
    """The model of a repository, whose files lie in the cache.

    Raises:
        DownloadError: they are no CycleGAN, or could run code.
    """
    files: dict[Direction | None, Path] = {
        key: fetched[file.name][0] for key, file in found.files.items()
    }
    single = found.files.get(None)
    direction: Direction = (name_direction(single.name) if single else None) or "a_to_b"
    try:
        config = read_settings(fetched[found.config.name][0].parent) if found.config else None
        return load_files(Path(found.repo_id), files, config, direction=direction)
    except CheckpointError as error:
        raise DownloadError(f"{found.repo_id} can't be used: {error}") from None


def describe_source(
    found: Resolved, filename: str | None, fetched: Fetched, *, is_listed: bool
) -> dict[str, Any]:
    """Where a model comes from, for the header of its file; of each file its sha256.

    Without the Hub's list (`is_listed`), the cache may have held a part of the repository only.
    """
    return {
        "repo": found.repo_id,
        "revision": found.revision,
        "filename": filename,
        "commit": found.commit,
        "listed": is_listed,
        "license": found.license,
        "files": {file.name: fetched[file.name][1] for file in found.downloads},
    }


def installed_source(
    path: Path, repo: str, revision: str | None, filename: str | None
) -> dict[str, Any]:
    """What `describe_source` said of a pulled file; empty if it is to be made (again).

    Raises:
        DownloadError: another model is in the way; names of two revisions or files may become one.
    """
    try:
        if not path.exists():
            return {}
        source = inspect_checkpoint(path).source
    except OSError:  # too long for a name; whatever is asked for, it is not there
        return {}
    except CheckpointError as error:
        log.warning("%s It is fetched again.", error)
        return {}
    found = source.get("repo"), source.get("revision") or MAIN, source.get("filename")
    if found != (repo, revision or MAIN, filename):
        wanted = place(repo, revision) + (f" ({filename})" if filename else "")
        raise DownloadError(
            f"{path} is there already and was not pulled from {wanted}; move it away, or pull "
            "into another folder."
        )
    return source


def say_old(repo: str, revision: str | None, commit: str, reason: str) -> str:
    """The note about a copy that was not compared with the Hub; it is logged as well."""
    note = (
        f"The local copy of {place(repo, revision)} is used, commit {commit[:12]}, without asking "
        f"the Hub for a newer one ({reason})."
    )
    log.warning("%s", note)
    return note
