"""A model's settings as they are stored: in a file's header, or in config.json beside it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ..config import ModelConfig
from ..errors import CheckpointError, reason
from .folder import CONFIG_NAME

log = logging.getLogger(__name__)

_OUR_KEYS = frozenset({"generator", "base_channels", "domain_a", "domain_b"})
"""By which settings of ours are known; others have an `image_size` or a `norm` of their own."""
# What the Hub's own tools and ours write beside the settings.
_HUB_KEYS = frozenset(
    {"architectures", "directions", "dtype", "library_name", "model_type", "tags", "torch_dtype"}
    | {"training", "transformers_version"}
)


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
        raise CheckpointError(
            f"{path} can't be read ({reason(error)}); download it again."
        ) from None
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
        raise CheckpointError(
            f"{name} holds settings that can't be used ({str(error).rstrip('.')}); "
            "update CycleGAN, or get the file again."
        ) from None
