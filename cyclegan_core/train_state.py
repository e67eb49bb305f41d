"""Everything a training consists of, as one .safetensors file: written, checked, put back."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .checkpoint import atomic_write
from .config import TrainConfig
from .errors import CheckpointError
from .ranks import gather

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger(__name__)

FORMAT = "cyclegan-state"
VERSION = "1"

_FIXED = ("model", "discriminator", "disc_layers", "disc_channels", "pool_size", "seed")
"""Settings that the state's tensors depend on, or without which it isn't the same training."""

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save(trainer: Trainer, path: Path) -> None:
    """Write the state atomically; see `Trainer.save_state`. All ranks take part, rank 0 writes."""
    pools = gather(_pools(trainer))
    if trainer.rank != 0:
        return
    state = {
        "step": trainer.step,
        "position": trainer.position,
        "config": trainer.config.to_dict(),
        "pool_rngs": [rng for rng, _ in pools],
        "data": trainer.data.digest,
        "torch": torch.__version__,
    }
    metadata = {"format": FORMAT, "format_version": VERSION, "state": json.dumps(state)}
    tensors = _tensors(trainer)
    for rank, (_, images) in enumerate(pools):
        tensors |= {f"{name}.{rank}": pool for name, pool in images.items()}
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    atomic_write(path, lambda temporary: save_file(tensors, temporary, metadata))


def load(trainer: Trainer, path: Path) -> None:
    """Put a state back; see `Trainer.load_state`. The trainer is changed only if all fits."""
    state, tensors = _read(path)
    _check_settings(trainer, TrainConfig.from_dict(state["config"]), path)
    if state["data"] != trainer.data.digest:
        log.warning("The pictures have changed since %s was saved; training goes on.", path.name)
    wanted = {name for name in _network_tensors(trainer) if not name.startswith("ema.")} | {
        name for name in tensors if name.startswith("ema.")
    }
    missing = sorted(wanted - set(tensors))
    if missing:
        raise CheckpointError(f"{path.name} lacks {missing[0]}, so it is not a whole state.")
    _put_back_networks(trainer, tensors)
    for name in ("gen", "disc"):
        _put_back_moments(getattr(trainer, f"opt_{name}"), f"opt_{name}.", tensors)
    _put_back_pools(trainer, state["pool_rngs"], tensors)
    trainer.history = list(tensors["history"]) if "history" in tensors else []
    trainer.step, trainer.position = state["step"], state["position"]


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    tensors = _network_tensors(trainer)
    for name in ("opt_gen", "opt_disc"):
        optimizer: torch.optim.Adam = getattr(trainer, name)
        for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
            for moment, tensor in optimizer.state.get(parameter, {}).items():
                tensors[f"{name}.{number}.{moment}"] = tensor
    if trainer.history:
        tensors["history"] = torch.stack(trainer.history)
    return tensors


def _pools(trainer: Trainer) -> tuple[list[Any], dict[str, Tensor]]:
    """This rank's dice (JSON-ready) and pooled pictures."""
    version, numbers, gauss = trainer.pool_rng.getstate()
    pools = {"pool_a": trainer.pool_a.images, "pool_b": trainer.pool_b.images}
    images = {name: pool.cpu() for name, pool in pools.items() if pool is not None}
    return [version, list(numbers), gauss], images


def _network_tensors(trainer: Trainer) -> dict[str, Tensor]:
    networks = {"model": trainer.model, "disc_a": trainer.disc_a, "disc_b": trainer.disc_b}
    if trainer.config.ema_decay > 0:
        networks["ema"] = trainer.ema
    return {
        f"{prefix}.{key}": tensor
        for prefix, network in networks.items()
        for key, tensor in network.state_dict().items()
    }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
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
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return json.loads(metadata["state"]), tensors
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} can't be read as a training state ({error}); "
            "start again in another run folder, or put a backup in its place."
        ) from None


def _check_settings(trainer: Trainer, saved: TrainConfig, path: Path) -> None:
    """Refuse what can't be changed, log what is."""
    before, now = saved.to_dict(), trainer.config.to_dict()
    for name, value in now.items():
        if value == before[name]:
            continue
        if name in _FIXED:
            raise CheckpointError(
                f"{path.name} was trained with {name} = {_short(before[name], value)}, not "
                f"{_short(value, before[name])}; use that again, or another run folder."
            )
        log.warning("%s changes from %s to %s.", name, before[name], value)


def _short(value: object, other: object) -> object:
    """Of nested settings, only those that differ."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: item for key, item in value.items() if item != other.get(key)}
    return value


def _put_back_networks(trainer: Trainer, tensors: dict[str, Tensor]) -> None:
    for prefix in ("model", "disc_a", "disc_b", "ema"):
        # Without an EMA in the file, the average starts from the weights as they are.
        source = (
            prefix if prefix != "ema" or any(n.startswith("ema.") for n in tensors) else "model"
        )
        start = f"{source}."
        state = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        getattr(trainer, prefix).load_state_dict(state)


def _put_back_pools(trainer: Trainer, rngs: list[Any], tensors: dict[str, Tensor]) -> None:
    """This rank's pools; a rank that was not there before starts with empty ones."""
    if trainer.rank >= len(rngs):
        log.warning("Rank %d is new; its image pools start empty.", trainer.rank)
        return
    version, numbers, gauss = rngs[trainer.rank]
    trainer.pool_rng.setstate((version, tuple(numbers), gauss))
    for name, pool in (("pool_a", trainer.pool_a), ("pool_b", trainer.pool_b)):
        images = tensors.get(f"{name}.{trainer.rank}")
        pool.images = None if images is None else images.to(trainer.device)


def _put_back_moments(optimizer: torch.optim.Adam, prefix: str, tensors: dict[str, Tensor]) -> None:
    for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
        names = {moment: f"{prefix}{number}.{moment}" for moment in _MOMENTS}
        if names["step"] not in tensors:
            continue  # nothing has moved this parameter yet
        optimizer.state[parameter] = {
            moment: tensors[name].to(parameter.device if moment != "step" else "cpu")
            for moment, name in names.items()
        }
