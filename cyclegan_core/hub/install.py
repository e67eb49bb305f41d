"""The Hugging Face Hub: find a model's files, fetch and verify them, make one file of them.

`huggingface_hub` does the talking, with its own cache and its own login (`hf auth login`, or
HF_TOKEN). Nothing is fetched unless one of these functions is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import ModelInfo

from .._version import __version__
from ..checkpoint.checkpoint import load_model, save_model
from ..config import Direction
from ..errors import CheckpointError, DownloadError
from ..model import CycleGAN, ignore
from .cache import cached_files
from .download import OnBytes, fetch
from .faults import as_sentences, not_a_hub
from .install_file import (
    AS_ASKED,
    Pulled,
    describe_source,
    installed_source,
    load_fetched,
    say_old,
)
from .model_card import LIBRARY
from .repository import (
    HubFile,
    Resolved,
    choose,
    config_name,
    is_commit,
    license_of,
    local_name,
    place,
    split_id,
)

_MAX_CONFIG = 2**20
"""Bytes: settings take a few hundred, and what is much larger is something else."""


def resolve(
    repo_id: str,
    revision: str | None = None,
    filename: str | None = None,
    *,
    local_files_only: bool = False,
) -> Resolved:
    """Look a repository up, with one request, and choose the files of its model.

    Args:
        repo_id: "owner/repo" or "owner/repo@revision".
        revision: a branch, a tag, or a commit; the newest commit by default.
        filename: which weight file, if there are several.
        local_files_only: look into the library's cache instead.

    Raises:
        DownloadError: it can't be had, or holds no model, or several.
        ValueError: there can't be such a repository or revision.
    """
    repo, revision = split_id(repo_id, revision)
    if local_files_only:
        commit, listed = cached_files(repo, revision)
        files = {file.name: file for file in listed}
        chosen = choose(repo, files, filename)
        config = files.get(config_name(chosen.values()))
        weights: dict[Direction | None, HubFile] = {key: files[n] for key, n in chosen.items()}
        return Resolved(repo, revision, commit, weights, config, None)
    info = _ask(repo, revision)
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or []}
    chosen = choose(repo, siblings, filename)
    config = siblings.get(config_name(chosen.values()))
    if config and (config.size or 0) > _MAX_CONFIG:
        config = None
    try:
        return Resolved(
            repo,
            revision,
            str(info.sha),
            {key: HubFile.listed(siblings[name]) for key, name in chosen.items()},
            HubFile.listed(config) if config else None,
            license_of(info),
        )
    except ValueError as error:
        raise DownloadError(
            f"Nothing of {repo} was downloaded because {error}; choose another repository, or "
            "check HF_ENDPOINT."
        ) from None


def _ask(repo: str, revision: str | None) -> ModelInfo:
    """What the Hub says about a repository: the one request of `resolve`."""
    where = place(repo, revision)
    try:
        with as_sentences(where):
            info = new_api().model_info(
                repo,
                revision=revision,
                files_metadata=True,
                timeout=constants.HF_HUB_ETAG_TIMEOUT,
            )
    except (ValueError, TypeError, LookupError, AttributeError):  # of an answer of another kind
        raise not_a_hub(where) from None
    names = [cast("object", sibling.rfilename) for sibling in info.siblings or []]
    is_right = info.sha == revision if is_commit(revision) else is_commit(info.sha)
    if not is_right or not all(isinstance(name, str) for name in names):
        raise not_a_hub(where)
    return info


def new_api() -> HfApi:
    """What talks to the Hub; it tells who asks."""
    return HfApi(library_name=LIBRARY, library_version=__version__)


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
    source = installed_source(path, repo, revision, filename)
    present, is_listed = source.get("commit"), source.get("listed", True)
    if present and present == revision and is_listed:
        return Pulled(path, repo, present, from_cache=True)
    if present and local_files_only:
        return Pulled(path, repo, present, True, say_old(repo, revision, present, AS_ASKED))
    try:
        found, reason = _find(repo, revision, filename, local_files_only=local_files_only)
    except DownloadError as error:
        if present is None or not error.unreachable:
            raise
        note = say_old(repo, revision, present, error.unreachable)
        return Pulled(path, repo, present, True, note)
    note = say_old(repo, revision, found.commit, reason) if reason else ""
    is_same = found.commit == present and (is_listed or bool(reason))
    if not is_same:
        with as_sentences(repo):
            folder.mkdir(parents=True, exist_ok=True)
        weights = sum(file.size for file in found.files.values())
        fetched = fetch(found, on_bytes, is_offline=bool(reason), also=(folder, weights))
        source = describe_source(found, filename, fetched, is_listed=not reason)
        save_model(load_fetched(found, fetched), path, source=source)
    return Pulled(path, repo, found.commit, bool(reason) or is_same, note)


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
    source = installed_source(path, repo, revision, filename)
    return path if source and source.get("listed", True) else None


def load_pretrained(
    repo_or_dir: str | Path,
    *,
    revision: str | None = None,
    filename: str | None = None,
    local_files_only: bool = False,
) -> CycleGAN:
    """What `CycleGAN.from_pretrained` does: a folder, or a repository through the cache."""
    path = Path(repo_or_dir)
    try:
        is_local = path.exists()
    except OSError:  # no possible path
        is_local = False
    if is_local:
        return load_model(path / filename if filename else path)
    try:
        repo, revision = split_id(str(repo_or_dir), revision)
    except ValueError as error:
        raise CheckpointError(f"There is no folder {repo_or_dir}, and {error}") from None
    found, reason = _find(repo, revision, filename, local_files_only=local_files_only)
    if reason:
        say_old(repo, revision, found.commit, reason)
    return load_fetched(found, fetch(found, ignore, is_offline=bool(reason)))


def _find(
    repo: str, revision: str | None, filename: str | None, *, local_files_only: bool
) -> tuple[Resolved, str]:
    """What to load, and why it is a copy from the cache if it is one."""
    if local_files_only:
        return resolve(repo, revision, filename, local_files_only=True), AS_ASKED
    try:
        return resolve(repo, revision, filename), ""
    except DownloadError as error:
        if not error.unreachable:
            raise
        try:
            return resolve(repo, revision, filename, local_files_only=True), error.unreachable
        except DownloadError:
            raise error from None
