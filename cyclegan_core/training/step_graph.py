"""The step as a CUDA graph: recorded once, then launched whole instead of kernel by kernel."""

from __future__ import annotations

import logging
from functools import partial

import torch
from torch import Tensor

from ..config import TrainConfig
from ..device.graphs import on_side_stream, record
from .state import TrainState
from .step import Inputs, train_step

log = logging.getLogger(__name__)

_WARM_UP = 3
"""Steps before the recording, in which libraries choose algorithms and reserve memory."""


def find_obstacle(config: TrainConfig, *, crops: bool, world_size: int) -> str | None:
    """Why steps of these settings can't be recorded, in words for people; None if they can.

    `crops`: whether all pictures have one size.
    """
    obstacles = {
        "dropout draws anew in every step": config.model.dropout,
        "recompute asks for the state of random numbers": config.recompute,
        "compile makes graphs of its own": config.compile,
        "without fused_adam the host decides whether weights move": not config.fused_adam,
        "identity_every makes steps differ": config.identity_every > 1,
        "preprocess none gives pictures of several sizes": not crops,
        "several processes talk to each other in a step": world_size > 1,
    }
    return next((reason for reason, is_there in obstacles.items() if is_there), None)


class StepGraph:
    """Runs `train_step`: as it is, or recorded and replayed."""

    def __init__(self, state: TrainState, obstacle: str | None) -> None:
        """Nothing is recorded yet, nor will be if there is an `obstacle`, which is logged."""
        self.state = state
        self.is_wanted = state.config.cuda_graph and state.device.type == "cuda"
        if self.is_wanted and obstacle is not None:
            self._give_up(obstacle, logging.INFO)
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
        """Take a step; its row is that of `train_step`."""
        if not self.is_wanted or self.state.step < self.state.config.warmup_steps:
            return train_step(self.state, inputs)
        with torch.cuda.device(self.state.device):
            static = self.refill(inputs)
            if static is None:
                self._give_up("a batch has another shape than the first")
                return train_step(self.state, inputs)
            if self._steps < _WARM_UP:
                self._steps += 1
                return on_side_stream(partial(train_step, self.state, static), self.state.device)
            if self.graph is None:
                try:
                    work = partial(train_step, self.state, static)
                    self.graph, self._row = record(work, self.state.device)
                except RuntimeError as error:  # which running out of memory is, too
                    reason = str(error).partition("\n")[0].rstrip(".")
                    self._give_up(reason or type(error).__name__)
            if self.graph is None or self._row is None:
                return train_step(self.state, inputs)
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

    def _give_up(self, reason: str, level: int = logging.WARNING) -> None:
        """Go on without a recording, which is slower and the same."""
        self.is_wanted = False
        self.forget()
        for optimizer in self.state.optimizers.values():
            optimizer.zero_grad()  # they may lie in the recording's memory
        log.log(level, "Steps run without a CUDA graph (%s): slower, and the same.", reason)
