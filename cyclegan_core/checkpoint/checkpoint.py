"""A CycleGAN as it travels: read from files of any known layout, checked, written as one of ours.

Nothing here knows the model's class, which takes a `Checkpoint` and gives one. The original's
discriminator `D_A` judges domain B; it is our `disc_b`, and only training needs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..config import ARROWS, DIRECTIONS, Direction, ModelConfig
from ..device.precision import is_finite
from ..errors import CheckpointError
from ..files import atomic_write
from ..networks import build_generator
from .folder import choose_files
from .layouts import FoundGenerator, find_generators
from .settings import (
    CHECKSUM,
    FORMAT,
    FORMAT_VERSION,
    HEADER_CHECKSUM,
    PREFIXES,
    direction_of_key,
    header_checksum,
    parse_header,
    read_settings,
)
from .weight_file import Weights, checksum, read_weights

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_LABELS = {"domain_a", "domain_b", "image_size"}
"""Settings that are no part of the network; the generators of a pair may differ in them."""


@dataclass(frozen=True)
class GeneratorWeights:
    """The tensors of one generator."""

    tensors: dict[str, Tensor] = field(repr=False)
    """By our keys without "gen_ab."."""
    path: Path | None = None
    """The file they lie in, which is the one to blame; None for a model in memory."""
    target: str = ""
    """Name of the domain it makes, if its file tells."""

    @property
    def file_name(self) -> str:
        """How messages call the file."""
        return self.path.name if self.path else "the model"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A CycleGAN on its way between a file, the Hub and a model: settings, weights, and origin."""

    config: ModelConfig
    generators: dict[Direction, GeneratorWeights]
    """One or both, A to B first."""
    path: Path | None = None
    """The file, or the folder of a pair; None for a model in memory."""
    layout: str = FORMAT
    """"cyclegan" (ours) or the name of a foreign layout."""
    knows_direction: bool = True
    """Whether the file says its direction; if not, an argument decided."""
    training: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the training noted; empty for foreign layouts."""
    source: dict[str, Any] = field(default_factory=dict[str, Any])
    """Where `cyclegan pull` had the file from: repo, commit, files, license; else empty."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that it can translate, A to B first."""
        return tuple(self.generators)

    @property
    def license(self) -> str | None:
        """The licence that the file says its weights have; None if it says nothing."""
        return _license(self.source, self.training)

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors by the keys of the model and of our files."""
        return {
            PREFIXES[direction] + key: tensor
            for direction, generator in self.generators.items()
            for key, tensor in generator.tensors.items()
        }


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """What a weight file holds."""

    path: Path
    layout: str
    """"cyclegan" (ours) or the name of a foreign layout."""
    config: ModelConfig
    directions: tuple[Direction, ...]
    """The directions that `load_model(path)` gives."""
    knows_direction: bool
    """Whether the file says its direction; if not, `load_model`'s argument decides."""
    num_parameters: int
    dtype: str
    """How the weights are stored, for example "float32"."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the training noted in the file; empty for foreign layouts."""
    source: dict[str, Any] = field(default_factory=dict[str, Any])
    """Where `cyclegan pull` had the file from: repo, commit, files, license; else empty."""

    @property
    def license(self) -> str | None:
        """The licence that the file says its weights have; None if it says nothing."""
        return _license(self.source, self.metadata)


def _license(source: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """As the Hub had it; or as a training noted it, which a student does for its teacher's."""
    stated = source.get("license") or training.get("license")
    return stated if isinstance(stated, str) and stated else None


# --- read ---------------------------------------------------------------------------------------


def read_checkpoint(
    path: str | Path,
    *,
    direction: Direction = "a_to_b",
    path_b_to_a: str | Path | None = None,
) -> Checkpoint:
    """Read a checkpoint whose tensors are float32, finite, on the CPU, and fit their network.

    Arguments and errors are those of the public `load_model`, which makes a model of it.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {DIRECTIONS}; got {direction!r}.")
    _check_named(path, path_b_to_a)
    with torch.inference_mode(mode=False), torch.no_grad():
        if path_b_to_a is None:
            return _usable(_united(_read(Path(path), direction)))
        forward, backward = _read(Path(path), "a_to_b"), _read(Path(path_b_to_a), "b_to_a")
        return _usable(_united([_part(forward, "a_to_b"), _part(backward, "b_to_a")]))


def read_files(
    path: Path,
    files: Mapping[Direction | None, Path],
    settings: ModelConfig | None,
    *,
    direction: Direction,
) -> Checkpoint:
    """`read_checkpoint` for files that were chosen already.

    Args:
        path: what the files are called together, for messages.
        files: one weight file (under None), or one for each direction.
        settings: what lies beside them in config.json, if any.
        direction: which way a single nameless generator translates.

    Raises:
        CheckpointError: a file is damaged, unsafe, or no CycleGAN.
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        return _usable(_united(_read_chosen(path, files, settings, direction)))


def inspect_checkpoint(path: str | Path) -> CheckpointInfo:
    """Describe a weight file; of a safetensors file only the header is read.

    Raises:
        CheckpointError: `load_model` would refuse it because of its kind, keys, or sizes.
    """
    _check_named(path)
    path = Path(path)
    checkpoint = _united(_read(path, "a_to_b", headers_only=True))
    networks = _check_fit(checkpoint)
    stored = next(t.dtype for t in checkpoint.state_dict().values() if t.is_floating_point())
    return CheckpointInfo(
        path=checkpoint.path or path,
        layout=checkpoint.layout,
        config=checkpoint.config,
        directions=checkpoint.directions,
        knows_direction=checkpoint.knows_direction,
        num_parameters=sum(p.numel() for net in networks.values() for p in net.parameters()),
        dtype=str(stored).removeprefix("torch."),
        metadata=checkpoint.training,
        source=checkpoint.source,
    )


def _check_named(*paths: str | Path | None) -> None:
    """Refuse an empty name, which `Path` takes for the current folder."""
    if "" in paths:
        raise CheckpointError("The name of a weight file is empty; give a file or a folder.")


def _read(path: Path, direction: Direction, *, headers_only: bool = False) -> list[Checkpoint]:
    """Each generator of a file or folder as a checkpoint of its own, not checked yet.

    A generator that doesn't say which way it translates is taken to go in `direction`.
    """
    try:
        is_folder = path.is_dir()
    except (OSError, ValueError):  # no possible path; reading the file will say so
        is_folder = False
    if not is_folder:
        return _read_file(path, None, direction, headers_only=headers_only)
    files, settings = choose_files(path), read_settings(path)
    return _read_chosen(path, files, settings, direction, headers_only=headers_only)


def _read_chosen(
    path: Path,
    files: Mapping[Direction | None, Path],
    settings: ModelConfig | None,
    direction: Direction,
    *,
    headers_only: bool = False,
) -> list[Checkpoint]:
    """The generators of one file (under None), or of two of which each gives one."""
    if None in files:
        return _read_file(files[None], settings, direction, headers_only=headers_only)
    generators = [
        _part(_read_file(files[key], settings, key, headers_only=headers_only), key)
        for key in DIRECTIONS
    ]
    return [replace(generator, path=path) for generator in generators]


def _read_file(
    path: Path, settings: ModelConfig | None, direction: Direction, *, headers_only: bool
) -> list[Checkpoint]:
    """The generators of one file; `settings` is what the config.json beside it says."""
    weights = read_weights(path, headers_only=headers_only)
    is_ours = weights.metadata.get("format") == FORMAT
    if is_ours or (settings and all(direction_of_key(key) for key in weights.tensors)):
        return _read_ours(path, weights, settings)
    parts: list[Checkpoint] = []
    for found in _choose(path.name, find_generators(path.name, weights.tensors)):
        # Foreign tensors are described as if they went from A to B.
        known = found.direction or direction
        config = found.config
        if known == "b_to_a":
            config = replace(config, channels_a=config.channels_b, channels_b=config.channels_a)
        if settings:
            # Names, sizes and the value range are what config.json can add to the weights.
            differing = _differences(settings, config) - {"value_range"}
            if differing:
                raise CheckpointError(
                    f"{path.name} and the config.json beside it disagree about "
                    f"{', '.join(sorted(differing))}; delete config.json to use what the weights "
                    "say."
                )
            config = settings
        parts.append(
            Checkpoint(
                path=path,
                layout=found.layout,
                config=config,
                generators={known: GeneratorWeights(found.tensors, path, found.target)},
                knows_direction=found.direction is not None,
            )
        )
    return parts


def _read_ours(path: Path, weights: Weights, settings: ModelConfig | None) -> list[Checkpoint]:
    """The generators of a file that `save_model` wrote, or whose settings lie beside it."""
    training: dict[str, Any] = {}
    source: dict[str, Any] = {}
    if weights.metadata.get("format") == FORMAT:
        header = parse_header(weights.metadata, weights.tensors, path.name)
        if settings not in (None, header.config):
            raise CheckpointError(
                f"{path.name} and the config.json beside it disagree; download both again, "
                "or delete config.json to use what the weights say."
            )
        settings, training, source = header.config, header.training, header.source
    generators: dict[Direction, dict[str, Tensor]] = {}
    for key, tensor in weights.tensors.items():
        direction = direction_of_key(key)
        if direction is None:
            raise CheckpointError(
                f"{path.name} has an unknown tensor '{key}'; download or copy it again."
            )
        tensors = generators.setdefault(direction, {})
        tensors[key.removeprefix(PREFIXES[direction])] = tensor
    if settings is None or not generators:
        raise CheckpointError(f"{path.name} holds no generator; save the model again.")
    return [
        Checkpoint(
            path=path,
            config=settings,
            generators={direction: GeneratorWeights(tensors, path)},
            training=training,
            source=source,
        )
        for direction, tensors in generators.items()
    ]


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


def _part(parts: list[Checkpoint], direction: Direction) -> Checkpoint:
    """The one of the generators of a file that translates in `direction`."""
    for part in parts:
        if direction in part.generators:
            return part
    part = parts[0]
    raise CheckpointError(
        f"{part.path.name if part.path else 'It'} translates {ARROWS[part.directions[0]]}, but is "
        f"given as the file for {ARROWS[direction]}; exchange the two files, or choose another one."
    )


def _united(parts: list[Checkpoint]) -> Checkpoint:
    """One checkpoint of one or two generators; what the file of A to B says about both counts."""
    parts = sorted(parts, key=lambda part: DIRECTIONS.index(part.directions[0]))
    first = parts[0]
    generators = {d: weights for part in parts for d, weights in part.generators.items()}
    for other in parts[1:]:
        differing = _differences(first.config, other.config)
        if differing:
            names = " and ".join(dict.fromkeys(g.file_name for g in generators.values()))
            raise CheckpointError(
                f"The two generators of {names} differ in {', '.join(sorted(differing))}, so they "
                "can't be one model; load them one at a time."
            )
    targets = {
        "domain_b" if direction == "a_to_b" else "domain_a": generator.target
        for direction, generator in generators.items()
        if generator.target
    }
    return replace(
        first,
        config=replace(first.config, **targets),
        generators=generators,
        knows_direction=all(part.knows_direction for part in parts),
    )


def _differences(one: ModelConfig, other: ModelConfig) -> set[str]:
    """The settings in which two networks differ, labels aside."""
    mine, theirs = one.to_dict(), other.to_dict()
    return {key for key in mine if mine[key] != theirs[key]} - _LABELS


# --- check --------------------------------------------------------------------------------------


def _check_fit(checkpoint: Checkpoint) -> dict[Direction, nn.Module]:
    """Compare shapes and kinds of numbers with the networks, which are built on `meta`.

    Raises:
        CheckpointError: a tensor is missing, unknown, or of another shape or kind.
    """
    config, generators = checkpoint.config, checkpoint.generators
    # Settings may promise far more than there is, and even empty networks take time to build.
    num_levels = config.num_blocks if config.generator == "resnet" else config.num_downs
    smallest = min(generators.values(), key=lambda generator: len(generator.tensors))
    damaged = CheckpointError(
        f"{smallest.file_name} has settings that do not fit its tensors; download or copy it again."
    )
    if num_levels > len(smallest.tensors):
        raise damaged
    networks: dict[Direction, nn.Module] = {}
    try:
        with torch.device("meta"):
            for direction in generators:
                networks[direction] = build_generator(config, direction)
    except (RuntimeError, OverflowError, TypeError):  # sizes beyond all reason
        raise damaged from None
    for direction, generator in generators.items():
        expected = networks[direction].state_dict()
        for key in (*expected, *generator.tensors):
            wanted, stored = expected.get(key), generator.tensors.get(key)
            place = f"'{PREFIXES[direction]}{key}'"
            if wanted is None or stored is None or wanted.shape != stored.shape:
                raise CheckpointError(
                    f"{generator.file_name} does not fit the network it describes: {place} is "
                    f"{_size(stored)} instead of {_size(wanted)}; download or copy it again."
                )
            # A count of batches may be any number: some tools cast all that a file holds.
            known = _FLOATS if wanted.is_floating_point() else (*_FLOATS, *_INTEGERS)
            if stored.dtype not in known:
                raise CheckpointError(
                    f"{generator.file_name} stores {place} as "
                    f"{str(stored.dtype).removeprefix('torch.')}, which is not supported; convert "
                    "it to float32 or float16."
                )
    return networks


def _size(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"


def _usable(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with tensors in memory of their own, of the networks' dtypes, and finite."""
    networks = _check_fit(checkpoint)
    generators: dict[Direction, GeneratorWeights] = {}
    for direction, generator in checkpoint.generators.items():
        expected = networks[direction].state_dict()
        tensors: dict[str, Tensor] = {}
        for key, stored in generator.tensors.items():
            dtype = expected[key].dtype
            tensor = stored.to(dtype, copy=True, memory_format=torch.contiguous_format)
            if dtype.is_floating_point and not is_finite(tensor):
                raise CheckpointError(
                    f"{generator.file_name} holds NaN or infinite values in '{key}', left by a "
                    "training that diverged; use an earlier checkpoint."
                )
            tensors[key] = tensor
        generators[direction] = replace(generator, tensors=tensors)
    return replace(checkpoint, generators=generators)


# --- write --------------------------------------------------------------------------------------


def write_checkpoint(
    checkpoint: Checkpoint,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint as one .safetensors file that describes itself; all of it or nothing.

    The other arguments and the errors are those of the public `save_model`.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a model is saved as .safetensors; got the name {path.name!r}.")
    if dtype is not None and dtype not in _FLOATS:
        raise ValueError(
            f"dtype must be a float type of torch, such as torch.float16; got {dtype!r}."
        )
    tensors: dict[str, Tensor] = {}
    for name, tensor in checkpoint.state_dict().items():
        target = dtype if dtype and tensor.is_floating_point() else tensor.dtype
        stored = tensor.detach().to("cpu", target).contiguous()
        if not is_finite(stored):
            raise CheckpointError(
                f"The model was not saved to {path.name} because '{name}' holds NaN or infinite "
                f"values as {str(target).removeprefix('torch.')}; save an earlier state of it."
            )
        tensors[name] = stored
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(checkpoint.config.to_dict(), sort_keys=True),
        "training": json.dumps(checkpoint.training, sort_keys=True),
    }
    metadata[CHECKSUM] = checksum(tensors)
    if source:
        metadata["source"] = json.dumps(source, sort_keys=True)
    metadata[HEADER_CHECKSUM] = header_checksum(metadata)
    content = save(tensors, metadata)
    atomic_write(path, lambda temporary: temporary.write_bytes(content), error_type=CheckpointError)
