"""Convolutions that torch has no class for; their parameters are those of `nn.Conv2d`."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from .layers import is_channels_last


class ResizeConv2d(nn.Conv2d):
    """Nearest resize by 2, then a 3x3 convolution: upsampling without checkerboard (Odena 2016).

    It stands where the transposed convolution would, so both kinds share their key names.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C',2H,2W)."""
        return super().forward(F.interpolate(input, scale_factor=2.0, mode="nearest"))


class NarrowConv2d(nn.Conv2d):
    """A convolution to few channels, which a CPU pads to 16: 7x7 to 3 wastes four fifths.

    Where no gradient is wanted, it is a 7x1 convolution to 7 times the channels and a sum of 7
    shifted maps, which takes half the time in float32 (half precision gains nothing by it).
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C',H-k+1,W-k+1)."""
        if torch.is_grad_enabled() or self.out_channels > 4 or not _is_quick(input):
            return super().forward(input)
        size = self.kernel_size[0]
        columns = self.weight.permute(3, 0, 1, 2).flatten(0, 1).unsqueeze(3)
        maps = F.conv2d(input, columns).unflatten(1, (size, -1)).unbind(1)
        width = input.shape[3] - size + 1
        output = maps[0][..., :width] + cast(Tensor, self.bias)[:, None, None]
        for shift in range(1, size):
            output += maps[shift][..., shift : shift + width]
        return output


def _is_quick(x: Tensor) -> bool:
    """Where that was measured: channels-last float32 on a CPU; a compiler does as it likes."""
    is_float = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    is_quick = is_float and x.device.type == "cpu" and is_channels_last(x)
    return is_quick and not torch.compiler.is_compiling()
