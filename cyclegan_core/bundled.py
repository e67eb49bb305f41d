"""Models that come with the package, found by name."""

from __future__ import annotations

from pathlib import Path

from .errors import CheckpointError


def bundled_models() -> dict[str, Path]:
    """Names of the bundled models and their files.

    The folder lies inside the installed package, or beside it in a clone.
    """
    folder = Path(__file__).parent / "weights"
    if not folder.is_dir():
        folder = Path(__file__).parent.parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find_model(name: str) -> Path:
    """The weight file or folder that a user means: a path, or the name of a bundled model.

    Raises:
        CheckpointError: it is neither.
    """
    path = Path(name)
    try:
        if name and path.exists():
            return path
    except OSError as error:
        raise CheckpointError(f"{name} can't be read: {error.strerror}; check the path.") from None
    bundled = bundled_models()
    if name in bundled:
        return bundled[name]
    wanted = "a weight file or a folder"
    if bundled:
        wanted = f"a weight file, a folder, or one of the bundled models ({', '.join(bundled)})"
    raise CheckpointError(f"There is no model '{name}': give {wanted}.")
