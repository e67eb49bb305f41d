"""Mean and variance of a feature map that is seen in strips, and the norms made from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..layers import BatchNorm, RuledNorm

_CHUNK = {"cpu": 2**18, "other": 2**23}
"""Numbers widened at a time: 2 MB, which stay in a cache, or 64 MB, which keep a GPU busy."""


@dataclass(frozen=True, slots=True)
class Affine:
    """A norm whose statistics are known: x * scale + shift, both (1,C,1,1), float32 or wider."""

    scale: Tensor
    shift: Tensor

    @property
    def is_finite(self) -> bool:
        """Whether neither NaN nor infinity came up."""
        return bool(torch.isfinite(self.scale).all() and torch.isfinite(self.shift).all())


class Moments:
    """Count, mean and sum of squared deviations per channel, in float64.

    They stay on the map's device until `affine` asks for them: nothing waits for a strip.
    Source: Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance", eq. 2.1.
    """

    def __init__(self, channels: int, device: torch.device) -> None:
        # Apple's GPUs have no float64: there the rounding within a chunk is float32's, and
        # chunks are merged on the CPU.
        self._wide = torch.float32 if device.type == "mps" else torch.float64
        place = torch.device("cpu") if device.type == "mps" else device
        # What a batch norm would have found so far: it asks for that, and at momentum 0 leaves it.
        self._found = torch.zeros(channels, dtype=self._wide, device=device)
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64, device=place)
        self.squares = torch.zeros(channels, dtype=torch.float64, device=place)

    @property
    def variance(self) -> Tensor:
        """(C,) float64, biased: divided by the count, as norm layers want it."""
        return self.squares / self.count

    def update(self, x: Tensor) -> None:
        """Add the rows `x` (1,C,h,W) of any precision, on the device that was named."""
        channels, height, width = x.shape[1:]
        size = _CHUNK.get(x.device.type, _CHUNK["other"])
        rows = max(1, size // (channels * width))
        for top in range(0, height, rows):
            # (C,h,W) -> (h*W,C); no copy if channels come last in memory.
            flat = x[0, :, top : top + rows].permute(1, 2, 0).reshape(-1, channels)
            for part in flat.split(max(1, size // channels)):
                # The chunk's own mean first, then the squared deviations from it.
                chunk = part.to(self._wide)
                mean, variance = self._of(chunk)
                squares = variance * len(chunk)
                # Merge them with those of the chunks before, as eq. 2.1 does.
                total = self.count + len(chunk)
                delta = mean.to(self.mean) - self.mean
                correction = delta.square() * (self.count * len(chunk) / total)
                self.squares += squares.to(self.squares) + correction
                self.mean += delta * (len(chunk) / total)
                self.count = total

    def _of(self, chunk: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance of (N,C), each (C,)."""
        if chunk.device.type == "cpu":  # in half the time: along channels, which lie together
            return torch.batch_norm_update_stats(chunk, self._found, self._found, momentum=0.0)
        variance, mean = torch.var_mean(chunk, 0, correction=0)
        return mean, variance

    def affine(self, norm: nn.InstanceNorm2d, like: Tensor) -> Affine:
        """What `norm` does to a map with these moments, on the device of `like`."""
        mean, variance = torch.stack([self.mean, self.variance]).cpu()  # waits for the device once
        if isinstance(norm, RuledNorm):
            mean, variance = norm.rule(norm.name, mean, variance)
        return _affine(mean, variance, norm, like)


def fixed_affine(norm: nn.Module, like: Tensor) -> Affine:
    """What a batch norm does in eval mode, whatever the picture, on the device of `like`."""
    assert isinstance(norm, BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = norm.running_mean.detach().cpu(), norm.running_var.detach().cpu()
    return _affine(mean.double(), variance.double(), norm, like)


def _affine(
    mean: Tensor, variance: Tensor, norm: nn.InstanceNorm2d | nn.BatchNorm2d, like: Tensor
) -> Affine:
    """The affine of a norm with these statistics, (C,) float64 on the CPU."""
    scale = torch.rsqrt(variance + norm.eps)
    shift = -mean * scale
    if norm.affine:
        weight, bias = (part.detach().cpu().double() for part in (norm.weight, norm.bias))
        scale, shift = scale * weight, shift * weight + bias
    dtype = torch.promote_types(like.dtype, torch.float32)
    scale, shift = (part.to(like.device, dtype).view(1, -1, 1, 1) for part in (scale, shift))
    return Affine(scale, shift)
