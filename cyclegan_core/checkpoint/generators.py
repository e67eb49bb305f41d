"""The one or two generators of a file or folder, whatever its layout, in our keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import ARROWS, DIRECTIONS, GENERATOR_NAMES, Direction, ModelConfig
from ..errors import CheckpointError
from .folder import choose_files, parse_config, parse_object, read_settings
from .layouts import FoundGenerator, find_generators
from .weight_file import Weights, read_weights

FORMAT = "cyclegan"
FORMAT_VERSION = 1
PREFIXES: dict[Direction, str] = {d: f"{name}." for d, name in GENERATOR_NAMES.items()}

# Settings that are no part of the network; two halves may differ in them.
_LABELS = {"domain_a", "domain_b", "image_size"}


@dataclass(frozen=True)
class Half:
    """One generator: our keys without "gen_ab.", and the settings as if it went from A to B."""

    path: Path
    """The file it lies in, which is the one to blame."""
    config: ModelConfig
    tensors: dict[str, Tensor]
    target: str = ""
    """Name of the domain it makes, if the file tells."""


@dataclass(frozen=True)
class Content:
    """A file or folder that was read; the only half of it may not know its direction."""

    path: Path
    layout: str
    halves: dict[Direction | None, Half]
    training: dict[str, Any] = field(default_factory=dict[str, Any])
    source: dict[str, Any] = field(default_factory=dict[str, Any])
    """Where the file was pulled from: repo, commit, files, license."""

    def half(self, direction: Direction) -> Half:
        """The half for this direction, or the only one if it doesn't know its own.

        Raises:
            CheckpointError: there is one only, and it goes the other way.
        """
        if direction in self.halves:
            return self.halves[direction]
        ((known, only),) = self.halves.items()
        if known is not None:
            raise CheckpointError(
                f"{self.path.name} translates {ARROWS[known]}, but is given as the file for "
                f"{ARROWS[direction]}; exchange the two files, or choose another one."
            )
        return only


def read_halves(path: Path, *, headers_only: bool) -> Content:
    """A file, or the model in a folder.

    Raises:
        CheckpointError: there is no CycleGAN, or it is not clear which.
    """
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError):  # no possible path; reading the file will say so
        is_folder = False
    if not is_folder:
        return _read_file(path, None, headers_only=headers_only)
    return read_files(path, choose_files(path), read_settings(path), headers_only=headers_only)


def read_files(
    path: Path,
    files: Mapping[Direction | None, Path],
    config: ModelConfig | None,
    *,
    headers_only: bool,
) -> Content:
    """The model in one file (under None) or in a pair.

    Args:
        path: what the files are called together.
        files: what `choose_files` chose.
        config: the settings that lie beside them.
        headers_only: leave safetensors data on the disk.

    Raises:
        CheckpointError: they are no CycleGAN.
    """
    contents = {
        key: _read_file(file, config, headers_only=headers_only) for key, file in files.items()
    }
    first = next(iter(contents.values()))
    halves = first.halves
    if None not in contents:
        first = replace(first, path=path)
        halves: dict[Direction | None, Half] = {d: contents[d].half(d) for d in DIRECTIONS}
    if config and first.layout != FORMAT:
        halves = {key: _with_settings(key, half, config) for key, half in halves.items()}
    return replace(first, halves=halves)


def _read_file(path: Path, config: ModelConfig | None, *, headers_only: bool) -> Content:
    """A file; `config` is what the config.json beside it says."""
    weights = read_weights(path, headers_only=headers_only)
    is_ours = weights.metadata.get("format") == FORMAT
    if is_ours or (config and all(_our_direction(key) for key in weights.tensors)):
        return _read_ours(path, weights, config)
    chosen = _choose(path.name, find_generators(path.name, weights.tensors))
    halves: dict[Direction | None, Half] = {
        generator.direction: Half(
            path, _config(generator, path.name), generator.tensors, generator.target
        )
        for generator in chosen
    }
    return Content(path, chosen[0].layout, halves)


def _read_ours(path: Path, weights: Weights, config: ModelConfig | None) -> Content:
    """A file that `save_model` wrote, or one whose settings lie beside it."""
    metadata = weights.metadata
    training: dict[str, Any] = {}
    source: dict[str, Any] = {}
    if metadata.get("format") == FORMAT:
        version = metadata.get("format_version", "")
        if version != str(FORMAT_VERSION):
            raise CheckpointError(
                f"{path.name} has format version {version or 'unknown'}, but this version of "
                f"CycleGAN reads {FORMAT_VERSION}; update CycleGAN."
            )
        header = f"The header of {path.name}"
        settings = parse_config(parse_object(metadata.get("config", ""), header), header)
        if config not in (None, settings):
            raise CheckpointError(
                f"{path.name} and the config.json beside it disagree; download both again, "
                "or delete config.json to use what the weights say."
            )
        config = settings
        training = parse_object(metadata.get("training", "{}"), header)
        source = parse_object(metadata.get("source", "{}"), header)
    halves: dict[Direction | None, Half] = {}
    for key, tensor in weights.tensors.items():
        direction = _our_direction(key)
        if config is None or direction is None:
            raise CheckpointError(
                f"{path.name} has an unknown tensor '{key}'; download or copy it again."
            )
        half = halves.setdefault(direction, Half(path, turned(config, direction), {}))
        half.tensors[key.removeprefix(PREFIXES[direction])] = tensor
    if not halves:
        raise CheckpointError(f"{path.name} holds no generator; save the model again.")
    return Content(path, FORMAT, halves, training, source)


def _our_direction(key: str) -> Direction | None:
    return next((d for d, prefix in PREFIXES.items() if key.startswith(prefix)), None)


def _choose(name: str, found: list[FoundGenerator]) -> list[FoundGenerator]:
    """One generator per direction, averaged weights first, or one of unknown direction."""
    chosen: list[FoundGenerator] = []
    for direction in (*DIRECTIONS, None):
        group = [generator for generator in found if generator.direction == direction]
        best = [
            generator for generator in group if generator.is_average == generator.prefers_average
        ]
        group = best or group
        if len(group) > 1 or (direction is None and group and chosen):
            names = ", ".join(generator.root.rstrip(".") or "(no name)" for generator in found)
            raise CheckpointError(
                f"{name} holds {len(found)} generators ({names}) and does not say which one "
                "translates in which direction; save the wanted one to a file of its own."
            )
        chosen += group
    return chosen


def _config(generator: FoundGenerator, name: str) -> ModelConfig:
    """The settings of a foreign generator, as if it went from A to B."""
    channels = {"channels_a": generator.in_channels, "channels_b": generator.out_channels}
    return parse_config({**generator.settings, **channels}, name)


def turned(config: ModelConfig, direction: Direction) -> ModelConfig:
    """The settings as if a generator for `direction` went from A to B, or back again."""
    if direction == "a_to_b":
        return config
    return replace(config, channels_a=config.channels_b, channels_b=config.channels_a)


def _with_settings(direction: Direction | None, half: Half, config: ModelConfig) -> Half:
    """A foreign generator with what config.json adds: names, sizes, and the value range."""
    given = turned(config, direction or "a_to_b")
    differing = differences(given, half.config) - {"value_range"}
    if differing:
        raise CheckpointError(
            f"{half.path.name} and the config.json beside it disagree about "
            f"{', '.join(sorted(differing))}; delete config.json to use what the weights say."
        )
    return replace(half, config=given)


def merge(halves: Mapping[Direction, Half]) -> ModelConfig:
    """The settings of both halves together.

    Raises:
        CheckpointError: they are different networks.
    """
    first, *others = [turned(half.config, direction) for direction, half in halves.items()]
    for other in others:
        differing = differences(first, other)
        if differing:
            names = " and ".join(dict.fromkeys(half.path.name for half in halves.values()))
            raise CheckpointError(
                f"The two generators of {names} differ in {', '.join(sorted(differing))}, so they "
                "can't be one model; load them one at a time."
            )
    targets = {
        "domain_b" if direction == "a_to_b" else "domain_a": half.target
        for direction, half in halves.items()
        if half.target
    }
    return replace(first, **targets)


def differences(one: ModelConfig, other: ModelConfig) -> set[str]:
    """The settings in which two networks differ, labels aside."""
    mine, theirs = one.to_dict(), other.to_dict()
    return {key for key in mine if mine[key] != theirs[key]} - _LABELS
