"""ComfyUI's folders: models to load, runs to write, pictures to train on."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from shutil import copyfile

import folder_paths
from torch import Tensor

from ...cyclegan_core import hub, write_picture
from ...cyclegan_core.checkpoint import SUFFIXES
from ...cyclegan_core.distillation import WORK_SUFFIX
from ...cyclegan_core.errors import CycleGANError, plain
from ...cyclegan_core.files import atomic_write, is_portable
from ...cyclegan_core.pictures import find_pictures, is_picture_name
from ...cyclegan_core.runs import STATE_NAME
from .progress import show_text

MODEL_FOLDER = "cyclegan"
MODEL_EXTENSIONS = SUFFIXES - {".pkl"}
"""The host's own loaders know no .pkl, and neither do people who look for weights there."""

DEFAULT_MODEL = f"{hub.DEFAULT_MODEL}.safetensors"
"""The bundled model that a loader offers first."""

EXAMPLES_FOLDER = "cyclegan_examples"
"""Under the host's input folder."""

EXAMPLE_PHOTO = Path(__file__).parents[2] / "example_workflows" / "mountain.jpg"
"""A photograph of 480×320 pixels that comes with the pack: small, so that strokes are seen."""

_OFFERED = ("stream.jpg", "mountain.jpg", "mountain_large.jpg", "mountain.mp4")
"""What the templates read: a stream in a wood, 720×480 pixels; the mountain, also 1440×960 pixels;
and a camera that moves over it."""

OUTPUT_MARK = " [output]"
"""Behind the name of a folder under the host's output folder."""

_NOT_IN_A_NAME = frozenset("\\:\0" if os.name == "nt" else "\0")
"""What leads elsewhere in a folder's name: elsewhere than on Windows, folders may be called so."""

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
    for folder in (own, hub.weights_folder(), runs_dir()):
        folder_paths.add_model_folder_path(MODEL_FOLDER, str(folder))
    paths, extensions = folder_paths.folder_names_and_paths[MODEL_FOLDER]
    folder_paths.folder_names_and_paths[MODEL_FOLDER] = (
        paths,
        {*extensions, *MODEL_EXTENSIONS},
    )


def offer_examples() -> None:
    """Put the pack's photographs and clip where the templates look for them, if they lack."""
    for name in _OFFERED:
        target = Path(folder_paths.get_input_directory()) / f"cyclegan_{name}"
        if not target.exists():
            with suppress(CycleGANError):  # a folder that can't be written to
                atomic_write(target, partial(copyfile, EXAMPLE_PHOTO.with_name(name)))


def write_example(name: str, pixels: Tensor) -> None:
    """Write a picture (3,H,W) under the host's input folder, unless there is one of that name."""
    path = Path(folder_paths.get_input_directory()) / name
    if not path.exists():
        write_picture(path, pixels)


def model_names() -> list[str]:
    """What the user can choose in a loader: the host's list, less what is no finished model.

    Those are training states, features, and what a distillation keeps to go on from.
    """
    paths = {name: Path(name) for name in folder_paths.get_filename_list(MODEL_FOLDER)}
    return [
        name
        for name, path in paths.items()
        if path.name not in (STATE_NAME, hub.FEATURES_NAME)
        and not any(parent.suffix == WORK_SUFFIX for parent in path.parents)
    ]


def model_path(name: str) -> Path | None:
    """The file behind a name of `model_names`, or None."""
    full = folder_paths.get_full_path(MODEL_FOLDER, str(name))  # a program may send anything
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
    if not is_portable(name) or len(name) > _MAX_NAME:
        raise ValueError(
            f"run_name {shown(name)} is not a folder name; use letters, digits, - and _."
        )
    return runs_dir() / name


def shown(name: str) -> str:
    """A name that somebody typed, or a program sent, in quotes: one line of bounded length."""
    return f"'{plain(name, longest=_MAX_NAME)}'"


def shortened(text: str) -> str:
    """The text with the host's folders as people know them: no path of the server in the page."""
    folders = {
        folder_paths.get_input_directory(): "input",
        folder_paths.get_output_directory(): "output",
        folder_paths.models_dir: "models",
    }
    for folder, name in folders.items():
        # A folder of such a name may lie in another: the whole path, and no longer one.
        text = re.sub(re.escape(str(Path(folder))) + r"(?=[\\/\s'\".,;:]|$)", name, text)
    return text


@contextmanager
def faults_told() -> Generator[None]:
    """What is said of a fault in here stands on the node, too, where the page hides it in a log.

    It names files as people know them, see `shortened`.
    """
    try:
        yield
    except (CycleGANError, ValueError, FileNotFoundError, FileExistsError) as error:
        text = plain(shortened(str(error)))
        show_text(text)
        if text == str(error):
            raise
        raise type(error)(text) from None


def count_pictures(folder: Path) -> int:
    """Picture files in a folder and below it."""
    return sum(1 for _ in find_pictures(folder))


NO_FOLDERS = "put folders into input, press R"
"""The only choice of a widget while there is nothing to choose."""


def picture_folders() -> list[str]:
    """Folders with pictures in or below them, under the host's input and output folders.

    As relative paths with forward slashes, those of output with the mark that the host itself
    puts behind the names of such files. Trainings' own folders are not among them.
    """
    input_dir, output_dir = (Path(root) for root in _roots())
    found = _folders_below(input_dir, without=None)
    made = _folders_below(output_dir, without=runs_dir())
    return [*found, *(name + OUTPUT_MARK for name in made)]


def default_folders(names: list[str]) -> tuple[str, str]:
    """Two of `picture_folders` to begin with: different ones, none inside the other if possible."""
    ends = [name for name in names if not any(other.startswith(name + "/") for other in names)]
    first, second = (ends + ends)[:2] if len(ends) != 1 else (ends[0], names[0])
    return first, second


def picture_folder(name: str) -> Path:
    """The folder behind a name of `picture_folders`.

    Raises:
        ValueError: the name leads out of the input or output folder.
        FileNotFoundError: there is no such folder.
    """
    input_dir, output_dir = _roots()
    name = str(name)  # a program may send anything
    if name == NO_FOLDERS:
        raise FileNotFoundError(
            "There are no folders of pictures yet; put some into ComfyUI's input folder, press R, "
            "and choose them."
        )
    below = name.removesuffix(OUTPUT_MARK)
    root = input_dir if below == name else output_dir
    # By the letters only: a link inside the input folder may well lead to another disk. Windows
    # takes dots and spaces off the end, and ".. " for "..".
    relative = PurePosixPath(below)
    leads_up = any(not part.rstrip(". ") for part in relative.parts)
    if not relative.parts or relative.is_absolute() or leads_up or set(below) & _NOT_IN_A_NAME:
        raise ValueError(
            f"{shown(name)} is not a folder under ComfyUI's input; choose a listed one."
        )
    path = Path(root) / relative
    if not os.path.isdir(path):  # noqa: PTH112 - which never raises
        raise FileNotFoundError(
            f"There is no folder {shown(below)} under ComfyUI's {Path(root).name}; put pictures "
            "there and press R."
        )
    return path


def _roots() -> tuple[str, str]:
    return folder_paths.get_input_directory(), folder_paths.get_output_directory()


_walked: dict[Path, tuple[dict[Path, int], set[Path], set[Path]]] = {}
"""By root: when each folder was changed last, which have pictures of their own, and the links."""


def _folders_below(root: Path, *, without: Path | None) -> list[str]:
    """Folders below `root` with pictures in or below them, without one of them, sorted.

    A prompt asks for the list several times, so the tree is walked anew only when a folder of it
    has changed. A link is offered like a folder, but what lies below it is not listed.
    """
    stamps, filled, links = _walked.get(root, ({}, set[Path](), set[Path]()))
    if not stamps or any(_changed_ns(folder) != stamp for folder, stamp in stamps.items()):
        _walked[root] = stamps, filled, links = _walk(root, without)
    ends = filled | {link for link in links if any(find_pictures(link))}
    found = {folder for end in ends for folder in (end, *end.parents) if root in folder.parents}
    return sorted(folder.relative_to(root).as_posix() for folder in found)


def _walk(root: Path, without: Path | None) -> tuple[dict[Path, int], set[Path], set[Path]]:
    stamps: dict[Path, int] = {}
    filled: set[Path] = set()
    links: set[Path] = set()
    for parent, folders, names in os.walk(root, followlinks=False):
        here = Path(parent)
        stamps[here] = _changed_ns(here)
        paths = [here / name for name in folders if not name.startswith(".")]
        links |= {path for path in paths if path.is_symlink() and path != without}
        folders[:] = [path.name for path in paths if path not in links and path != without]
        if any(is_picture_name(name) for name in names):
            filled.add(here)
    return stamps, filled, links


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1  # gone, or not readable
