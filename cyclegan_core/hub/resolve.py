"""A repository, a branch and perhaps a file name become files at one commit."""

from __future__ import annotations

import json
from typing import cast
from urllib.parse import quote

from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import ModelInfo

from .._version import __version__
from ..config import Direction
from ..errors import DownloadError
from .cache import cached_files
from .faults import as_sentences, not_a_hub
from .repository import (
    LIBRARY,
    HubFile,
    Resolved,
    choose,
    config_name,
    is_commit,
    license_of,
    place,
    split_id,
)
from .transfer import read_answer

_MAX_CONFIG = 2**20
"""Bytes: settings take a few hundred, and what is much larger is something else."""
_MAX_LISTING = 2**26
"""Bytes of the Hub's answer, which takes some hundred for each file of a repository."""


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
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    url = f"{constants.ENDPOINT}/api/models/{repo}{at}?blobs=true"  # with sizes and checksums
    try:
        with as_sentences(where):
            timeout = constants.HF_HUB_ETAG_TIMEOUT
            answer = read_answer(url, where, most=_MAX_LISTING, timeout=timeout)
        info = ModelInfo(**json.loads(answer))
    # Of an answer of another kind.
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise not_a_hub(where) from None
    # Whatever answered, it counts only if it speaks of a commit, and of the one asked for.
    names = [cast("object", sibling.rfilename) for sibling in info.siblings or []]
    is_right = info.sha == revision if is_commit(revision) else is_commit(info.sha)
    if not is_right or not all(isinstance(name, str) for name in names):
        raise not_a_hub(where)
    return info


def new_api() -> HfApi:
    """What talks to the Hub; it tells who asks."""
    return HfApi(library_name=LIBRARY, library_version=__version__)
