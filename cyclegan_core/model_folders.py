"""Which file of a folder holds the model: a Hub-style repository, or a training's output."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from .config import Direction, ModelConfig
from .errors import CheckpointError

log = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"

_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl"})
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
        files = sorted(path for path in folder.iterdir() if _is_weight_file(path))
    except OSError as error:
        raise CheckpointError(f"{folder} can't be read ({error}); check its permissions.") from None
    for name in _STANDARD_NAMES:
        if folder / name in files:
            return {None: folder / name}
    files = [path for path in files if not _OTHER_PART.search(path.name)] or files
    if len(files) == 1:
        return {None: files[0]}
    if not files:
        raise CheckpointError(
            f"{folder} holds no weight file (.safetensors, .pth, …); choose another folder."
        )
    matches = [(_DIRECTION.search(path.name), path) for path in files]
    pair: dict[Direction | None, Path] = {
        "a_to_b" if match["forward"] else "b_to_a": path for match, path in matches if match
    }
    if len(files) == 2 and len(pair) == 2:
        return pair
    names = ", ".join(path.name for path in files[:8]) + (", …" if len(files) > 8 else "")
    raise CheckpointError(f"{folder} holds several weight files ({names}); choose one of them.")


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
    known = {field.name for field in fields(ModelConfig)}
    inner = content.get("config")
    settings = cast("dict[str, Any]", inner) if isinstance(inner, Mapping) else content
    if not known & settings.keys():
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


def _is_weight_file(path: Path) -> bool:
    is_hidden = path.name.startswith(".")
    return not is_hidden and path.suffix.lower() in _SUFFIXES and path.is_file()
