"""How weights move: Adam, and the scale that keeps float16's small gradients alive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..config import TrainConfig

_FUSED_DEVICES = ("cpu", "cuda", "xpu", "mps")

_SKIPPING_DEVICES = ("cpu", "cuda")
"""Whose fused step is known to heed `found_inf`."""


def new_adam(
    config: TrainConfig, networks: Iterable[nn.Module], device: torch.device
) -> torch.optim.Adam:
    """Over all weights of `networks`; `set_rate` sets its learning rate before every step."""
    parameters = [p for network in networks for p in network.parameters()]
    fused = config.fused_adam and device.type in _FUSED_DEVICES
    betas = (config.beta1, config.beta2)
    if fused and device.type == "cuda":  # a rate on the device, which a CUDA graph can read
        lr = torch.tensor(config.lr, device=device)
        return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True, capturable=True)
    return torch.optim.Adam(parameters, lr=config.lr, betas=betas, fused=fused or None)


def set_rate(optimizer: torch.optim.Adam, rate: float) -> None:
    """The learning rate of the next step."""
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def move(optimizer: torch.optim.Adam, *, skip: Tensor) -> None:
    """A step, unless `skip`, a boolean on the device, is true; who isn't fused has to ask it."""
    if optimizer.param_groups[0]["fused"] and skip.device.type in _SKIPPING_DEVICES:
        # Torch's own way to leave out a step; its type knows nothing of it.
        optimizer.found_inf = skip.float()  # pyright: ignore[reportAttributeAccessIssue]
        optimizer.step()
    elif not skip:
        optimizer.step()


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
        """Read from the device, or put there."""
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
        """What to call `backward` of."""
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
