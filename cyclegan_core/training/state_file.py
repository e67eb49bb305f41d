"""Everything a training consists of, as one .safetensors file: written, checked, put back."""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..checkpoint.settings import CHECKSUM
from ..checkpoint.weight_file import checksum
from ..config import DataConfig, TrainConfig
from ..data.training_data import TrainingData
from ..device.distributed import gather
from ..device.precision import is_finite
from ..errors import CheckpointError, reason
from ..files import atomic_write, check_file
from .losses import term_names
from .state import TrainState

log = logging.getLogger(__name__)

FORMAT = "cyclegan-state"
VERSION = "1"

_FIXED = (
    *("discriminator", "disc_layers", "disc_channels", "disc_norm", "feature_taps"),
    *("feature_width", "warmup_steps", "pool_size", "seed", "objective", "directions"),
)
"""Settings that the state's tensors depend on, or without which it isn't the same training."""

_SWITCHES = ("lambda_gan", "lambda_l1", "lambda_equivariance")
"""The same where a change from or to 0 adds or takes away terms."""

_FIXED_DATA = ("preprocess", "crop_size", "channels_a", "channels_b")
"""The same of `DataConfig`: pooled pictures have the size of new ones."""

_FREE_MODEL = ("domain_a", "domain_b", "image_size")
"""Settings of `ModelConfig` that only describe; the others are fixed."""

_ADAM = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps for each weight: a number, and two tensors of the weight's shape."""

_MOST_STEPS = 2**53
"""No training counts so far, and every number below is exact as a float, too."""

# What reading a file raises that holds anything at all.
_DAMAGE = (
    SafetensorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

_DAMAGED = "start again in another run folder, or put a backup in its place"


def save(state: TrainState, data: TrainingData, path: Path) -> None:
    """Write the state atomically; see `Trainer.save_state`. All ranks take part, rank 0 writes."""
    pools = gather(_pools(state))
    if state.rank != 0:
        return
    described = {
        "step": state.step,
        "position": state.position,
        "config": state.config.to_dict(),
        "data_config": asdict(data.config),
        "pool_rngs": [rng for rng, _ in pools],
        "loss_scale": state.loss_scale.state_dict(),
        "data": data.digest,
        "torch": torch.__version__,
    }
    tensors = _tensors(state)
    for _, images in pools:
        tensors |= images
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(described)
    metadata = {"format": FORMAT, "format_version": VERSION, "state": text}
    metadata[CHECKSUM] = checksum(tensors, text)
    atomic_write(
        path,
        lambda temporary: save_file(tensors, temporary, metadata),
        error_type=CheckpointError,
    )


def load(state: TrainState, data: TrainingData, path: Path) -> None:
    """Put a state back; see `Trainer.load_state`. `state` is changed only if all fits."""
    saved, tensors = _read(path)
    _check_settings(state, data, saved, path)
    _check_tensors(state, saved["step"], tensors, path)
    if saved["data"] != data.digest:
        log.warning("The pictures have changed since %s was saved; training goes on.", path.name)

    # Networks; without an average in the file, it starts from the weights as they are.
    has_average = any(name.startswith("ema.") for name in tensors)
    for name, network in state.networks.items():
        prefix = "model." if name == "ema" and not has_average else f"{name}."
        network.load_state_dict(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
    for name, optimizer in state.optimizers.items():
        _put_back_adam(optimizer, name, tensors)

    # This rank's pools; a rank that was not there before starts with empty ones.
    if state.rank < len(saved["pool_rngs"]):
        version, numbers, gauss = saved["pool_rngs"][state.rank]
        state.pool_rng.setstate((version, tuple(numbers), gauss))
        for name, pool in state.pools.items():
            slots = (f"{name}.{state.rank}.{slot}" for slot in range(pool.size))
            pool.images = [tensors[slot].to(state.device) for slot in slots if slot in tensors]
    else:
        log.warning("Rank %d is new; its image pools start empty.", state.rank)

    # Counters last: what the file holds has all been taken by now.
    if saved["config"]["precision"] == "fp16":  # else there was none
        state.loss_scale.load_state_dict(saved["loss_scale"])
    state.history = list(tensors["history"]) if "history" in tensors else []
    state.diverged.fill_(False)
    state.step, state.position = saved["step"], saved["position"]


def _tensors(state: TrainState) -> dict[str, Tensor]:
    """All tensors of the file but the pools', which every rank has of its own."""
    tensors = _network_tensors(state)
    for name, optimizer in state.optimizers.items():
        for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
            for key, tensor in optimizer.state.get(parameter, {}).items():
                tensors[f"{name}.{number}.{key}"] = tensor
    if state.history:
        tensors["history"] = torch.stack(state.history)
    return tensors


def _network_tensors(state: TrainState) -> dict[str, Tensor]:
    """Weights and buffers; those of the average if there is one."""
    return {
        f"{name}.{key}": tensor
        for name, network in state.networks.items()
        if name != "ema" or state.config.ema_decay > 0
        for key, tensor in network.state_dict().items()
    }


def _pools(state: TrainState) -> tuple[list[Any], dict[str, Tensor]]:
    """This rank's random numbers (JSON-ready) and pooled pictures."""
    version, numbers, gauss = state.pool_rng.getstate()
    images = {
        f"{name}.{state.rank}.{slot}": image.cpu()
        for name, pool in state.pools.items()
        for slot, image in enumerate(pool.images)
    }
    return [version, list(numbers), gauss], images


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What the header says, and the tensors; the header's values have the right types."""
    try:
        check_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path.name} is not a training state; name the state.safetensors of a run."
                )
            if metadata.get("format_version") != VERSION:
                raise CheckpointError(
                    f"{path.name} was written by a newer version; update this one to go on."
                )
            # Clones: a view of the file would keep Windows from replacing it at the next save.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        text = metadata["state"]
        noted = metadata.get(CHECKSUM)  # which older ones don't have
        if noted and noted != checksum(tensors, text):
            raise ValueError("its content does not fit its checksum")
        saved = json.loads(text)
        saved["config"] = TrainConfig.from_dict(saved["config"]).to_dict()
        for version, numbers, gauss in saved["pool_rngs"]:
            random.Random().setstate((version, tuple(numbers), gauss))
        saved |= {"step": int(saved["step"]), "position": int(saved["position"])}
        scale = saved.get("loss_scale", {"factor": 1.0, "sound_steps": 0})
        saved["loss_scale"] = {
            "factor": float(scale["factor"]),
            "sound_steps": int(scale["sound_steps"]),
        }
        saved |= {"data": str(saved["data"]), "data_config": dict(saved.get("data_config", {}))}
        _check_counters(saved)
    except _DAMAGE as error:
        why = reason(error).rstrip(".")
        raise CheckpointError(
            f"{path} can't be read as a training state ({why}); {_DAMAGED}."
        ) from None
    return saved, tensors


def _check_counters(saved: dict[str, Any]) -> None:
    """Refuse counts that no training reaches; a ValueError says in a clause which."""
    counts = {name: saved[name] for name in ("step", "position")}
    counts["sound_steps"] = saved["loss_scale"]["sound_steps"]
    for name, count in counts.items():
        if not 0 <= count < _MOST_STEPS:
            raise ValueError(f"{name} is {count:.6g}")
    if not 0 < saved["loss_scale"]["factor"] < math.inf:
        raise ValueError(f"the loss scale is {saved['loss_scale']['factor']}")


Part = Literal["training", "model", "data"]
"""Which settings: `TrainConfig`, its `ModelConfig`, or `DataConfig`."""


class Change(NamedTuple):
    """A setting that is not what it was."""

    part: Part
    name: str
    before: Any
    now: Any
    is_fixed: bool
    """Whether the training can't go on with it."""


def setting_changes(
    before: Mapping[str, Any], data_before: Mapping[str, Any], config: TrainConfig, data: DataConfig
) -> list[Change]:
    """What differs between a training's settings and those it is to go on with.

    Args:
        before: `TrainConfig.to_dict` of the training.
        data_before: the fields of its `DataConfig`, as far as they are known.
        config: what it is to go on with.
        data: likewise.
    """
    now, data_now = config.to_dict(), json.loads(json.dumps(asdict(data)))
    is_same = term_names(TrainConfig.from_dict(before)) == term_names(config)
    fixed_now = (*_FIXED, *(() if is_same else _SWITCHES))
    model_now = now.pop("model")
    fixed_model = set(model_now) - set(_FREE_MODEL)
    parts: list[tuple[Part, Mapping[str, Any], dict[str, Any], Collection[str]]] = [
        ("training", before, now, fixed_now),
        ("model", before["model"], model_now, fixed_model),
        ("data", data_now | dict(data_before), data_now, _FIXED_DATA),
    ]
    return [
        Change(part, name, old[name], value, name in fixed)
        for part, old, new, fixed in parts
        for name, value in new.items()
        if value != old[name]
    ]


def _check_settings(
    state: TrainState, data: TrainingData, saved: dict[str, Any], path: Path
) -> None:
    """Refuse what can't be changed, log what is."""
    changes = setting_changes(saved["config"], saved["data_config"], state.config, data.config)
    for change in changes:
        if change.is_fixed:
            raise CheckpointError(
                f"{path.name} was trained with {change.name} = {change.before}, not {change.now}; "
                "use that again, or another run folder."
            )
    for change in changes:
        log.warning("%s changes from %s to %s.", change.name, change.before, change.now)


def _check_tensors(state: TrainState, step: int, tensors: dict[str, Tensor], path: Path) -> None:
    """Everything must be there, in the right shape; `step` is the file's."""
    # An average may be missing, and so may what Adam keeps: nothing has moved such a weight yet.
    has_average = any(name.startswith("ema.") for name in tensors)
    wanted = {
        name: (tensor.shape, tensor.dtype)
        for name, tensor in _network_tensors(state).items()
        if has_average or not name.startswith("ema.")
    }
    for optimizer_name, optimizer in state.optimizers.items():
        for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
            names = [f"{optimizer_name}.{number}.{key}" for key in _ADAM]
            if any(name in tensors for name in names):
                shapes = (torch.Size(), parameter.shape, parameter.shape)
                wanted |= {n: (s, torch.float32) for n, s in zip(names, shapes, strict=True)}
    if step > 0:
        wanted["history"] = torch.Size((step, len(term_names(state.config)))), torch.float32
    for name, (shape, dtype) in wanted.items():
        found = tensors.get(name)
        if found is None or (found.shape, found.dtype) != (shape, dtype):
            raise CheckpointError(f"{path.name} is not whole: '{name}' doesn't fit; {_DAMAGED}.")
    # Losses may be anything; whatever else is not finite spreads to all that is trained.
    for name, tensor in tensors.items():
        if name != "history" and tensor.is_floating_point() and not is_finite(tensor):
            raise CheckpointError(
                f"{path.name} holds NaN or infinite values in '{name}', so nothing can be trained "
                f"from it; {_DAMAGED}."
            )


@torch.no_grad()
def _put_back_adam(optimizer: torch.optim.Adam, name: str, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser back what the file keeps under `name`."""
    optimizer.state.clear()
    is_fused = bool(optimizer.param_groups[0]["fused"])
    for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
        step, mean, square = (tensors.get(f"{name}.{number}.{key}") for key in _ADAM)
        if step is None or mean is None or square is None:
            continue  # nothing has moved this parameter yet
        # In the parameter's own memory layout, which a fused step takes for granted.
        optimizer.state[parameter] = {
            "step": step.to(parameter.device if is_fused else "cpu"),
            "exp_avg": torch.empty_like(parameter).copy_(mean),
            "exp_avg_sq": torch.empty_like(parameter).copy_(square),
        }
