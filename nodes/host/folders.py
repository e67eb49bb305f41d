"""ComfyUI's folders: models to load, runs to write, pictures to train on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

import folder_paths

from ...cyclegan_core.checkpoint import SUFFIXES
from ...cyclegan_core.hub import FEATURES_NAME, weights_folder
from ...cyclegan_core.pictures import find_pictures
from ...cyclegan_core.runs import STATE_NAME

MODEL_FOLDER = "cyclegan"
MODEL_EXTENSIONS = SUFFIXES - {".pkl"}
"""The host's own loaders know no .pkl, and neither do people who look for weights there."""

DEFAULT_MODEL = "photo2monet.safetensors"
"""The bundled model that a loader offers first."""

_MAX_NAME = 100
"""Characters of a run's name; file systems allow some more."""


def register_model_folder() -> None:
    """Make models/cyclegan known to the host, then the bundled weights, then trained runs.

    Paths of `extra_model_paths.yaml`, registered before, stay. The host lists every file of a
    folder without extensions, hence ours are set.
    """
    own = Path(folder_paths.models_dir) / MODEL_FOLDER
    with suppress(OSError):  # a read-only folder still holds models to load
        own.mkdir(parents=True, exist_ok=True)
    for folder in (own, weights_folder(), runs_dir()):
        folder_paths.add_model_folder_path(MODEL_FOLDER, str(folder))
    paths, extensions = folder_paths.folder_names_and_paths[MODEL_FOLDER]
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (
        paths,
        {*extensions, *MODEL_EXTENSIONS},
    )


def model_names() -> list[str]:
    """What the user can choose in a loader: the host's list, less training states and features."""
    names = folder_paths.get_filename_list(MODEL_FOLDER)
    return [name for name in names if Path(name).name not in (STATE_NAME, FEATURES_NAME)]


def model_path(name: str) -> Path | None:
    """The file behind a name of `model_names`, or None."""
    full = folder_paths.get_full_path(MODEL_FOLDER, name)
    return Path(full) if full else None


def save_dir() -> Path:
    """Where models of the user's own are written."""
    return Path(folder_paths.models_dir) / MODEL_FOLDER


def runs_dir() -> Path:
    """Where trainings leave their run folders."""
    return Path(folder_paths.get_output_directory()) / MODEL_FOLDER


def run_folder(name: str) -> Path:
    """The folder of a run, inside `runs_dir`.

    Raises:
        ValueError: the name is empty or would lead elsewhere.
    """
    name = name.strip()
    is_path = name in (".", "..") or set(name) & set('/\\:*?"<>|') or not name.isprintable()
    if not name or is_path or len(name) > _MAX_NAME:
        raise ValueError(
            f"run_name {name[:_MAX_NAME]!r} is not a folder name; use letters, digits, - and _."
        )
    return runs_dir() / name


def input_folders() -> list[str]:
    """Folders under the host's input folder with pictures in or below them.

    As relative paths with forward slashes.
    """
    root = Path(folder_paths.get_input_directory())
    found: list[str] = []
    for parent, folders, _ in os.walk(root, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # A link is offered like a folder, but what lies below it is not listed.
        with_pictures = (Path(parent, name) for name in folders)
        found += [
            path.relative_to(root).as_posix() for path in with_pictures if any(find_pictures(path))
        ]
    return sorted(found)


def input_folder(name: str) -> Path:
    """The folder behind a name of `input_folders`.

    Raises:
        ValueError: the name leads out of the input folder.
        FileNotFoundError: there is no such folder.
    """
    # By the letters only: a link inside the input folder may well lead to another disk.
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or set(name) & set("\\:\0"):
        raise ValueError(f"'{name}' is not a folder under ComfyUI's input; choose a listed one.")
    path = Path(folder_paths.get_input_directory()) / relative
    if not path.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{name}' under ComfyUI's input; put pictures there and press R."
        )
    return path
