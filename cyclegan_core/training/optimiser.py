"""How weights move: Adam, its learning rate, the loss scale of float16, and the average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..model import CycleGAN

_FUSED_DEVICES = ("cpu", "cuda", "xpu", "mps")

_SKIPPING_DEVICES = ("cpu", "cuda")
"""Whose fused step is known to heed `found_inf`."""


def new_adam(
    config: TrainConfig, networks: Iterable[nn.Module], device: torch.device
) -> torch.optim.Adam:
    """One Adam over all weights of `networks`; `set_rate` gives it a rate before every step."""
    parameters = [p for network in networks for p in network.parameters()]
    fused = config.fused_adam and device.type in _FUSED_DEVICES
    betas = (config.beta1, config.beta2)
    if fused and device.type == "cuda":  # a rate on the device, which a CUDA graph can read
        lr = torch.tensor(config.lr, device=device)
        return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True, capturable=True)
    return torch.optim.Adam(parameters, lr=config.lr, betas=betas, fused=fused or None)


def set_rate(optimizer: torch.optim.Adam, rate: float) -> None:
    """Set the learning rate of the next step."""
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def move(optimizer: torch.optim.Adam, *, skip: Tensor) -> None:
    """Take a step, unless `skip`, a boolean on the device, is true.

    Where Adam is not fused, the host has to wait for `skip`.
    """
    if optimizer.param_groups[0]["fused"] and skip.device.type in _SKIPPING_DEVICES:
        # Torch's own way to leave out a step; its type knows nothing of it.
        optimizer.found_inf = skip.float()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
    elif not skip:
        optimizer.step()


def lr_multiplier(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The factor of the learning rate for the step that follows `step` finished ones.

    The rate changes at the start of each epoch, as in the original; a training of less than the
    paper's 200 epochs is cut into 200 parts instead, which then count as epochs. With n constant
    epochs and m epochs of decay, epoch e (from 1) has, by `config.schedule`:

    - constant: 1.
    - linear: 1 − max(0, e − n) / (m + 1); never 0 (paper: n = m = 100).
    - cosine: (1 + cos(π max(0, e − n) / (m + 1))) / 2; ends low.
    - step: a tenth for every `step_epochs` epochs gone by.

    `config.lr_interval` sets the length of an epoch (in steps) by hand.
    """
    interval = config.lr_interval or min(steps_per_epoch, max(1, config.max_steps // 200))
    epochs = max(1, math.ceil(config.max_steps / interval))
    constant = round(epochs * config.constant_fraction)
    gone = step // interval  # epoch e = gone + 1
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return 0.1 ** (gone // config.step_epochs)
    part = max(0, min(gone + 1, epochs) - constant) / (epochs - constant + 1)
    if config.schedule == "linear":
        return 1.0 - part
    return (1 + math.cos(math.pi * part)) / 2


class LossScale:
    """Losses are multiplied by it before `backward`, gradients divided by it afterwards.

    It halves when a gradient overflows, whose step is left out, and doubles after `patience`
    sound steps (Micikevicius et al. 2018, section 3.2). One that is not `active` stays 1. It lies
    on the device, where it is moved without the host.
    """

    def __init__(
        self, *, active: bool, patience: int = 2000, device: str | torch.device = "cpu"
    ) -> None:
        self.active = active
        self.patience = patience
        self.tensor = torch.tensor(2.0**16 if active else 1.0, device=device)
        """The factor, a number."""
        self._sound_steps = torch.tensor(0, device=device)

    @property
    def factor(self) -> float:
        """The factor, read from the device or put there."""
        return float(self.tensor)

    @factor.setter
    def factor(self, value: float) -> None:
        self.tensor.fill_(value)

    @property
    def sound_steps(self) -> int:
        """Steps since the last change, read from the device, or put there."""
        return int(self._sound_steps)

    @sound_steps.setter
    def sound_steps(self, value: int) -> None:
        self._sound_steps.fill_(value)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss, multiplied, of which `backward` is to be called."""
        return loss * self.tensor if self.active else loss

    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divide the gradients by the factor, in place."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.active and gradients:
            torch._foreach_mul_(  # pyright: ignore[reportPrivateImportUsage]
                gradients, 1 / self.tensor
            )

    def note(self, overflow: Tensor, *, frozen: Tensor) -> None:
        """Move the factor after a step, unless `frozen`; both are booleans on the device."""
        if not self.active:
            return
        steps = self._sound_steps + 1
        is_time = ~overflow & (steps == self.patience)
        change = torch.where(overflow, 0.5, torch.where(is_time, 2.0, 1.0))
        self.tensor.copy_(torch.where(frozen, self.tensor, self.tensor * change))
        steps = torch.where(overflow | is_time, 0, steps)
        self._sound_steps.copy_(torch.where(frozen, self._sound_steps, steps))

    def state_dict(self) -> dict[str, float]:
        """All that is needed to go on."""
        return {"factor": self.factor, "sound_steps": self.sound_steps}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on where `state` was taken, if this one is active too."""
        if self.active:
            self.factor, self.sound_steps = float(state["factor"]), int(state["sound_steps"])


def total_norm(parameters: list[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together; not finite if one of them is not, 0 without any."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=parameters[0].device)
    return nn.utils.get_total_norm(gradients)


def copy_gradients(source: nn.Module, target: nn.Module) -> None:
    """Give `target` the gradients of `source`, and batch norm's statistics; they are built alike.

    Networks that begin with the same weights then stay the same.
    """
    for ours, theirs in zip(target.parameters(), source.parameters(), strict=True):
        ours.grad = None if theirs.grad is None else theirs.grad.clone()
    for ours, theirs in zip(target.buffers(), source.buffers(), strict=True):
        ours.copy_(theirs)


def share_of_new(decay: float, *, step: int) -> float:
    """What the weights after `step` finished steps and one more count for in their average.

    In the first steps the decay is (1 + step) / (10 + step) if that is less, or the fresh
    weights would stay in the average for the whole of a short training.
    """
    return 1 - min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: CycleGAN, model: CycleGAN, share: Tensor) -> None:
    """Move `average` by `share` towards `model`: an exponential moving average.

    `share` is a number on their device; 0 leaves the average as it is.
    """
    means: list[Tensor] = list(average.parameters())
    weights: list[Tensor] = list(model.parameters())
    for mean, weight in zip(average.buffers(), model.buffers(), strict=True):
        if mean.is_floating_point():
            means.append(mean)
            weights.append(weight)
        else:
            mean.copy_(torch.where(share > 0, weight, mean))
    shares = [share.to(means[0].dtype)] * len(means)
    torch._foreach_lerp_(means, weights, shares)  # pyright: ignore[reportPrivateImportUsage]
