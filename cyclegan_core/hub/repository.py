"""Which repository, revision and files are meant: names only, nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from ..checkpoint.folder import CONFIG_NAME, choose_names, few, is_weight_name
from ..config import Direction
from ..errors import DownloadError, plain
from ..files import is_portable

if TYPE_CHECKING:  # which spares those who only look at names the library's client
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

LIBRARY = "cyclegan"
"""How the Hub calls us, for its statistics and its models' cards."""
PREFIX = "hub:"
"""What a name begins with that means a repository."""
MAIN = "main"
"""The branch that is meant where none is named."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 1000
"""Letters of a file's name with its folders, which some systems limit together."""
_REVISION = re.compile(r"\w[\w.\-+/]*")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository, as the Hub describes it for one commit."""

    name: str
    """Path inside the repository, with forward slashes."""
    size: int
    """Bytes."""
    sha256: str | None
    """Checksum of the content, which the Hub states for large (LFS) files."""
    blob_id: str | None
    """What git calls the content, for all other files: sha1 of "blob SIZE\\0" and the content."""

    def __post_init__(self) -> None:
        """Refuse what could lead out of a folder, or can't be verified.

        Raises:
            ValueError: one clause that says what is wrong.
        """
        if not is_safe_name(self.name):
            raise ValueError(
                f"the file name {plain(self.name, longest=100)!r} leads out of the repository, or "
                "is none on some systems"
            )
        if not isinstance(cast("object", self.size), int) or self.size < 0:
            raise ValueError(f"the size of {self.name} is not stated")
        digest, form = (self.sha256, _SHA256) if self.sha256 else (self.blob_id, _COMMIT)
        if not form.fullmatch(str(digest)):
            raise ValueError(f"the checksum of {self.name} is not stated")

    @classmethod
    def listed(cls, entry: RepoSibling) -> HubFile:
        """What the Hub says about a file in the list of a repository.

        Raises:
            ValueError: it can't be verified, or has a dangerous name.
        """
        size = entry.lfs.size if entry.lfs else entry.size
        sha256 = entry.lfs.sha256 if entry.lfs else None
        return cls(entry.rfilename, -1 if size is None else size, sha256, entry.blob_id)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The files of a repository that make its model, at one commit."""

    repo_id: str
    revision: str | None
    """As it was asked for."""
    commit: str
    files: dict[Direction | None, HubFile]
    """One weight file (under None), or one for each direction."""
    config: HubFile | None
    """The settings beside the weights, config.json."""
    license: str | None
    """As the model card states it."""

    @property
    def downloads(self) -> list[HubFile]:
        """Everything to be fetched."""
        return [*([self.config] if self.config else []), *self.files.values()]


def split_id(repo_id: str, revision: str | None = None) -> tuple[str, str | None]:
    """Take "owner/repo", "owner/repo@revision" or "hub:owner/repo" apart.

    Raises:
        ValueError: it is no such id, or there are two revisions.
    """
    # The client's checks come with its HTTP library, which local models do without.
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    text = repo_id.removeprefix(PREFIX).removeprefix("https://huggingface.co/").rstrip("/")
    repo, _, own_revision = text.partition("@")
    try:
        validate_repo_id(repo)
    except HFValidationError:
        repo = ""
    if repo.count("/") != 1:
        raise ValueError(
            f"'{plain(repo_id, longest=100)}' is no repository of the Hub; write it as owner/repo "
            "or owner/repo@revision."
        )
    if own_revision and revision and own_revision != revision:
        raise ValueError(
            f"two revisions of {repo} are asked for, {own_revision} and {revision}; name one."
        )
    revision = own_revision or revision or None
    is_name = revision is None or (
        _REVISION.fullmatch(revision) and ".." not in revision and is_safe_name(revision)
    )
    if not is_name:
        raise ValueError(
            f"{plain(str(revision), longest=100)!r} is no revision; name a branch, a tag or a "
            "commit."
        )
    return repo, revision


def place(repo: str, revision: str | None) -> str:
    """How a repository is called in messages."""
    return f"{repo}@{revision}" if revision else repo


def is_commit(revision: str | None) -> bool:
    """Whether it is the full hash of a commit, which never changes its content."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def local_name(repo: str, revision: str | None, filename: str | None) -> str:
    """The file name of a pulled model; another revision or file is another model.

    Raises:
        ValueError: there can't be such a file in a repository, or its name gets too long.
    """
    if filename is not None and not is_safe_name(filename):
        raise ValueError(
            f"{plain(filename, longest=100)!r} is no file of a repository; name one as its page "
            "does."
        )
    parts = [repo.replace("/", "--")]
    if revision and revision != MAIN:
        parts.append(revision[:12] if is_commit(revision) else revision)
    if filename:
        parts.append(str(PurePosixPath(filename).with_suffix("")))
    name = "--".join(re.sub(r"[^\w.\-]", "_", part) for part in parts) + ".safetensors"
    if not is_portable(name):
        raise ValueError(
            f"the file name {plain(name, longest=100)} of {repo} is too long for a disk; name a "
            "shorter revision or file."
        )
    return name


def choose(repo: str, names: Iterable[str], filename: str | None) -> dict[Direction | None, str]:
    """The weight file of a repository (under None), or the two of a pair.

    Args:
        repo: for messages.
        names: all files of the repository.
        filename: the one that the user names, if any.

    Raises:
        DownloadError: there is none, or several and no `filename`.
    """
    names = list(names)
    if filename is not None:
        if filename in names and is_weight_name(filename):
            return {None: filename}
        weights = few([name for name in names if is_weight_name(name)]) or "none"
        problem = "is no weight file" if filename in names else "does not exist"
        raise DownloadError(f"{filename} {problem} in {repo}; its weight files are: {weights}.")
    chosen, candidates = choose_names(names)
    if chosen:
        return chosen
    if candidates:
        raise DownloadError(
            f"{repo} has several weight files ({few(candidates)}); choose one with --file "
            "(filename, in a graph or in Python)."
        )
    # What there is instead, for people who took the wrong repository.
    visible = [name for name in names if not name.startswith(".") and name != "README.md"]
    instead = f" but {few(visible)}" if visible else ""
    raise DownloadError(
        f"{repo} has no weight file (.safetensors, .pth, .bin, …){instead}; "
        "choose another repository."
    )


def license_of(info: ModelInfo) -> str | None:
    """The licence that a model card states."""
    stated = getattr(info.card_data, "license", None)
    tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    return stated if isinstance(stated, str) else next(iter(tags), None)


def config_name(chosen: Iterable[str]) -> str:
    """Where the settings that belong to these weight files would lie."""
    return str(PurePosixPath(next(iter(chosen))).with_name(CONFIG_NAME))


def is_safe_name(name: str) -> bool:
    """Whether a name given by a server stays inside the folder it is put into, on any system."""
    return len(name) <= _LONGEST_NAME and all(map(is_portable, name.split("/")))
