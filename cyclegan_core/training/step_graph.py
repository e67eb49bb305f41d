"""The step as a CUDA graph: recorded once, then launched whole instead of kernel by kernel.

A recording can be wrong without a word: it may read memory that was freed, or miss what the host
decides. So the last step before it is kept, with what it began from; the first replay takes the
same step again and has to come to the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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


_MOST_OFF = 0.25
"""How far a replayed step may end from the same step uncaptured, as a share of its length: kernels
that add in any order change a gradient's last digits, and Adam moves weights by its sign. Steps
that have nothing to do with each other differ by more than 1."""
_MOST_OFF_ROW = 0.05
"""The same for its losses and norms, relative; they depend on the weights before the step."""


@dataclass(frozen=True, slots=True)
class _Reference:
    """A step that was taken as it is."""

    inputs: Inputs
    before: list[Tensor]
    """All that a step moves, on the host."""
    row: Tensor


def _moved(state: TrainState) -> Iterator[Tensor]:
    """All tensors on the device that a step reads and moves; those of networks first."""
    for network in state.networks.values():
        yield from network.parameters()
        yield from network.buffers()
    for optimizer in state.optimizers.values():
        for held in (*optimizer.state.values(), *optimizer.param_groups):
            yield from (value for value in held.values() if isinstance(value, Tensor))
    for pool in (pool for lane in state.lanes for pool in lane.pools.values()):
        if isinstance(pool._stored, Tensor):
            yield pool._stored
    yield from (state.loss_scale.tensor, state.loss_scale._sound_steps, state.diverged)


def _on_host(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Copies on the host, where there is room for them."""
    return [tensor.detach().to("cpu", copy=True) for tensor in tensors]


@torch.no_grad()
def _put_back(tensors: Iterable[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


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
        "r1_every makes steps differ": config.lambda_r1 > 0 and config.r1_every > 1,
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
        self._reference: _Reference | None = None
        """The last step before the recording."""
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
                is_last = self._steps == _WARM_UP
                before = _on_host(_moved(self.state)) if is_last else []
                row = on_side_stream(partial(train_step, self.state, static), self.state.device)
                if is_last:
                    kept = Inputs(*(tensor.clone() for tensor in inputs))
                    self._reference = _Reference(kept, before, row.clone())
                return row
            if self.graph is None:
                try:
                    work = partial(train_step, self.state, static)
                    self.graph, self._row = record(work, self.state.device)
                except RuntimeError as error:  # which running out of memory is, too
                    reason = str(error).partition("\n")[0].rstrip(".")
                    self._give_up(reason or type(error).__name__)
                else:
                    if not self._repeats_reference(inputs):
                        self._give_up("the recorded step differs from the same step uncaptured")
            if self.graph is None or self._row is None:
                return train_step(self.state, inputs)
            self.graph.replay()
            return self._row.clone()

    def _repeats_reference(self, inputs: Inputs) -> bool:
        """Replay the step before the recording, and put all back; whether both came to the same."""
        reference, graph, row = self._reference, self.graph, self._row
        if reference is None or graph is None or row is None:
            return True
        self._reference = None
        after = _on_host(_moved(self.state))
        _put_back(_moved(self.state), reference.before)
        self.refill(reference.inputs)
        graph.replay()
        found, found_row = _on_host(_moved(self.state)), row.clone()
        _put_back(_moved(self.state), after)
        self.refill(inputs)
        if not torch.allclose(
            found_row.float(), reference.row.float(), rtol=_MOST_OFF_ROW, atol=1e-3, equal_nan=True
        ):
            return False
        place = 0
        for network in self.state.networks.values():
            length = off = 0.0
            for _ in (*network.parameters(), *network.buffers()):
                old, new, again = (each[place] for each in (reference.before, after, found))
                length += float((new.double() - old.double()).abs().sum())
                off += float((again.double() - new.double()).abs().sum())
                place += 1
            if not off <= _MOST_OFF * length:
                return False
        return True

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
