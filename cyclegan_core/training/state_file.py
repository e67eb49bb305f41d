"""Everything a training consists of, as one .safetensors file: written, checked, put back."""

from __future__ import annotations

import json
import logging
import random
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..config import TrainConfig
from ..device.distributed import gather
from ..errors import CheckpointError
from ..files import atomic_write
from .losses import Losses

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger(__name__)

FORMAT = "cyclegan-state"
VERSION = "1"

_FIXED = ("discriminator", "disc_layers", "disc_channels", "pool_size", "seed")
"""Settings that the state's tensors depend on, or without which it isn't the same training."""

_FIXED_DATA = ("preprocess", "crop_size", "channels_a", "channels_b")
"""The same of `DataConfig`: pooled pictures have the size of new ones."""

_FREE_MODEL = ("domain_a", "domain_b", "image_size")
"""Settings of `ModelConfig` that only describe; the others are fixed."""

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")

_DAMAGED = "start again in another run folder, or put a backup in its place"


def save(trainer: Trainer, path: Path) -> None:
    """Write the state atomically; see `Trainer.save_state`. All ranks take part, rank 0 writes."""
    pools = gather(_pools(trainer))
    if trainer.rank != 0:
        return
    state = {
        "step": trainer.step,
        "position": trainer.position,
        "config": trainer.config.to_dict(),
        "data_config": asdict(trainer.data.config),
        "pool_rngs": [rng for rng, _ in pools],
        "loss_scale": trainer.loss_scale.state_dict(),
        "data": trainer.data.digest,
        "torch": torch.__version__,
    }
    metadata = {"format": FORMAT, "format_version": VERSION, "state": json.dumps(state)}
    tensors = _tensors(trainer)
    for _, images in pools:
        tensors |= images
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    atomic_write(
        path,
        lambda temporary: save_file(tensors, temporary, metadata),
        error_type=CheckpointError,
    )


def load(trainer: Trainer, path: Path) -> None:
    """Put a state back; see `Trainer.load_state`. The trainer is changed only if all fits."""
    state, tensors = _read(path)
    _check_settings(trainer, state, path)
    _check_tensors(trainer, state, tensors, path)
    if state["data"] != trainer.data.digest:
        log.warning("The pictures have changed since %s was saved; training goes on.", path.name)
    _put_back_networks(trainer, tensors)
    for name in ("gen", "disc"):
        _put_back_moments(getattr(trainer, f"opt_{name}"), f"opt_{name}.", tensors)
    _put_back_pools(trainer, state["pool_rngs"], tensors)
    if state["config"]["precision"] == "fp16":  # else there was none
        trainer.loss_scale.load_state_dict(state["loss_scale"])
    trainer.history = list(tensors["history"]) if "history" in tensors else []
    trainer.unread = []
    trainer.diverged.fill_(False)
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
    images = {
        f"{name}.{trainer.rank}.{slot}": image.cpu()
        for name, pool in (("pool_a", trainer.pool_a), ("pool_b", trainer.pool_b))
        for slot, image in enumerate(pool.images)
    }
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
            # Clones: a view of the file would keep Windows from replacing it at the next save.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        state = json.loads(metadata["state"])
        state["config"] = TrainConfig.from_dict(state["config"]).to_dict()
        for version, numbers, gauss in state["pool_rngs"]:
            random.Random().setstate((version, tuple(numbers), gauss))
        state |= {"step": int(state["step"]), "position": int(state["position"])}
        scale = state.get("loss_scale", {"factor": 1.0, "sound_steps": 0})
        state["loss_scale"] = {
            "factor": float(scale["factor"]),
            "sound_steps": int(scale["sound_steps"]),
        }
        state |= {"data": str(state["data"]), "data_config": dict(state.get("data_config", {}))}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).rstrip(".")
        raise CheckpointError(
            f"{path} can't be read as a training state ({reason}); {_DAMAGED}."
        ) from None
    return state, tensors


def _check_settings(trainer: Trainer, state: dict[str, Any], path: Path) -> None:
    """Refuse what can't be changed, log what is."""
    before, now = state["config"], trainer.config.to_dict()
    model_before, model_now = before.pop("model"), now.pop("model")
    data_now = json.loads(json.dumps(asdict(trainer.data.config)))
    data_before = data_now | state["data_config"]
    changes = [
        (name, old[name], value, name in fixed)
        for old, new, fixed in (
            (before, now, _FIXED),
            (model_before, model_now, set(model_now) - set(_FREE_MODEL)),
            (data_before, data_now, _FIXED_DATA),
        )
        for name, value in new.items()
        if value != old[name]
    ]
    for name, old, new, is_fixed in changes:
        if is_fixed:
            raise CheckpointError(
                f"{path.name} was trained with {name} = {old}, not {new}; use that again, or "
                "another run folder."
            )
    for name, old, new, _ in changes:
        log.warning("%s changes from %s to %s.", name, old, new)


def _check_tensors(
    trainer: Trainer, state: dict[str, Any], tensors: dict[str, Tensor], path: Path
) -> None:
    """Everything must be there, in the right shape."""
    wanted = {name: tensor.shape for name, tensor in _network_tensors(trainer).items()}
    if not _has_average(tensors):
        wanted = {name: shape for name, shape in wanted.items() if not name.startswith("ema.")}
    for optimizer in ("opt_gen", "opt_disc"):
        for number, parameter in enumerate(_parameters(trainer, optimizer)):
            names = [f"{optimizer}.{number}.{moment}" for moment in _MOMENTS]
            if any(name in tensors for name in names):
                shapes = (torch.Size(), parameter.shape, parameter.shape)
                wanted |= dict(zip(names, shapes, strict=True))
    if state["step"] > 0:
        wanted["history"] = torch.Size((state["step"], len(Losses._fields)))
    for name, shape in wanted.items():
        if name not in tensors or tensors[name].shape != shape:
            raise CheckpointError(f"{path.name} is not whole: '{name}' doesn't fit; {_DAMAGED}.")


def _has_average(tensors: dict[str, Tensor]) -> bool:
    return any(name.startswith("ema.") for name in tensors)


def _parameters(trainer: Trainer, optimizer: str) -> list[torch.nn.Parameter]:
    return getattr(trainer, optimizer).param_groups[0]["params"]


def _put_back_networks(trainer: Trainer, tensors: dict[str, Tensor]) -> None:
    for prefix in ("model", "disc_a", "disc_b", "ema"):
        # Without an EMA in the file, the average starts from the weights as they are.
        start = "model." if prefix == "ema" and not _has_average(tensors) else f"{prefix}."
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
        names = (f"{name}.{trainer.rank}.{slot}" for slot in range(pool.size))
        pool.images = [tensors[name].to(trainer.device) for name in names if name in tensors]


@torch.no_grad()
def _put_back_moments(optimizer: torch.optim.Adam, prefix: str, tensors: dict[str, Tensor]) -> None:
    optimizer.state.clear()
    is_fused = bool(optimizer.param_groups[0]["fused"])
    for number, parameter in enumerate(optimizer.param_groups[0]["params"]):
        names = {moment: f"{prefix}{number}.{moment}" for moment in _MOMENTS}
        if names["step"] not in tensors:
            continue  # nothing has moved this parameter yet
        # In the parameter's own memory layout, which a fused step takes for granted.
        optimizer.state[parameter] = {
            "step": tensors[names["step"]].to(parameter.device if is_fused else "cpu"),
            **{
                name: torch.empty_like(parameter).copy_(tensors[names[name]])
                for name in _MOMENTS[1:]
            },
        }
