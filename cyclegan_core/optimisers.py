"""How weights move: Adam, and the scale that keeps float16's small gradients alive."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from .config import TrainConfig
from .errors import TrainingDivergedError

log = logging.getLogger(__name__)

_FUSED_DEVICES = ("cpu", "cuda", "xpu", "mps")


def new_adam(
    config: TrainConfig, networks: Iterable[nn.Module], device: torch.device
) -> torch.optim.Adam:
    """Over all weights of `networks`; its learning rate is set at every step."""
    parameters = [p for network in networks for p in network.parameters()]
    fused = config.fused_adam and device.type in _FUSED_DEVICES
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(parameters, lr=config.lr, betas=betas, fused=fused or None)


class LossScale:
    """Losses are multiplied by it before `backward`, gradients divided by it afterwards.

    It halves when a gradient overflows, whose step is left out, and doubles after `patience`
    sound steps (Micikevicius et al. 2018, section 3.2). A scale of 1 that is not `active` stays.
    """

    def __init__(self, *, active: bool, patience: int = 2000) -> None:
        self.active = active
        self.patience = patience
        self.factor = 2.0**16 if active else 1.0
        self.sound_steps = 0
        """Steps since the last change."""

    def unscale(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divide the gradients by the factor, in place."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.active and gradients:
            torch._foreach_mul_(  # pyright: ignore[reportPrivateImportUsage]
                gradients, 1 / self.factor
            )

    def note(self, *, overflow: bool, step: int) -> None:
        """Move the factor after a step.

        Raises:
            TrainingDivergedError: it can't be lowered any more.
        """
        if overflow:
            if self.factor <= 1:
                raise TrainingDivergedError(
                    f"Step {step}: a gradient overflows fp16 whatever its scale, so the weights "
                    "were left as they were; use bf16 or fp32, or lower the learning rate."
                )
            self.factor, self.sound_steps = self.factor / 2, 0
            log.info("Step %d overflowed fp16 and is left out; scale %g.", step, self.factor)
            return
        if not self.active:
            return
        self.sound_steps += 1
        if self.sound_steps == self.patience:
            self.factor, self.sound_steps = self.factor * 2, 0

    def state_dict(self) -> dict[str, float]:
        """All that is needed to go on."""
        return {"factor": self.factor, "sound_steps": self.sound_steps}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on where `state` was taken, if this one is active too."""
        if self.active:
            self.factor, self.sound_steps = float(state["factor"]), int(state["sound_steps"])


def total_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The 2-norm of all gradients together; not finite if one of them is not."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
