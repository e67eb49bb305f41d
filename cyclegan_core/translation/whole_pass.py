"""Pictures through a network in one pass, as they are or by what was recorded or compiled once.

Two speedups cost time before the first picture, so they are on request only. "graph" records the
kernels of a pass once (a CUDA graph) and replays them: small pictures no longer wait for Python.
"compile" is `torch.compile`, and on a GPU a graph of what that made. Both are made for one size of
pictures, and stay on the network for the next call until its weights move.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from ..config import ModelConfig, Speedup
from ..device.graphs import compiled, on_side_stream, record
from ..device.memory import is_out_of_memory
from ..device.precision import HALVES, half_precision
from ..pixels import pad, to_channels, to_unit_range, to_value_range
from ..progress import OnProgress

log = logging.getLogger(__name__)

_MOST_GRAPHS = 2
"""Kept per network: one for whole chunks, one for the last; each holds its feature maps' memory."""


_ONE_BY_ONE_PIXELS = 2**17
"""Pixels of a picture from which on a GPU's norms take longer than Python's telling them."""


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
    lock: threading.Lock = field(default_factory=threading.Lock)
    """For the memory of a graph, into which each call writes its pictures."""

    def __reduce__(self) -> tuple[type[_Kept], tuple[()]]:
        return _Kept, ()


def whole_pass(  # noqa: PLR0913 - what goes through what, and how
    network: nn.Module,
    config: ModelConfig,
    channels: int,
    images: Tensor,
    half: torch.dtype | None,
    speedup: Speedup,
    on_layer: OnProgress | None = None,
) -> Tensor:
    """Take pictures through a network, all of them at a time.

    Args:
        network: a generator in eval mode.
        config: its architecture.
        channels: what it takes.
        images: (B,C,H,W) in [0,1] of any device and dtype.
        half: the precision of the convolutions; None means that of the weights.
        speedup: how the network is run. Where no graph can be recorded, a warning is logged and
            the network runs as ever.
        on_layer: called after each convolution but the last, where the network runs as it is.

    Returns:
        (B,C',H,W) in [0,1], float32 at least, on the network's device; NaN where its output is.

    Raises:
        CompilerError: torch.compile was asked for and can't work here.
    """
    weights = next(network.parameters())
    height, width = images.shape[-2:]
    inputs = to_channels(images.to(weights.device, weights.dtype), channels)
    # A tensor of our own, so the same numbers and speed however the pictures lie in memory.
    layout = fastest_layout(weights, half)
    # Channels-last pictures are normed one by one, and a GPU would wait for Python meanwhile.
    is_small_batch = len(images) > 1 and height * width < _ONE_BY_ONE_PIXELS
    if is_small_batch and config.norm == "instance" and weights.device.type == "cuda":
        layout = torch.contiguous_format
    scaled = torch.empty(
        inputs.shape, dtype=inputs.dtype, device=inputs.device, memory_format=layout
    )
    to_value_range(inputs, config, out=scaled)
    x = pad(scaled, config.padded_size(height, width))

    is_compiled = speedup == "compile"
    run = _compiled_pass(network) if is_compiled else network

    def forward(inputs: Tensor) -> Tensor:
        with compiled(wanted=is_compiled), half_precision(inputs.device, half):
            return cast(Tensor, run(inputs))

    # Compiled kernels are so quick that a GPU would wait for Python all the more.
    is_recorded = speedup == "graph" or (is_compiled and x.device.type == "cuda")
    output = _replay(network, forward, x, (speedup, half)) if is_recorded else None
    if output is None:
        with _layers_told(network, on_layer) if on_layer else nullcontext():
            output = forward(x)
    return to_unit_range(output[..., :height, :width])


def convolutions(network: nn.Module) -> list[nn.Module]:
    """The layers that take the time, each of them about as much."""
    return [
        layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    ]


@contextmanager
def _layers_told(network: nn.Module, on_layer: OnProgress) -> Generator[None]:
    """Say how many of its convolutions a network has done, in the pass of this thread."""
    layers = convolutions(network)
    thread = threading.get_ident()  # another one may use the same network at the same time
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        if threading.get_ident() != thread:
            return
        done += 1
        if done < len(layers):  # what follows the last one is said when its picture is there
            on_layer(done, len(layers))

    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def fastest_layout(weights: Tensor, half: torch.dtype | None) -> torch.memory_format:
    """How pictures and feature maps lie in memory, for a network with such weights.

    With a pixel's channels together a CPU is 1.2 times as fast in float32 and 1.4 times in half
    precision; the float32 error against float64 was 2e-6 to 6e-6, and 1e-6 to 2e-6 in the other.
    A GPU's tensor cores multiply so, half precision or TF32, and turn maps over that lie otherwise.
    No device has convolutions of float64 for it.
    """
    device = weights.device
    is_half = half is not None or weights.dtype in HALVES
    is_last = device.type == "cpu" or (device.type == "cuda" and (is_half or _has_tf32(device)))
    if weights.dtype == torch.float64 or not is_last:
        return torch.contiguous_format
    return torch.channels_last


def _has_tf32(device: torch.device) -> bool:
    """Whether a GPU convolves float32 by tensor cores, as Ampere and later ones do."""
    cudnn = torch.backends.cudnn
    # Since torch 2.9 each operation has its own setting, and who set one may not read the other.
    convolutions = getattr(cudnn, "conv", None)
    is_allowed = convolutions.fp32_precision == "tf32" if convolutions else cudnn.allow_tf32
    return is_allowed and torch.cuda.get_device_capability(device) >= (8, 0)


def forget(network: nn.Module) -> None:
    """Let go of what a network keeps, with its memory."""
    network.__dict__.pop(_NAME, None)


_NAME = "_kept_speedups"


def _kept(network: nn.Module) -> _Kept:
    return network.__dict__.setdefault(_NAME, _Kept())


def _compiled_pass(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """The network compiled, now or at an earlier call."""
    kept = _kept(network)
    if kept.compiled is None:
        # On a GPU for each size anew: what it makes for any size took four times as long there.
        is_gpu = next(network.parameters()).device.type == "cuda"
        compiled_network = torch.compile(network, dynamic=False if is_gpu else None)
        kept.compiled = cast(Callable[[Tensor], Tensor], compiled_network)
    return kept.compiled


def _replay(
    network: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor, how: tuple[object, ...]
) -> Tensor | None:
    """The result by a CUDA graph; None where there can be none.

    `how` tells one `forward` of the network from another.
    """
    kept = _kept(network)
    if not kept.can_record:
        return None
    # A weight that was moved leaves its graphs behind; one that was changed in place does not.
    places = tuple(weight.data_ptr() for weight in network.parameters())
    key = (places, x.shape, x.stride(), x.dtype, *how)
    with kept.lock:
        if key not in kept.graphs:
            kept.graphs = {k: v for k, v in kept.graphs.items() if k[0] == places}
            if len(kept.graphs) == _MOST_GRAPHS:
                kept.graphs.pop(next(iter(kept.graphs)))
            try:
                kept.graphs[key] = _record(forward, x)
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
        return recorded.output.clone()  # which the next call overwrites


def _record(forward: Callable[[Tensor], Tensor], x: Tensor) -> _Graph:
    if x.device.type != "cuda":
        raise RuntimeError(f"they need a CUDA device, and the weights are on {x.device.type}")
    inputs = x.clone()

    def work() -> Tensor:
        return forward(inputs)

    with torch.cuda.device(x.device):
        on_side_stream(work, x.device)  # chooses algorithms and allocates their work space
        return _Graph(inputs, *record(work, x.device))
