"""Models by name: bundled with the package, pulled from the Hub, or known to the catalog.

An entry of the catalog promises nothing that was not seen: `verified` is true only for files that
were loaded and run by whoever wrote the entry. Nothing is fetched here, and nothing loaded.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from ..config import DIRECTIONS, Direction
from ..errors import CheckpointError, reason
from ..files import read_text
from ..validation import closest
from .repository import is_safe_name, local_name, split_id

CATALOG_NAME = "catalog.json"
DEFAULT_MODEL = "photo2monet"
"""The bundled model that is meant where none is named."""
DEFAULT_BACK = "monet2photo"
"""The bundled model for its way back."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_\-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogEntry:
    """A model that has a name."""

    name: str
    """What people type: lower case letters, digits, "-" and "_"."""
    task: str
    """What it does, for people."""
    domains: tuple[str, str]
    """Display names of A and B."""
    directions: tuple[Direction, ...]
    """The ways it translates."""
    repo: str | None
    """Where it is on the Hub, as owner/repo; None if it is bundled."""
    files: tuple[str, ...]
    """The names of its weight files, as seen on the repository's page."""
    revision: str | None
    """The commit that is meant; None, where it is not known, for the newest."""
    license: str | None
    """Licence of the weights, as the Hub writes it; None where it is not known."""
    verified: bool
    """Whether these very files were loaded and run."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ValueError: one has no sense.
        """
        if not _is_text(self.name) or not _NAME.fullmatch(self.name):
            raise ValueError(f"name must be lower case letters, digits, - and _; got {self.name!r}")
        if not _is_text(self.task) or not self.task:
            raise ValueError(f"task must say what {self.name} does; got {self.task!r}")
        if len(self.domains) != 2 or not all(map(_is_text, self.domains)):
            raise ValueError(f"domains must be two names; got {self.domains!r}")
        if not self.directions or not set(self.directions) <= set(DIRECTIONS):
            raise ValueError(f"directions must be among {DIRECTIONS}; got {self.directions!r}")
        if not self.files or not all(_is_text(f) and is_safe_name(f) for f in self.files):
            raise ValueError(f"files must be names of files; got {self.files!r}")
        for field in ("revision", "license"):
            if not (getattr(self, field) is None or _is_text(getattr(self, field))):
                raise ValueError(f"{field} must be a text or null; got {getattr(self, field)!r}")
        if not isinstance(cast("object", self.verified), bool):
            raise ValueError(f"verified must be true or false; got {self.verified!r}")
        if self.repo is not None and not (
            _is_text(self.repo) and split_id(self.repo, self.revision) == (self.repo, self.revision)
        ):
            raise ValueError(f"repo must be owner/repo; got {self.repo!r}")

    @property
    def is_bundled(self) -> bool:
        """Whether it comes with the package."""
        return self.repo is None

    @property
    def local_name(self) -> str:
        """The name of the file that pulling it makes.

        Raises:
            ValueError: a bundled model is not pulled.
        """
        if self.repo is None:
            raise ValueError(f"{self.name} comes with the package, so it is not pulled.")
        return local_name(self.repo, self.revision, None)

    @classmethod
    def from_dict(cls, values: object) -> CatalogEntry:
        """An entry of the JSON file.

        Raises:
            ValueError: a field is missing, unknown or wrong.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict):
            raise ValueError("an entry must be an object")
        entry: dict[str, Any] = {**cast("dict[str, Any]", values)}
        if entry.keys() != known:
            odd = ", ".join(sorted(entry.keys() ^ known))
            raise ValueError(f"an entry must have exactly its fields; missing or unknown: {odd}")
        for name in ("domains", "directions", "files"):
            if not isinstance(entry[name], list):
                raise ValueError(f"{name} must be a list; got {entry[name]!r}")
            entry[name] = tuple(entry[name])
        return cls(**entry)


def read_catalog(path: Path | None = None) -> dict[str, CatalogEntry]:
    """All entries by name, in the order of the file; by default of the one in the package.

    A file that is not there has no entries.

    Raises:
        CheckpointError: it can't be read, or makes no sense.
    """
    path = path or weights_folder() / CATALOG_NAME
    try:
        return _parse(read_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"The catalog {path} can't be used ({reason(error).rstrip('.')}); "
            "install CycleGAN again."
        ) from None


def _parse(text: str) -> dict[str, CatalogEntry]:
    """The entries in the text of a catalog; a ValueError says in a clause what is wrong."""
    content: Any = json.loads(text)
    if not isinstance(content, dict) or content.get("version") != 1:
        raise ValueError("it is not of version 1")
    models = cast("dict[str, Any]", content).get("models")
    if not isinstance(models, list):
        raise ValueError("it has no list of models")
    entries = [CatalogEntry.from_dict(values) for values in cast("list[object]", models)]
    result = {entry.name: entry for entry in entries}
    if len(result) != len(entries):
        raise ValueError("a name appears twice")
    return result


FEATURES_NAME = "imagenet_features.safetensors"
"""The file in `weights_folder() / "features"` that discriminators use; it is no model to load."""


def weights_folder() -> Path:
    """Where the package keeps its models: inside itself, or beside itself in a clone."""
    folder = Path(__file__).parents[1] / "weights"
    return folder if folder.is_dir() else Path(__file__).parents[2] / "weights"


def bundled_models() -> dict[str, Path]:
    """Names of the bundled models and their files."""
    return _models_in(weights_folder())


def bundled_license(path: Path) -> str | None:
    """The licence of a bundled model's file, as the catalog has it; None for any other file."""
    names = [name for name, file in bundled_models().items() if file == path]
    entry = read_catalog().get(names[0]) if names else None
    return entry.license if entry else None


def models_folder() -> Path:
    """Where `cyclegan pull` installs: CYCLEGAN_MODELS, or a folder of this user."""
    chosen = os.environ.get("CYCLEGAN_MODELS")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "cyclegan" / "models"


def pulled_models() -> dict[str, Path]:
    """Names of the models in `models_folder()` and their files."""
    return _models_in(models_folder())


def find_local(name: str) -> Path:
    """The weight file or folder that a user means, of those that are on this computer.

    Args:
        name: a path; or the name of a bundled, pulled or catalog model.

    Raises:
        CheckpointError: it is none of these, or is yet to be pulled.
    """
    if not name:
        raise CheckpointError("The name of a model is empty; give a file, a folder or a name.")
    if is_path(name):
        return Path(name)
    bundled, folder = bundled_models(), models_folder()
    known = {**pulled_models(), **bundled}
    for key in (name, name.replace("/", "--")):
        if key in known:
            return known[key]
    entry = read_catalog().get(name)
    if entry is not None and not entry.is_bundled:
        path = folder / entry.local_name
        if path.exists():
            return path
        raise CheckpointError(
            f"{name} is not on this computer yet; fetch it with `cyclegan pull {name}`."
        )
    near = None if "/" in name else closest(name, [*known, *read_catalog()])
    if near:
        raise CheckpointError(
            f"There is no model '{name}'; did you mean {near}? `cyclegan list` shows all names."
        )
    wanted = "a weight file, a folder, or hub:owner/repo"
    if bundled:
        wanted = (
            f"a weight file, a folder, hub:owner/repo, or a bundled model ({', '.join(bundled)})"
        )
    raise CheckpointError(f"There is no model '{name}': give {wanted}.")


def is_path(name: str) -> bool:
    """Whether there is a file or folder of this name.

    Raises:
        CheckpointError: it can't be looked at.
    """
    try:
        return name != "" and Path(name).exists()
    except OSError as error:
        raise CheckpointError(f"{name} can't be read: {reason(error)}; check the path.") from None


def _models_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def _is_text(value: object) -> bool:
    return isinstance(value, str)
