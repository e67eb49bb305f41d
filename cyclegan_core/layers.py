"""Norms and padding that stay in half precision, with float32 statistics, in any memory layout."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from .device.precision import at_least_float32

_BLOCK_PIXELS = 2**10
"""Of `_moments`: their float32 sums are exact to 1e-6, and 256 channels of them fit a cache."""


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm (Ulyanov et al. 2016) whose statistics are float32 at any input dtype."""

    in_place = False
    """Whether the result may overwrite the input where no gradient needs it, as `nn.ReLU`'s."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> same shape and dtype."""
        if is_channels_last(input):
            if self.in_place and not torch.is_grad_enabled() and _is_exact_on_cpu(input):
                return _norm_in_place(input, *self._scale(input), self.eps)
            return cast(Tensor, _ChannelsLastNorm.apply(input, *self._scale(input), self.eps))
        if input.dtype in (torch.bfloat16, torch.float16) and input.device.type == "cpu":
            # Torch reads half precision and computes in float32, at a third of the cost of a
            # widened copy; only without float32 weights would it round the statistics too.
            weight, bias = self._scale(input)
            return F.instance_norm(input, weight=weight, bias=bias, eps=self.eps)
        return super().forward(at_least_float32(input)).to(input.dtype)

    def _scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias, (C,) of at least float32; without any, those that change nothing."""
        if self.affine:
            return self.weight, self.bias
        ones = torch.ones(x.shape[1], dtype=at_least_float32(x[:0]).dtype, device=x.device)
        return ones, torch.zeros_like(ones)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm (Ioffe & Szegedy 2015) computed in float32 when its input is narrower."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> same shape and dtype."""
        return super().forward(at_least_float32(input)).to(input.dtype)


class ReflectionPad(nn.ReflectionPad2d):
    """Reflection padding in the input's own dtype: autocast on the CPU would widen it."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H+2p,W+2p)."""
        if input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input)


class _ChannelsLastNorm(torch.autograd.Function):
    """Instance norm of channels-last pictures as a batch norm of each: nothing is transposed.

    Torch's own transposes twice, and on the CPU its gradient is wrong (as of 2.15) for a batch of
    one when the gradient that comes in is channels-last and the input is not.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch has no type for it
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> Tensor:
        """(B,C,H,W) channels-last, (C,) and (C,) of at least float32 -> like x."""
        normed: list[Tensor] = []
        statistics: list[Tensor] = []
        for picture in x.split(1):
            result, *moments = _normed(picture, weight, bias, eps)
            normed.append(result)
            statistics += moments
        y = torch.cat(normed) if len(normed) > 1 else normed[0]  # a copy less
        ctx.save_for_backward(x, weight, *statistics)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # noqa: ANN401
        """The gradients of x, weight and bias; themselves differentiable if that is asked for."""
        x, weight, *statistics = cast(tuple[Tensor, ...], ctx.saved_tensors)
        if torch.is_grad_enabled():
            return *_written_out_gradients(x, weight, gradients[0], ctx.eps), None
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        results = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(weight)
        for i in range(len(x)):
            mean, inverse_std = statistics[2 * i : 2 * i + 2]
            moved, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                *(gradient[i : i + 1], x[i : i + 1], weight, None, None),
                *(mean, inverse_std, True, ctx.eps, [True, True, True]),
            )
            results[0][i : i + 1] = moved
            results[1].add_(of_weight)
            results[2].add_(of_bias)
        return *results, None


def _normed(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """One picture's norm, and its mean and 1 / standard deviation, (C,) each."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.native_batch_norm(
            x, weight, bias, None, None, training=True, momentum=0.0, eps=eps
        )
    mean, variance = (part.to(weight.dtype) for part in _moments(x, weight))
    normed, *_ = torch.native_batch_norm(
        x, weight, bias, mean, variance, training=False, momentum=0.0, eps=eps
    )
    return normed, mean, (variance + eps).rsqrt()


def _norm_in_place(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """The same in x itself: memory that was just read is written quicker than new memory."""
    for picture in x.split(1):
        mean, variance = _moments(picture, weight)
        scale = weight * (variance + eps).rsqrt()
        shift = bias - mean * scale
        scale, shift = (part.to(x.dtype).view(1, -1, 1, 1) for part in (scale, shift))
        torch.addcmul(shift, picture, scale, out=picture)
    return x


def _moments(x: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (C,) float64 of a channels-last picture (1,C,H,W) on the CPU.

    Torch adds up all pixels in float32 one after the other: of 256x256 pixels the result is wrong
    by 3e-5 standard deviations, of 1024x1024 by 1e-3. So it is asked for blocks, which also stay
    in the cache between the two passes over them.
    """
    unused = torch.zeros_like(like), torch.ones_like(like)  # make it compute like them
    rows = x.split(max(1, _BLOCK_PIXELS // x.shape[3]), 2)
    blocks = [block for row in rows for block in row.split(_BLOCK_PIXELS, 3)]
    found = [torch.batch_norm_update_stats(block, *unused, momentum=0.0) for block in blocks]
    means, variances = (torch.stack(parts).double() for parts in zip(*found, strict=True))
    pixels = means.new_tensor([block[0, 0].numel() for block in blocks])[:, None]
    share = pixels / pixels.sum()
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0)


def _written_out_gradients(
    x: Tensor, weight: Tensor, gradient: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in operations that can be differentiated again, as the gradient penalty does."""
    axes = (2, 3)
    variance, mean = torch.var_mean(at_least_float32(x), axes, correction=0, keepdim=True)
    inverse_std = (variance + eps).rsqrt()
    normed = (x - mean) * inverse_std
    scaled = gradient * weight[:, None, None]
    pulled = scaled - scaled.mean(axes, keepdim=True)
    pulled = pulled - normed * (scaled * normed).mean(axes, keepdim=True)
    of_x = (pulled * inverse_std).to(x.dtype)
    return of_x, (gradient * normed).sum((0, 2, 3)), gradient.sum((0, 2, 3)).to(weight.dtype)


def _is_exact_on_cpu(x: Tensor) -> bool:
    """Half precision would be widened; a compiler does all this better."""
    is_wide = x.dtype in (torch.float32, torch.float64)
    return is_wide and x.device.type == "cpu" and not torch.compiler.is_compiling()


def is_channels_last(x: Tensor) -> bool:
    """Whether a pixel's channels lie together, and its neighbours' do not."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
