"""Which file of a folder holds the model: a Hub-style repository, or a training's output."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast

from ..config import Direction, ModelConfig
from ..errors import CheckpointError

log = logging.getLogger(__name__)

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
_OUR_KEYS = frozenset({"generator", "base_channels", "domain_a", "domain_b"})
"""By which settings of ours are known; others have an `image_size` or a `norm` of their own."""
# What the Hub's own tools and ours write beside the settings.
_HUB_KEYS = frozenset(
    {"architectures", "directions", "dtype", "library_name", "model_type", "tags", "torch_dtype"}
    | {"training", "transformers_version"}
)


def choose_files(folder: Path) -> dict[Direction | None, Path]:
    """The weight file of a folder (under None), or the two whose names say their direction.

    Raises:
        CheckpointError: there is no weight file, or there are several to choose from.
    """
    try:
        files = sorted(path.name for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise CheckpointError(f"{folder} can't be read ({error}); check its permissions.") from None
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
    """Up to eight names, for a message; those of a server may try to speak to the terminal."""
    shown = [name if name.isprintable() else ascii(name) for name in names[:8]]
    return ", ".join(shown) + (", …" if len(names) > 8 else "")


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def read_settings(folder: Path) -> ModelConfig | None:
    """The model's settings in the folder's config.json; None if there are none of ours.

    Raises:
        CheckpointError: it can't be read, or has settings that this version does not know.
    """
    path = folder / CONFIG_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read ({error}); download it again.") from None
    content = parse_object(text, str(path))
    inner = content.get("config")
    settings = cast("dict[str, Any]", inner) if isinstance(inner, Mapping) else content
    if not settings.keys() >= _OUR_KEYS:
        log.info("%s holds no settings of a CycleGAN; they are read off the weights.", path)
        return None
    hub_keys = {key for key in settings if key in _HUB_KEYS or key.startswith("_")}
    return parse_config({k: v for k, v in settings.items() if k not in hub_keys}, str(path))


def parse_object(text: str, name: str) -> dict[str, Any]:
    """A JSON object; `name` says where it stood."""
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise CheckpointError(f"{name} is not valid JSON; download or copy it again.")
    return cast("dict[str, Any]", content)


def parse_config(settings: Mapping[str, Any], name: str) -> ModelConfig:
    """The settings as a `ModelConfig`; `name` says where they stood."""
    try:
        return ModelConfig.from_dict(settings)
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(
            f"{name} holds settings that can't be used ({reason}); "
            "update CycleGAN, or get the file again."
        ) from None
