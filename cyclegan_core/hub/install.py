"""Get a model from the Hugging Face Hub: fetch its files, verify them, make one file of them.

`huggingface_hub` does the talking, with its own cache and its own login (`hf auth login`, or
HF_TOKEN). Nothing is fetched unless one of these functions is called.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.checkpoint import (
    Checkpoint,
    inspect_checkpoint,
    read_checkpoint,
    read_files,
    write_checkpoint,
)
from ..checkpoint.folder import name_direction
from ..checkpoint.settings import read_settings
from ..config import Direction
from ..errors import CheckpointError, DownloadError
from ..files import make_folder
from ..progress import ignore
from .catalog import find_local, is_path, models_folder
from .download import OnBytes, fetch
from .faults import as_sentences
from .repository import MAIN, PREFIX, Resolved, local_name, place, split_id
from .resolve import resolve

log = logging.getLogger(__name__)

Fetched = Mapping[str, tuple[Path, str]]
"""Name in the repository -> where the file lies, and its sha256."""

_AS_ASKED = "offline, as asked"
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


def find_model(name: str, on_bytes: OnBytes = ignore) -> Path:
    """The weight file or folder that a user means; "hub:owner/repo" alone may fetch something.

    Args:
        name: what `find_local` takes; or "hub:owner/repo", with "@revision" or without.
        on_bytes: called as (bytes done, bytes in all) while it is fetched; it cancels by raising.

    Raises:
        CheckpointError: it is none of these, or is yet to be pulled.
        DownloadError: it can't be had from the Hub.
        ValueError: there can't be such a repository.
    """
    if name.startswith(PREFIX) and not is_path(name):
        return pull(name, folder=models_folder(), on_bytes=on_bytes).path
    return find_local(name)


def pull(
    repo_id: str,
    revision: str | None = None,
    filename: str | None = None,
    *,
    folder: Path,
    on_bytes: OnBytes = ignore,
    local_files_only: bool = False,
) -> Pulled:
    """Fetch a model, verify it, and install it as one .safetensors file of ours.

    A model that is there already is served without a request if `revision` is a commit, and with
    one small request otherwise; and when the Hub can't be reached, which `note` then says.

    Args:
        repo_id: "owner/repo" or "owner/repo@revision".
        revision: a branch, a tag, or a commit; the newest commit by default.
        filename: which weight file, if the repository has several.
        folder: where to install it, as owner--repo.safetensors; made if it is missing.
        on_bytes: called as the download goes on; it cancels by raising.
        local_files_only: use what was fetched before, and no network.

    Raises:
        DownloadError: it can't be had, is damaged or unsafe, or is no CycleGAN.
        CheckpointError: the file can't be written.
        ValueError: there can't be such a repository or revision.
    """
    repo, revision = split_id(repo_id, revision)
    path = folder / local_name(repo, revision, filename)

    # What was installed before serves without a request, if it can't have changed.
    source = _installed_source(path, repo, revision, filename)
    present, is_listed = source.get("commit"), source.get("listed", True)
    if present and present == revision and is_listed:
        return Pulled(path, repo, present, from_cache=True)
    if present and local_files_only:
        return Pulled(path, repo, present, True, _say_old(repo, revision, present, _AS_ASKED))

    # Ask which commit is meant now; without an answer, the old file serves with a note.
    try:
        found, reason = _find(repo, revision, filename, local_files_only=local_files_only)
    except DownloadError as error:
        if present is None or not error.unreachable:
            raise
        note = _say_old(repo, revision, present, error.unreachable)
        return Pulled(path, repo, present, True, note)
    note = _say_old(repo, revision, found.commit, reason) if reason else ""
    if found.commit == present and (is_listed or reason):
        return Pulled(path, repo, found.commit, True, note)

    # Fetch the files, and write what they hold as one.
    with as_sentences(repo):
        make_folder(folder)
    weights = sum(file.size for file in found.files.values())
    fetched = fetch(found, on_bytes, is_offline=bool(reason), also=(folder, weights))
    source = {
        "repo": found.repo_id,
        "revision": found.revision,
        "filename": filename,
        "commit": found.commit,
        # Without the Hub's list, the cache may have held a part of the repository only.
        "listed": not reason,
        "license": found.license,
        "files": {file.name: fetched[file.name][1] for file in found.downloads},
    }
    write_checkpoint(_read_fetched(found, fetched), path, source=source)
    return Pulled(path, repo, found.commit, bool(reason), note)


def installed(
    repo_id: str, revision: str | None = None, filename: str | None = None, *, folder: Path
) -> Path | None:
    """The file that `pull` with the same arguments made before, or None; asks no network.

    Raises:
        DownloadError: another model has its name.
        ValueError: there can't be such a repository or revision.
    """
    repo, revision = split_id(repo_id, revision)
    path = folder / local_name(repo, revision, filename)
    source = _installed_source(path, repo, revision, filename)
    return path if source and source.get("listed", True) else None


def load_pretrained(
    repo_or_dir: str | Path,
    *,
    revision: str | None = None,
    filename: str | None = None,
    local_files_only: bool = False,
) -> Checkpoint:
    """What `CycleGAN.from_pretrained` loads: a folder, or a repository through the cache."""
    path = Path(repo_or_dir)
    try:
        is_local = path.exists()
    except OSError:  # no possible path
        is_local = False
    if is_local:
        return read_checkpoint(path / filename if filename else path)
    try:
        repo, revision = split_id(str(repo_or_dir), revision)
    except ValueError as error:
        raise CheckpointError(f"There is no folder {repo_or_dir}, and {error}") from None
    found, reason = _find(repo, revision, filename, local_files_only=local_files_only)
    if reason:
        _say_old(repo, revision, found.commit, reason)
    return _read_fetched(found, fetch(found, ignore, is_offline=bool(reason)))


def _find(
    repo: str, revision: str | None, filename: str | None, *, local_files_only: bool
) -> tuple[Resolved, str]:
    """What to load, and why it is a copy from the cache if it is one."""
    if local_files_only:
        return resolve(repo, revision, filename, local_files_only=True), _AS_ASKED
    try:
        return resolve(repo, revision, filename), ""
    except DownloadError as error:
        if not error.unreachable:
            raise
        try:
            return resolve(repo, revision, filename, local_files_only=True), error.unreachable
        except DownloadError:
            raise error from None


def _read_fetched(found: Resolved, fetched: Fetched) -> Checkpoint:
    """The checkpoint of a repository, whose files lie in the cache.

    Raises:
        DownloadError: they are no CycleGAN, or could run code.
    """
    files: dict[Direction | None, Path] = {
        key: fetched[file.name][0] for key, file in found.files.items()
    }
    single = found.files.get(None)
    direction: Direction = (name_direction(single.name) if single else None) or "a_to_b"
    try:
        settings = read_settings(fetched[found.config.name][0].parent) if found.config else None
        return read_files(Path(found.repo_id), files, settings, direction=direction)
    except CheckpointError as error:
        raise DownloadError(f"{found.repo_id} can't be used: {error}") from None


def _installed_source(
    path: Path, repo: str, revision: str | None, filename: str | None
) -> dict[str, Any]:
    """What `pull` noted in the header of a file; empty if the file is to be made (again).

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


def _say_old(repo: str, revision: str | None, commit: str, reason: str) -> str:
    """The note about a copy that was not compared with the Hub; it is logged as well."""
    note = (
        f"The local copy of {place(repo, revision)} is used, commit {commit[:12]}, without asking "
        f"the Hub for a newer one ({reason})."
    )
    log.warning("%s", note)
    return note
