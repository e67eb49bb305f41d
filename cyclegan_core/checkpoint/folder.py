"""Which file of a folder holds the model: a Hub-style repository, or a training's output.

Names alone decide, so that a repository can be judged before anything of it is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ..config import Direction
from ..errors import CheckpointError, plain, reason

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"

SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl"})
"""How weight files end that can hold a CycleGAN."""
_STANDARD_NAMES = (WEIGHTS_NAME, "pytorch_model.bin")
_DIRECTION = re.compile(
    r"(^|[_\-.])(net_?)?(g|gen|generator)_?((?P<forward>a2b|atob|ab|a)|b2a|btoa|ba|b)(?=[_\-.]|$)",
    re.IGNORECASE,
)
_OTHER_PART = re.compile(
    r"(^|[_\-.])((net_?)?(d|disc|discriminator|critic)_?[a-z]?|optim\w*|opt|scheduler|training_args)"
    r"(?=[_\-.]|$)",
    re.IGNORECASE,
)


def choose_files(folder: Path) -> dict[Direction | None, Path]:
    """The weight file of a folder (under None), or the two whose names say their direction.

    Raises:
        CheckpointError: there is no weight file, or there are several to choose from.
    """
    try:
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise CheckpointError(
            f"{folder} can't be read ({reason(error)}); check its permissions."
        ) from None
    chosen, candidates = choose_names(files)
    if chosen:
        return {direction: folder / name for direction, name in chosen.items()}
    if not candidates:
        raise CheckpointError(
            f"{folder} holds no weight file (.safetensors, .pth, …); choose another folder."
        )
    names = few(candidates)
    raise CheckpointError(f"{folder} holds several weight files ({names}); choose one of them.")


def choose_names(names: Iterable[str]) -> tuple[dict[Direction | None, str], list[str]]:
    """The weight file among the files of a folder or repository, by their names alone.

    Returns:
        The file (under None) or the pair whose names say their direction, and all candidates;
        nothing is chosen when there is no candidate, or when several can't be told apart.
    """
    files = sorted(name for name in names if is_weight_name(name))
    for name in _STANDARD_NAMES:
        if name in files:
            return {None: name}, files
    top = [name for name in files if "/" not in name] or files
    files = [name for name in top if not _OTHER_PART.search(_last(name))] or top
    for group in (files, [name for name in files if "latest" in _last(name).lower()]):
        pair: dict[Direction | None, str] = {name_direction(name): name for name in group}
        if len(group) == 1:
            return {None: group[0]}, files
        if len(group) == 2 and set(pair) == {"a_to_b", "b_to_a"}:
            return pair, files
    return {}, files


def name_direction(name: str) -> Direction | None:
    """What a file's name says about the way it translates, for example G_A2B_epoch33.pth."""
    match = _DIRECTION.search(_last(name))
    if match is None:
        return None
    return "a_to_b" if match["forward"] else "b_to_a"


def is_weight_name(name: str) -> bool:
    """Whether a file of this name can hold weights; hidden ones are left alone."""
    last = PurePosixPath(_last(name))
    return not last.name.startswith(".") and last.suffix.lower() in SUFFIXES


def few(names: Sequence[str]) -> str:
    """Up to eight names, for a message."""
    shown = [plain(name, longest=100) for name in names[:8]]
    return ", ".join(shown) + (", …" if len(names) > 8 else "")


def _last(name: str) -> str:
    return name.rpartition("/")[2]
