"""Exact translation in bounded memory: the whole-picture pass, computed in strips.

A norm needs the statistics of the whole feature map, so a picture can't be cut into tiles; but
convolutions are local. So the picture is swept in strips of rows, once per instance norm, and
feature maps are stored only where they are small, at quarter size:

1. Encoder: a sweep for the statistics of each of its three norms; the last one stores its map.
2. Residual blocks: each convolution is a sweep over stored maps. Two are enough: `x`, the input
   of a block, and `y`, the raw output of its first convolution, which the second overwrites.
3. Decoder: a sweep for the statistics of each of its two norms, then one into the result.

The encoder's and decoder's repeated convolutions are about 12 % more arithmetic. Without instance
norm there is nothing to wait for: one sweep goes through all layers and stores no map.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from ..config import ModelConfig
from ..device.memory import whole_pass_bytes
from ..device.precision import half_precision
from ..errors import CycleGANError, NonFiniteError
from ..networks import ResnetGenerator
from ..pictures.rows import RowSink, RowSource, TensorRows
from ..pixels import NetworkOutput
from .plan import StreamPlan, stored_bytes
from .sweeps import OnProgress, Schedule, Steps

__all__ = ["NonFiniteError", "StreamPlan", "stored_bytes", "stream", "thumbnail"]

THUMBNAIL_SIDE = 512
"""Longer side in pixels of the reduced copy that a thumbnail takes its statistics from."""

_SHORTEST = 64
"""Pixels to which a side is reduced at most, so that a long ribbon keeps some of its width."""


def ignore(done: int, total: int) -> None:
    """The callback of those who don't watch."""


def stream(
    network: nn.Module,
    config: ModelConfig,
    source: RowSource,
    sink: RowSink,
    plan: StreamPlan,
    *,
    on_progress: OnProgress = ignore,
) -> None:
    """Translate a picture of any size with the result of the whole pass, to float rounding.

    Beyond the picture, the result and the weights it needs `stored_bytes` and the plan's strip.
    Of a picture of one flat colour, norms make noise from the rounding, and each pass its own.

    Args:
        network: a resnet generator; dropout is off, whatever mode it is in.
        config: its architecture.
        source: the picture; it is read several times.
        sink: takes the result, which has the source's height and width.
        plan: precision and memory.
        on_progress: called after each strip.

    Raises:
        ValueError: the picture's channels don't fit.
        NonFiniteError: the result is not finite; in half precision it may be without.
        CycleGANError: the picture is not finite, a scratch folder fails, or it is a U-Net.
    """
    resnet = _resnet(network, config, source)
    steps = Steps(on_progress)
    output = NetworkOutput(sink, *source.size[1:])
    with torch.no_grad(), half_precision(_device(network), None):
        schedule = Schedule(resnet, config, source, plan, steps)
        if config.norm != "instance":
            steps.total = schedule.strips_at_once
            schedule.write_at_once(output)
            return
        steps.total = schedule.strips_to_measure + schedule.strips_per_sweep
        with schedule.maps() as (x, y):
            schedule.measure(x, y)
            schedule.write_from(x, output)


def thumbnail(
    network: nn.Module,
    config: ModelConfig,
    source: RowSource,
    sink: RowSink,
    plan: StreamPlan,
    *,
    on_progress: OnProgress = ignore,
) -> None:
    """Translate with the statistics of a reduced copy: one sweep, no large maps, approximate.

    Exact for pictures of up to `THUMBNAIL_SIDE` pixels, and for any without instance norm. The
    bundled models, on a photo of twice that side, are off by 0.010 and 0.022 of [0,1] in the
    mean, and by more than 0.40 and 0.14 in one number of a thousand, with single ones up to 0.95:
    detail that the reduced copy lacks shifts the statistics. Arguments and errors are those of
    `stream`.
    """
    resnet = _resnet(network, config, source)
    steps = Steps(on_progress)
    output = NetworkOutput(sink, *source.size[1:])
    with torch.no_grad(), half_precision(_device(network), None):
        schedule = Schedule(resnet, config, source, plan, steps)
        steps.total = schedule.strips_at_once
        if config.norm == "instance":
            small = Schedule(resnet, config, TensorRows(_reduced(source)), plan, steps)
            steps.total += small.strips_to_measure
            with small.maps() as (x, y):
                small.measure(x, y)
            schedule.norms = small.norms
        schedule.write_at_once(output)


def _resnet(network: nn.Module, config: ModelConfig, source: RowSource) -> ResnetGenerator:
    if not isinstance(network, ResnetGenerator):
        _, height, width = source.size
        needed = whole_pass_bytes(config, height, width) / 1e9
        raise CycleGANError(
            "A U-Net can't translate in strips, because its inner layers see the whole picture; "
            f"choose memory 'whole', which needs about {needed:.1f} GB for {width}×{height}, or a "
            "model with a resnet generator."
        )
    return network


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _reduced(source: RowSource) -> Tensor:
    """The picture (C,h,w) averaged over areas, its longer side `THUMBNAIL_SIDE` at most."""
    _, height, width = source.size
    factor = min(1.0, THUMBNAIL_SIDE / max(height, width))
    rows, columns = (max(min(side, _SHORTEST), round(side * factor)) for side in (height, width))
    lines = [
        # Row i of adaptive average pooling, which can't be had strip by strip.
        source.read(i * height // rows, -(-(i + 1) * height // rows)).mean(1)
        for i in range(rows)
    ]
    return F.adaptive_avg_pool1d(torch.stack(lines, 1), columns)
