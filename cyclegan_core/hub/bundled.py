"""Models by name: those that come with the package, and those that were pulled from the Hub."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import CheckpointError


def weights_folder() -> Path:
    """Where the package keeps its models: inside itself, or beside itself in a clone."""
    folder = Path(__file__).parents[1] / "weights"
    return folder if folder.is_dir() else Path(__file__).parents[2] / "weights"


def bundled_models() -> dict[str, Path]:
    """Names of the bundled models and their files."""
    return _models_in(weights_folder())


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


def find_model(name: str, on_bytes: Callable[[int, int], None] | None = None) -> Path:
    """The weight file or folder that a user means.

    Args:
        name: a path; the name of a bundled, pulled or catalog model; or "hub:owner/repo", with
            "@revision" or without, which alone may fetch something.
        on_bytes: called as (bytes done, bytes in all) while it is fetched; it cancels by raising.

    Raises:
        CheckpointError: it is none of these, or is yet to be pulled.
        DownloadError: it can't be had from the Hub.
        ValueError: there can't be such a repository.
    """
    path = Path(name)
    try:
        if name and path.exists():
            return path
    except OSError as error:
        raise CheckpointError(f"{name} can't be read: {error.strerror}; check the path.") from None
    if name.startswith("hub:"):
        # Late, because it needs everything that finds models.
        from .install import ignore, pull

        return pull(name, folder=models_folder(), on_bytes=on_bytes or ignore).path
    bundled = bundled_models()
    known = {**pulled_models(), **bundled}
    for key in (name, name.replace("/", "--")):
        if key in known:
            return known[key]
    return _find_in_catalog(name) or _give_up(name, list(bundled))


def _find_in_catalog(name: str) -> Path | None:
    """The file that `cyclegan pull NAME` made."""
    from .catalog import read_catalog  # late, because it looks for bundled models

    entry = read_catalog().get(name)
    if entry is None or entry.is_bundled:
        return None
    path = models_folder() / entry.local_name
    if not path.exists():
        raise CheckpointError(
            f"{name} is not on this computer yet; fetch it with `cyclegan pull {name}`."
        )
    return path


def _give_up(name: str, bundled: list[str]) -> Path:
    wanted = "a weight file, a folder, or hub:owner/repo"
    if bundled:
        names = ", ".join(bundled)
        wanted = f"a weight file, a folder, hub:owner/repo, or a bundled model ({names})"
    raise CheckpointError(f"There is no model '{name}': give {wanted}.")


def _models_in(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
