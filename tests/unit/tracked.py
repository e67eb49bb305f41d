"""The files that git tracks: what a clone, an sdist and the registry's archive are made of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.unavailable import unavailable

from .processes import ROOT


def tracked_files(*options: str) -> list[str]:
    """Paths from the repository's root; `options` are those of `git ls-files`."""
    if not (ROOT / ".git").exists():
        unavailable("not a clone: git says what belongs to the project")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def copy_tracked(to: Path) -> None:
    """A clone's files as they are in the working tree now."""
    for name in tracked_files():
        copy = to / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
