"""The catalog: models known by name, bundled with the package or published on the Hub.

An entry promises nothing that was not seen: `verified` is true only for files that were loaded
and run by whoever wrote the entry. Nothing is fetched by reading the catalog.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ..config import DIRECTIONS, Direction
from ..errors import CheckpointError
from .bundled import weights_folder
from .repository import is_safe_name, local_name, split_id

CATALOG_NAME = "catalog.json"
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
    """Of the weights, as the Hub writes them; None where it is not known."""
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
        stamp = path.stat().st_mtime_ns
        return dict(_read(path, stamp))
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = error.strerror
    except ValueError as error:
        reason = str(error).rstrip(".")
    raise CheckpointError(f"The catalog {path} can't be used ({reason}); install CycleGAN again.")


@lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> dict[str, CatalogEntry]:
    """The file as it was at `stamp`."""
    del stamp
    content: Any = json.loads(path.read_text(encoding="utf-8"))
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


def _is_text(value: object) -> bool:
    return isinstance(value, str)
