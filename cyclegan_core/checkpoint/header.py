"""What a file of ours says about itself in its header, read without torch: for lists of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..config import DIRECTIONS, GENERATOR_NAMES, Direction, ModelConfig
from ..errors import CheckpointError
from .settings import parse_config, parse_object

FORMAT = "cyclegan"
FORMAT_VERSION = 1

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100_000_000
"""What the safetensors library allows."""
_FLOATS = {"F16", "BF16", "F32", "F64"}


@dataclass(frozen=True, slots=True)
class Header:
    """The part of a `CheckpointInfo` that stands in a header."""

    config: ModelConfig
    directions: tuple[Direction, ...]
    """A to B first."""
    source: dict[str, Any]
    """Where `cyclegan pull` had the file from: repo, commit, files, license; else empty."""


def read_header(path: Path) -> Header | None:
    """What a file of ours says about itself; None if anything is odd, which is not explained.

    Tensors are not compared with the network they belong to: `inspect_checkpoint` does that.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > _MOST_HEADER_BYTES:
                return None
            text = file.read(length).decode("utf-8")
        tensors = parse_object(text, path.name)
        metadata = cast("dict[str, str]", tensors.pop("__metadata__", {}))
        wanted = {"format": FORMAT, "format_version": str(FORMAT_VERSION)}
        if not wanted.items() <= metadata.items():
            return None
        config = parse_config(parse_object(metadata.get("config", ""), path.name), path.name)
        source = parse_object(metadata.get("source", "{}"), path.name)
        end = max(tensor["data_offsets"][1] for tensor in tensors.values())
        is_whole = path.stat().st_size == _LENGTH_BYTES + length + end
        has_floats = {tensor["dtype"] for tensor in tensors.values()} <= _FLOATS | {"I64"}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, CheckpointError):
        return None
    prefixes = {key.partition(".")[0] for key in tensors}
    directions: tuple[Direction, ...] = tuple(
        direction for direction in DIRECTIONS if GENERATOR_NAMES[direction] in prefixes
    )
    if not (is_whole and has_floats and directions and prefixes <= {*GENERATOR_NAMES.values()}):
        return None
    return Header(config, directions, source)
