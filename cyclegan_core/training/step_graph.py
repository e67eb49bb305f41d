"""The step as a CUDA graph: recorded once, then launched whole instead of kernel by kernel."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..config import TrainConfig
from ..device.graphs import on_side_stream, record
from .step import Inputs, device_step

if TYPE_CHECKING:
    from .trainer import Trainer

log = logging.getLogger(__name__)

_WARM_UP = 3
"""Steps before the recording, in which libraries choose algorithms and reserve memory."""


def obstacle(config: TrainConfig, *, crops: bool, world_size: int) -> str | None:
    """Why steps of these settings can't be recorded, if they can't; for people.

    `crops`: whether all pictures have one size.
    """
    obstacles = {
        "dropout draws anew in every step": config.model.dropout,
        "recompute asks for the state of the dice": config.recompute,
        "compile makes graphs of its own": config.compile,
        "without fused_adam the host decides whether weights move": not config.fused_adam,
        "preprocess none gives pictures of several sizes": not crops,
        "several processes talk to each other in a step": world_size > 1,
    }
    return next((reason for reason, is_there in obstacles.items() if is_there), None)


class StepGraph:
    """Runs the device's half of the steps of a trainer: as it is, or recorded and replayed."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.is_wanted = trainer.config.cuda_graph and trainer.device.type == "cuda"
        if self.is_wanted:
            crops, world_size = trainer.data.config.crops, trainer.world_size
            reason = obstacle(trainer.config, crops=crops, world_size=world_size)
            if reason is not None:
                self._give_up(reason, logging.INFO)
        self.forget()

    def forget(self) -> None:
        """Record anew: what a recording holds on to was replaced, or is to be freed."""
        self.graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Inputs | None = None
        """The tensors that a recording reads from."""
        self._row: Tensor | None = None
        """The one that it writes."""
        self._steps = 0

    def run(self, inputs: Inputs) -> Tensor:
        """The step's row, see `device_step`."""
        if not self.is_wanted:
            return device_step(self.trainer, inputs)
        with torch.cuda.device(self.trainer.device):
            return self._run(inputs)

    def _run(self, inputs: Inputs) -> Tensor:
        static = self.refill(inputs)
        if static is None:
            self._give_up("a batch has another shape than the first")
            return device_step(self.trainer, inputs)
        if self._steps < _WARM_UP:
            self._steps += 1
            return on_side_stream(partial(device_step, self.trainer, static), self.trainer.device)
        if self.graph is None:
            self._record(static)
        if self.graph is None or self._row is None:
            return device_step(self.trainer, inputs)
        self.graph.replay()
        return self._row.clone()

    def refill(self, inputs: Inputs) -> Inputs | None:
        """`inputs` in the same tensors at every call; None if they have another shape."""
        if self._inputs is None:
            self._inputs = Inputs(*(tensor.clone() for tensor in inputs))
        for static, fresh in zip(self._inputs, inputs, strict=True):
            if static.shape != fresh.shape or static.dtype != fresh.dtype:
                return None
        for static, fresh in zip(self._inputs, inputs, strict=True):
            static.copy_(fresh, non_blocking=True)
        return self._inputs

    def _record(self, inputs: Inputs) -> None:
        try:
            work = partial(device_step, self.trainer, inputs)
            self.graph, self._row = record(work, self.trainer.device)
        except RuntimeError as error:  # which running out of memory is, too
            reason = str(error).partition("\n")[0].rstrip(".")
            self._give_up(reason or type(error).__name__)

    def _give_up(self, reason: str, level: int = logging.WARNING) -> None:
        """Go on without a recording, which is slower and the same."""
        self.is_wanted = False
        self.forget()
        for optimizer in (self.trainer.opt_gen, self.trainer.opt_disc):
            optimizer.zero_grad()  # they may lie in the recording's memory
        log.log(level, "Steps run without a CUDA graph (%s): slower, and the same.", reason)
