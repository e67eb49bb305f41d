"""3x3 convolutions with a quarter of the multiplications, by Winograd's F(4x4, 3x3).

A tile of 4x4 outputs needs 6x6 inputs. Seen as polynomials, inputs and kernel are evaluated at six
points, multiplied there, 36 multiplications instead of 144 per pair of channels, and the outputs
interpolated: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A (Lavin and Gray 2016, eq. 8). Sums over channels are
36 matrix products, in which a CPU is as quick as in its convolutions.

The points decide how much is lost to rounding: 0, 1, -1, 1/2, -2 and infinity (Barabasz et al.
2020) lose twice as much as the plain sum of products in float32, and half as much as the
customary 0, ±1, ±2 and infinity. In half precision nothing useful is left.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

_POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""The finite ones; the last is infinity."""

_OUT, _IN, _SIZE = 4, 6, 3
"""Sides of a tile of outputs, of its inputs, and of the kernel."""

_TILES = 64
"""Tiles that one thread works on at a time: with 256 channels both their forms take 5 MB."""


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, kernel: Tensor | None = None
) -> Tensor:
    """The convolution of stride 1 without padding, and its gradients where they are wanted.

    Args:
        x: (B,C,H+2,W+2) float32.
        weight: (C',C,3,3).
        bias: (C',) or None.
        kernel: `transformed(weight)`, if that is at hand and no gradient of it is wanted.

    Returns:
        (B,C',H,W), channels last. Its error is about twice that of `F.conv2d`.
    """
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return cast(Tensor, _Convolution.apply(x, weight, bias))
    return _outputs(x, transformed(weight) if kernel is None else kernel, bias)


def transformed(weight: Tensor) -> Tensor:
    """(C',C,3,3) -> (36,C,C'), its values at the points: G g Gᵀ."""
    evaluate = _matrices(weight.device, weight.dtype)[1]
    taps = weight.permute(2, 3, 1, 0).reshape(_SIZE**2, -1)
    return (evaluate @ taps).view(_IN**2, weight.shape[1], weight.shape[0])


class _Convolution(torch.autograd.Function):
    """With gradients that are computed at the points, too."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch has no type for it
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _outputs(x, transformed(weight), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, weight = cast(tuple[Tensor, Tensor], ctx.saved_tensors)
        (gradient,) = gradients
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            # Each input was seen by nine outputs, through the kernel turned around.
            turned = weight.flip(2, 3).transpose(0, 1)
            border = F.pad(gradient, (2, 2, 2, 2))
            of_x = _outputs(border, transformed(turned), None)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, gradient)
        if ctx.needs_input_grad[2]:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias


def _outputs(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """(B,C,H+2,W+2), (36,C,C') and (C',) -> (B,C',H,W), channels last."""
    interpolate, _, evaluate = _matrices(x.device, x.dtype)
    batch, _, height, width = x.shape
    height, width, channels = height - 2, width - 2, kernel.shape[2]
    tiles = _tiles(x, _IN)
    down, across = tiles.shape[1:3]
    shape = (batch, down, _OUT, across, _OUT, channels)
    result = torch.empty(shape, dtype=x.dtype, device=x.device)
    for rows, columns in _parts(batch, down, across):
        part = tiles[:, rows, columns]
        count = part.shape[:3]
        values = (evaluate @ _by_position(part)).view(_IN**2, -1, x.shape[1])
        products = torch.bmm(values, kernel).view(_IN**2, -1)
        outputs = (interpolate @ products).view(_OUT, _OUT, *count, channels)
        if bias is not None:
            outputs += bias
        result[:, rows, :, columns] = outputs.permute(2, 3, 0, 4, 1, 5)
    whole = result.view(batch, _OUT * down, _OUT * across, channels)[:, :height, :width]
    return whole.contiguous().permute(0, 3, 1, 2)


def _weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """(B,C,H+2,W+2) and (B,C',H,W) -> (C',C,3,3): the sum over pixels, taken at the points."""
    interpolate, back, evaluate = _matrices(x.device, x.dtype)
    inputs, outputs = _tiles(x, _IN), _tiles(gradient, _OUT)
    sums = x.new_zeros(_IN**2, x.shape[1], gradient.shape[1])
    for rows, columns in _parts(*inputs.shape[:3]):
        here = inputs[:, rows, columns], outputs[:, rows, columns]
        values = (evaluate @ _by_position(here[0])).view(_IN**2, -1, x.shape[1])
        products = (interpolate.T @ _by_position(here[1])).view(_IN**2, -1, gradient.shape[1])
        sums.baddbmm_(values.transpose(1, 2), products)
    taps = (back.T @ sums.flatten(1)).view(_SIZE, _SIZE, *sums.shape[1:])
    return taps.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)


def _tiles(x: Tensor, side: int) -> Tensor:
    """(B,C,H,W) -> (B,down,across,side,side,C): a view of it, one tile every 4 pixels."""
    overlap = side - _OUT
    right, below = (-(length - overlap) % _OUT for length in (x.shape[3], x.shape[2]))
    if right or below:
        x = F.pad(x, (0, right, 0, below))
    return (
        x.permute(0, 2, 3, 1).unfold(1, side, _OUT).unfold(2, side, _OUT).permute(0, 1, 2, 4, 5, 3)
    )


def _by_position(tiles: Tensor) -> Tensor:
    """(B,down,across,side,side,C) -> (side²,B·down·across·C)."""
    return tiles.permute(3, 4, 0, 1, 2, 5).reshape(tiles.shape[3] ** 2, -1)


def _parts(batch: int, down: int, across: int) -> list[tuple[slice, slice]]:
    """Rows and columns of tiles to work on one after the other, so that they stay in the cache."""
    most = max(1, _TILES * torch.get_num_threads() // batch)
    columns = min(across, most)
    rows = max(1, most // columns)
    return [
        (slice(top, top + rows), slice(left, left + columns))
        for top in range(0, down, rows)
        for left in range(0, across, columns)
    ]


@cache
def _matrices(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Aᵀ⊗Aᵀ (16,36), G⊗G (36,9) and Bᵀ⊗Bᵀ (36,36), which work on flattened tiles."""

    def values_of(degree: int) -> Tensor:
        """Row i: 1, p, p², ... of the i-th point p; at infinity only the last one counts."""
        points = torch.tensor(_POINTS, dtype=torch.float64)
        powers = points[:, None] ** torch.arange(degree)
        infinity = torch.zeros(1, degree, dtype=torch.float64)
        infinity[0, -1] = 1
        return torch.cat([powers, infinity])

    # A convolution is the transpose of a product of polynomials (Tellegen's principle).
    interpolate = values_of(_OUT).T
    back = values_of(_SIZE)
    evaluate = torch.linalg.inv(values_of(_IN)).T
    first, second, third = (
        torch.kron(matrix, matrix).to(device, dtype) for matrix in (interpolate, back, evaluate)
    )
    return first, second, third
