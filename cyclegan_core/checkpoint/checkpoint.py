"""Weight files in and out: our own format, and every foreign layout that `layouts` knows.

The original's discriminator `D_A` judges domain B; it is our `disc_b`, and only training needs it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..config import DIRECTIONS, Direction, ModelConfig
from ..errors import CheckpointError
from ..files import atomic_write
from ..model import CycleGAN
from .generators import (
    FORMAT,
    FORMAT_VERSION,
    PREFIXES,
    Content,
    Half,
    merge,
    read_files,
    read_halves,
)

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


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


def load_model(
    path: str | Path,
    *,
    direction: Direction = "a_to_b",
    path_b_to_a: str | Path | None = None,
) -> CycleGAN:
    """Load a model on the CPU, in eval mode and float32, ready to translate or to be trained on.

    Args:
        path: a file of ours or of a foreign layout, or a folder with one (or with a pair whose
            names say their directions).
        direction: which way the generator of a file translates that does not say so itself.
        path_b_to_a: a second file, for the other direction; `path` is then the one from A to B.

    Raises:
        CheckpointError: a file is missing, damaged, unsafe, or no CycleGAN.
        ValueError: no such direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {DIRECTIONS}; got {direction!r}.")
    with torch.inference_mode(mode=False), torch.no_grad():
        content = read_halves(Path(path), headers_only=False)
        halves: dict[Direction, Half] = {
            key or direction: half for key, half in content.halves.items()
        }
        if path_b_to_a is not None:
            back = read_halves(Path(path_b_to_a), headers_only=False)
            halves = {"a_to_b": content.half("a_to_b"), "b_to_a": back.half("b_to_a")}
        return _assemble(content, halves)


def load_files(
    path: Path,
    files: Mapping[Direction | None, Path],
    config: ModelConfig | None,
    *,
    direction: Direction,
) -> CycleGAN:
    """`load_model` for files that were chosen already; `path` is what they are called together.

    Args:
        path: the name for messages.
        files: one weight file (under None), or one for each direction.
        config: the settings that lie beside them, if any.
        direction: which way a single nameless generator translates.

    Raises:
        CheckpointError: a file is damaged, unsafe, or no CycleGAN.
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        content = read_files(path, files, config, headers_only=False)
        return _assemble(content, {key or direction: h for key, h in content.halves.items()})


def _assemble(content: Content, halves: Mapping[Direction, Half]) -> CycleGAN:
    """The model with the tensors of the halves."""
    model = _skeleton(halves)
    dtypes = {key: tensor.dtype for key, tensor in model.state_dict().items()}
    state = {
        PREFIXES[key] + name: _usable(half.path.name, name, tensor, dtypes[PREFIXES[key] + name])
        for key, half in halves.items()
        for name, tensor in half.tensors.items()
    }
    model.load_state_dict(state, strict=True, assign=True)
    model.training_info = content.training
    return model.eval()


def inspect_checkpoint(path: str | Path) -> CheckpointInfo:
    """Describe a weight file; of a safetensors file only the header is read.

    Raises:
        CheckpointError: `load_model` would refuse it because of its kind, keys, or sizes.
    """
    content = read_halves(Path(path), headers_only=True)
    halves: dict[Direction, Half] = {key or "a_to_b": h for key, h in content.halves.items()}
    model = _skeleton(halves)
    weights = next(iter(halves.values())).tensors.values()
    stored = next(tensor.dtype for tensor in weights if tensor.is_floating_point())
    return CheckpointInfo(
        path=content.path,
        layout=content.layout,
        config=model.config,
        directions=model.directions,
        knows_direction=None not in content.halves,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(stored).removeprefix("torch."),
        metadata=content.training,
        source=content.source,
    )


def save_model(
    model: CycleGAN,
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    source: Mapping[str, Any] | None = None,
) -> None:
    """Write a model as one .safetensors file that describes itself; all of it or nothing.

    Args:
        model: on any device.
        path: ends in .safetensors; an existing file is replaced.
        dtype: how to store the weights, for example float16 for half the size; None keeps them.
        source: where the weights come from, for the file's header.

    Raises:
        CheckpointError: the file can't be written, or the weights hold NaN or infinity.
        ValueError: another suffix, or a dtype that is no float.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"a model is saved as .safetensors; got the name {path.name!r}.")
    if dtype is not None and dtype not in _FLOATS:
        raise ValueError(f"dtype must be a float type; got {dtype}.")
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        target = dtype if dtype and tensor.is_floating_point() else tensor.dtype
        stored = tensor.detach().to("cpu", target).contiguous()
        if not _is_finite(stored):
            raise CheckpointError(
                f"The model was not saved to {path.name} because '{name}' holds NaN or infinite "
                f"values as {str(target).removeprefix('torch.')}; save an earlier state of it."
            )
        tensors[name] = stored
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(model.config.to_dict(), sort_keys=True),
        "training": json.dumps(model.training_info, sort_keys=True),
    }
    if source:
        metadata["source"] = json.dumps(source, sort_keys=True)
    content = save(tensors, metadata)
    atomic_write(path, lambda temporary: temporary.write_bytes(content), error_type=CheckpointError)


def _skeleton(halves: Mapping[Direction, Half]) -> CycleGAN:
    """The model on the `meta` device, checked against the shapes and dtypes of the tensors."""
    config = merge(halves)
    num_levels = config.num_blocks if config.generator == "resnet" else config.num_downs
    # The one with the fewest tensors, in case that the settings promise too many.
    least = min(halves.values(), key=lambda half: len(half.tensors))
    damaged = CheckpointError(
        f"{least.path.name} has settings that do not fit its tensors; download or copy it again."
    )
    if num_levels > len(least.tensors):
        raise damaged
    try:
        with torch.device("meta"):
            model = CycleGAN(config, directions=tuple(halves))
    except (RuntimeError, OverflowError, TypeError):  # sizes beyond all reason
        raise damaged from None
    for direction, half in halves.items():
        expected = model.generator(direction).state_dict()
        for key in (*expected, *half.tensors):
            wanted, stored = expected.get(key), half.tensors.get(key)
            place = f"'{PREFIXES[direction]}{key}'"
            if wanted is None or stored is None or wanted.shape != stored.shape:
                raise CheckpointError(
                    f"{half.path.name} does not fit the network it describes: {place} is "
                    f"{_size(stored)} instead of {_size(wanted)}; download or copy it again."
                )
            # A count of batches may be any number: some tools cast all that a file holds.
            known = _FLOATS if wanted.is_floating_point() else (*_FLOATS, *_INTEGERS)
            if stored.dtype not in known:
                raise CheckpointError(
                    f"{half.path.name} stores {place} as "
                    f"{str(stored.dtype).removeprefix('torch.')}, which is not supported; convert "
                    "it to float32 or float16."
                )
    return model


def _size(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else "x".join(map(str, tensor.shape)) or "a number"


def _usable(name: str, key: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in memory of its own, with the network's dtype."""
    result = tensor.to(dtype, copy=True, memory_format=torch.contiguous_format)
    if dtype.is_floating_point and not _is_finite(result):
        raise CheckpointError(
            f"{name} holds NaN or infinite values in '{key}', left by a training that diverged; "
            "use an earlier checkpoint."
        )
    return result


def _is_finite(tensor: Tensor) -> bool:
    """No NaN and no infinity; twice as fast as asking every number."""
    return all(math.isfinite(extreme.item()) for extreme in torch.aminmax(tensor))
