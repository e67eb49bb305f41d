"""Everything a training consists of, as one .safetensors file: written, checked, put back."""

from __future__ import annotations

import json
import logging
import math
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
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
from ..device.distributed import gather_on_rank_0, together
from ..device.precision import is_finite
from ..errors import CheckpointError, reason
from ..files import atomic_write, check_file
from .losses import term_names
from .state import Lane, TrainState

log = logging.getLogger(__name__)

FORMAT = "cyclegan-state"
VERSION = "1"

_FIXED = (
    *("discriminator", "disc_layers", "disc_channels", "disc_norm", "feature_taps"),
    *("feature_width", "warmup_steps", "pool_size", "seed", "objective", "directions"),
)
"""Settings that the state's tensors depend on, or without which it isn't the same training."""

_SWITCHES = ("lambda_gan", "lambda_l1", "lambda_features", "lambda_equivariance")
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
    ranks = gather_on_rank_0(_pools(state))

    def write() -> None:
        if state.rank == 0:
            _write(state, data, path, ranks)

    together(write)  # when it is there for all of them, and not before


def _write(
    state: TrainState,
    data: TrainingData,
    path: Path,
    ranks: Sequence[tuple[dict[int, Any], dict[str, Tensor]]],
) -> None:
    """Write the file, with what `_pools` says on each of the ranks."""
    rngs: dict[int, Any] = {}
    tensors = _tensors(state)
    for rank in ranks:
        rngs |= rank[0]
        tensors |= rank[1]
    described = {
        "step": state.step,
        "position": state.position,
        "config": state.asked.to_dict(),
        "data_config": asdict(data.config),
        "world_size": state.asked_ranks,
        "pool_rngs": [rngs[lane] for lane in sorted(rngs)],
        "loss_scale": state.loss_scale.state_dict(),
        "data": data.digest,
        "torch": torch.__version__,
    }
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(described)
    metadata = {"format": FORMAT, "format_version": VERSION, "state": text}
    metadata[CHECKSUM] = checksum(tensors, text)
    atomic_write(
        path,
        lambda temporary: save_file(tensors, temporary, metadata),
        error_type=CheckpointError,
    )


def load(state: TrainState, data: TrainingData, path: Path, world_size: int) -> None:
    """Put a state back; see `Trainer.load_state`. `state` is changed only if all fits."""
    saved, tensors = _read(path)
    config, asked_ranks, lanes = _share_out(state, saved, path, world_size)
    _check_settings(state.asked, data, saved, path)
    _check_tensors(state, saved["step"], tensors, path)
    if saved["data"] != data.digest:
        log.warning("The pictures have changed since %s was saved; training goes on.", path.name)

    # Sums in another order would be another training, if only by rounding.
    if config.batch_passes == "auto":
        passes = saved["config"]["batch_passes"]
        config = replace(config, batch_passes=passes)
        state.asked = replace(state.asked, batch_passes=passes)

    # Networks; without an average in the file, it starts from the weights as they are.
    has_average = any(name.startswith("ema.") for name in tensors)
    for name, network in state.networks.items():
        prefix = "model." if name == "ema" and not has_average else f"{name}."
        network.load_state_dict(
            {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        )
    for name, optimizer in state.optimizers.items():
        _put_back_adam(optimizer, name, tensors)

    # The pools and random numbers of this rank's lanes.
    state.config, state.asked_ranks = config, asked_ranks
    state.lanes = [Lane.create(config, number) for number in lanes]
    for lane in state.lanes:
        if lane.number < len(saved["pool_rngs"]):
            version, numbers, gauss = saved["pool_rngs"][lane.number]
            lane.pool_rng.setstate((version, tuple(numbers), gauss))
        for name, pool in lane.pools.items():
            slots = (f"{name}.{lane.number}.{slot}" for slot in range(pool.size))
            pool.images = [tensors[slot].to(state.device) for slot in slots if slot in tensors]

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


def _pools(state: TrainState) -> tuple[dict[int, Any], dict[str, Tensor]]:
    """The random numbers (JSON-ready) of this rank's lanes, and their pooled pictures."""
    rngs: dict[int, Any] = {}
    images: dict[str, Tensor] = {}
    for lane in state.lanes:
        version, numbers, gauss = lane.pool_rng.getstate()
        rngs[lane.number] = [version, list(numbers), gauss]
        for name, pool in lane.pools.items():
            for slot, image in enumerate(pool.images):
                images[f"{name}.{lane.number}.{slot}"] = image.cpu()
    return rngs, images


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
        ranks = saved.get("world_size", len(saved["pool_rngs"]))  # which older ones don't have
        saved["world_size"] = int(ranks)
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
    lanes, ranks = len(saved["pool_rngs"]), saved["world_size"]
    if not 0 < ranks <= lanes or lanes % ranks:
        raise ValueError(f"{ranks} processes had {lanes} image pools")
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


class FixedSettingError(CheckpointError):
    """A training can't go on with a setting that is not what it was."""

    change: Change


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
        if value != old[name] and (name, value) != ("batch_passes", "auto")  # which stays as it was
    ]


def _share_out(
    state: TrainState, saved: dict[str, Any], path: Path, world_size: int
) -> tuple[TrainConfig, int, list[int]]:
    """How this rank does its part of a step that was another number of ranks' before.

    Returns:
        The settings, with the batch and the passes that leave a step as it was; the number of ranks
        whose batch was asked for; and the numbers of this rank's lanes.
    """
    config, rank, before = state.asked, state.rank, saved["world_size"]
    num_lanes = len(saved["pool_rngs"])
    if not _has_lanes(config):
        num_lanes = world_size  # which have nothing in them
    elif num_lanes % world_size:
        could = " or ".join(str(n) for n in range(1, num_lanes + 1) if num_lanes % n == 0)
        raise CheckpointError(
            f"{path.name} has the image pools and random numbers of {num_lanes} processes, which "
            f"{world_size} can't share; start {could}, or another run from this one's model."
        )
    lanes = list(range(rank, num_lanes, world_size))
    asked_ranks = world_size
    if world_size != before:
        whose = [name for name, is_there in _of_a_process(config).items() if is_there]
        if whose:
            raise CheckpointError(
                f"{path.name} was trained by {before} processes, each with {whose[0]} of its own, "
                f"so {world_size} would not go on in the same way; start {before}."
            )
        # A step keeps its pictures, and a pass through the networks too, for the memory's sake.
        batch = config.batch_size
        if batch == saved["config"]["batch_size"]:
            asked_ranks = before
            batch, rest = divmod(batch * before, world_size)
            if rest:
                raise CheckpointError(
                    f"{path.name} was trained with {config.batch_size * before} pictures a step, "
                    f"which {world_size} processes can't share equally; start another number, or "
                    "name another batch size."
                )
            passes = max(1, config.accumulate * batch // config.batch_size)
            config = replace(config, batch_size=batch, accumulate=math.gcd(batch, passes))
            log.warning(
                "%d processes go on after %d: each takes %d pictures a step in passes of %d.",
                *(world_size, before, batch, batch // config.accumulate),
            )
    if config.batch_size % len(lanes):
        raise CheckpointError(
            f"{path.name} has the image pools of {num_lanes} processes, {len(lanes)} for each of "
            f"{world_size}; the batch size must be a multiple of {len(lanes)}, got "
            f"{config.batch_size}."
        )
    return config, asked_ranks, lanes


def _has_lanes(config: TrainConfig) -> bool:
    """Whether a step depends on pools or random numbers that each of the first ranks had."""
    has_pools = config.objective == "cyclegan" and config.pool_size > 0
    is_augmented = config.augment_colour > 0 or config.augment_shift > 0
    is_drawn = config.input_noise > 0 or config.lambda_equivariance > 0
    has_numbers = is_augmented or is_drawn or config.gan_mode == "wgangp"
    return has_pools or has_numbers or config.model.dropout


def _of_a_process(config: TrainConfig) -> dict[str, bool]:
    """What is computed over all pictures that a process has in a step, and whether it is."""
    return {
        "dropout": config.model.dropout,
        "batch norms": config.model.norm == "batch",
    }


def _check_settings(
    config: TrainConfig, data: TrainingData, saved: dict[str, Any], path: Path
) -> None:
    """Refuse what can't be changed, log what is."""
    changes = setting_changes(saved["config"], saved["data_config"], config, data.config)
    for change in changes:
        if change.is_fixed:
            error = FixedSettingError(
                f"{path.name} was trained with {change.name} = {change.before}, not {change.now}; "
                "use that again, or another run folder."
            )
            error.change = change
            raise error
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
