"""What a model says about itself in words: in the header of a file of ours, or in config.json.

Nothing here needs torch, so that a list of models is quickly made.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..config import DIRECTIONS, GENERATOR_NAMES, Direction, ModelConfig
from ..errors import CheckpointError, reason
from ..files import check_file, read_text
from .folder import CONFIG_NAME

log = logging.getLogger(__name__)

FORMAT = "cyclegan"
FORMAT_VERSION = 1
CHECKSUM = "crc32"
"""The text in the header of a file of ours that says what its tensors add up to."""
HEADER_CHECKSUM = "crc32_header"
"""Likewise for the other texts, see `header_checksum`."""
PREFIXES: dict[Direction, str] = {d: f"{name}." for d, name in GENERATOR_NAMES.items()}
"""What the keys of each generator begin with in our files."""
_MOST_HEADER_BYTES = 100_000_000
"""How long a header the safetensors library allows."""
_STORED_TYPES = {"F16", "BF16", "F32", "F64", "I64"}
"""How safetensors calls the numbers that files of ours are made of; counts are whole numbers."""
_OUR_KEYS = frozenset({"generator", "base_channels", "domain_a", "domain_b"})
"""By which settings of ours are known; others have an `image_size` or a `norm` of their own."""
# What the Hub's own tools and ours write beside the settings.
_HUB_KEYS = frozenset(
    {"architectures", "directions", "dtype", "library_name", "model_type", "tags", "torch_dtype"}
    | {"training", "transformers_version"}
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file that `save_model` wrote says about itself."""

    config: ModelConfig
    directions: tuple[Direction, ...]
    """The directions of the generators in it, A to B first."""
    training: dict[str, Any]
    """What the training noted."""
    source: dict[str, Any]
    """Where `cyclegan pull` had the file from; else empty."""


def header_checksum(metadata: Mapping[str, str]) -> str:
    """The CRC-32 of all that a file of ours says about itself; other tools' texts don't count."""
    texts = [metadata.get(key, "") for key in ("format_version", "config", "training", "source")]
    return f"{zlib.crc32(json.dumps(texts).encode()):08x}"


def parse_header(metadata: Mapping[str, str], keys: Iterable[str], name: str) -> Header:
    """Read the texts and the keys of a safetensors file whose format is ours.

    Raises:
        CheckpointError: another version wrote it, or it is damaged; `name` is the file.
    """
    version = metadata.get("format_version", "")
    if version != str(FORMAT_VERSION):
        raise CheckpointError(
            f"{name} has format version {version or 'unknown'}, but this version of "
            f"CycleGAN reads {FORMAT_VERSION}; update CycleGAN."
        )
    header = f"The header of {name}"
    # Older files have none.
    if metadata.get(HEADER_CHECKSUM, header_checksum(metadata)) != header_checksum(metadata):
        raise CheckpointError(
            f"{header} is damaged: it does not fit its checksum; download or copy it again."
        )
    found = set(map(direction_of_key, keys))
    return Header(
        config=parse_config(parse_object(metadata.get("config", ""), header), header),
        directions=tuple(direction for direction in DIRECTIONS if direction in found),
        training=parse_object(metadata.get("training", "{}"), header),
        source=parse_object(metadata.get("source", "{}"), header),
    )


def read_header(path: Path) -> Header | None:
    """What a file of ours says about itself, without a look at its tensors' shapes.

    None means that the file is of another layout or has a fault; `inspect_checkpoint` says which.
    """
    try:
        # The format: the length of the JSON text in 8 bytes, the text, and then the tensors.
        check_file(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _MOST_HEADER_BYTES:
                return None
            tensors = parse_object(file.read(length).decode("utf-8"), path.name)
        metadata = cast("dict[str, str]", tensors.pop("__metadata__", {}))
        end = max(tensor["data_offsets"][1] for tensor in tensors.values())
        is_whole = path.stat().st_size == 8 + length + end
        types = {tensor["dtype"] for tensor in tensors.values()}
        is_ours = metadata.get("format") == FORMAT and all(map(direction_of_key, tensors))
        if not (is_whole and is_ours and types <= _STORED_TYPES):
            return None
        return parse_header(metadata, tensors, path.name)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, CheckpointError):
        return None


def direction_of_key(key: str) -> Direction | None:
    """Say which of our generators a tensor belongs to; None if its key is not ours."""
    return next((d for d, prefix in PREFIXES.items() if key.startswith(prefix)), None)


def read_settings(folder: Path) -> ModelConfig | None:
    """The model's settings in the folder's config.json; None if there are none of ours.

    Raises:
        CheckpointError: it can't be read, or has settings that this version does not know.
    """
    path = folder / CONFIG_NAME
    try:
        text = read_text(path)
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
