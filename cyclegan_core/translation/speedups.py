"""Ways to run a network quicker that cost time before the first picture, so only on request.

`graph` records the kernels of a pass once (a CUDA graph) and replays them: small pictures no longer
wait for Python. `compile` is `torch.compile`. Both are made for one size of pictures, and stay on
the network for the next call until its weights move.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ..device.graphs import compiled, on_side_stream, record
from ..device.memory import is_out_of_memory
from ..device.precision import half_precision

log = logging.getLogger(__name__)

Speedup = Literal["none", "graph", "compile"]
"""How a network is run."""

_MOST_GRAPHS = 2
"""Kept per network: one for whole chunks, one for the last; each holds its feature maps' memory."""


@dataclass(slots=True)
class _Graph:
    """A recorded pass."""

    inputs: Tensor
    graph: torch.cuda.CUDAGraph
    output: Tensor


@dataclass(slots=True)
class _Kept:
    """What a network keeps from one call to the next; a copy or a pickle of it keeps nothing."""

    graphs: dict[tuple[object, ...], _Graph] = field(
        default_factory=dict[tuple[object, ...], _Graph]
    )
    compiled: Callable[[Tensor], Tensor] | None = None
    can_record: bool = True

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()


def run(network: nn.Module, x: Tensor, half: torch.dtype | None, speedup: Speedup) -> Tensor:
    """`network(x)` with convolutions in `half`, or in the weights' precision for None.

    With "graph" the result is overwritten by the next call; where no graph can be recorded, a
    warning is logged and the network runs as ever.

    Raises:
        CompilerError: torch.compile was asked for and can't work here.
    """
    if speedup == "graph":
        output = _replay(network, x, half)
        if output is not None:
            return output
    if speedup != "compile":
        with half_precision(x.device, half):
            return network(x)
    kept = _kept(network)
    if kept.compiled is None:
        kept.compiled = cast(Callable[[Tensor], Tensor], torch.compile(network))
    with compiled(wanted=True), half_precision(x.device, half):
        return kept.compiled(x)


def forget(network: nn.Module) -> None:
    """Let go of what a network keeps, with its memory."""
    network.__dict__.pop(_NAME, None)


_NAME = "_kept_speedups"


def _kept(network: nn.Module) -> _Kept:
    return network.__dict__.setdefault(_NAME, _Kept())


def _replay(network: nn.Module, x: Tensor, half: torch.dtype | None) -> Tensor | None:
    """The result by a CUDA graph; None where there can be none."""
    kept = _kept(network)
    if not kept.can_record:
        return None
    # A weight that was moved leaves its graphs behind; one that was changed in place does not.
    places = tuple(weight.data_ptr() for weight in network.parameters())
    key = (places, x.shape, x.stride(), x.dtype, half)
    if key not in kept.graphs:
        kept.graphs = {k: v for k, v in kept.graphs.items() if k[0] == places}
        if len(kept.graphs) == _MOST_GRAPHS:
            kept.graphs.pop(next(iter(kept.graphs)))
        try:
            kept.graphs[key] = _record(network, x, half)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            kept.can_record = False
            reason = str(error).partition("\n")[0].rstrip(".") or type(error).__name__
            log.warning("No CUDA graph can be recorded (%s); translating without.", reason)
            return None
    recorded = kept.graphs[key]
    recorded.inputs.copy_(x)
    recorded.graph.replay()
    return recorded.output


def _record(network: nn.Module, x: Tensor, half: torch.dtype | None) -> _Graph:
    if x.device.type != "cuda":
        raise RuntimeError(f"they need a CUDA device, and the weights are on {x.device.type}")
    inputs = x.clone()

    def work() -> Tensor:
        with half_precision(x.device, half):
            return network(inputs)

    with torch.cuda.device(x.device):
        on_side_stream(work, x.device)  # chooses algorithms and allocates their work space
        return _Graph(inputs, *record(work, x.device))
