"""The layers of a network for a picture that arrives strip by strip, from the top down.

A stage takes the next rows of its input and returns the rows of its output that they complete,
or None if that is not yet one. What later rows will need, it keeps; so every row is computed
once, and rows are padded at the true borders of the picture only. Strips have the layout
channels_last, in which rows lie one after the other and the CPU convolves fastest.

`Layers` cuts a resnet generator into such stages: convolutions with their padding, and norms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from ..device.winograd import convolve, transformed
from ..layers import (
    NarrowConv2d,
    ReLUBlurPool,
    ResizeConv2d,
    WinogradConv2d,
    blur_pool,
    gains_by_winograd,
    gains_when_narrow,
    narrow_convolution,
    scale_half_in_place,
)
from ..networks import ResnetBlock, ResnetGenerator
from .norm_statistics import Affine

Stage = Callable[[Tensor, bool], Tensor | None]
"""(next rows (1,C,h,W), whether they are the last) -> (1,C',h',W') or None."""

_CHUNK = 2**20
"""Numbers normalised at a time, so that half precision is widened in small pieces."""


def push(stages: Sequence[Stage], rows: Tensor, *, last: bool) -> Tensor | None:
    """Send rows (1,C,h,W) through stages; the last rows always bring some out."""
    x: Tensor | None = rows
    del rows  # each stage's input is freed as soon as its output is there
    for stage in stages:
        if x is None:
            return None
        x = stage(x, last)
    return x


class Window:
    """Puts together the padded rows that a convolution without padding turns into new ones."""

    def __init__(self, kernel: int, stride: int, padding: int, *, reflect: bool) -> None:
        self._kernel, self._stride, self._padding = kernel, stride, padding
        self._reflect = reflect
        self._kept: Tensor | None = None
        self._is_top = True

    def __call__(self, x: Tensor, last: bool) -> Tensor | None:  # noqa: FBT001 - a Stage
        """(1,C,h,W) -> (1,C,n,W+2*padding), n fit for a whole number of output rows."""
        # What is kept from the strip before, then the new rows; padding above the first strip of
        # the picture and below the last one only, as the others continue each other.
        pad = self._padding
        kept = 0 if self._kept is None else self._kept.shape[2]
        known = kept + x.shape[2]
        top, bottom = (pad if self._is_top else 0), (pad if last else 0)
        shape = (1, x.shape[1], top + known + bottom, x.shape[3] + 2 * pad)
        window = torch.empty(
            shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last
        )
        if self._kept is not None:
            window[:, :, top : top + kept] = self._kept
        new = window[:, :, top + kept : top + known]
        new[..., pad : pad + x.shape[3]] = x
        _pad_columns(new, pad, reflect=self._reflect)

        # A mirror needs more rows than it makes: with too few, wait for the next strip.
        if known <= top:
            self._kept = window[:, :, top : top + known]
            return None
        _pad_rows(window, top, bottom, reflect=self._reflect)
        self._is_top = False

        # Give as many rows as make whole output rows. The next output row begins `stride` below
        # the last one, and all from there on is kept for it.
        outputs = max(0, (window.shape[2] - self._kernel) // self._stride + 1)
        self._kept = window[:, :, outputs * self._stride :].clone()
        if outputs == 0:
            return None
        return window[:, :, : (outputs - 1) * self._stride + self._kernel]


class Convolution:
    """A convolution of rows that are padded already."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        self._weight, self._bias = _parameters(conv, dtype)
        self._stride = conv.stride
        self._can_winograd = isinstance(conv, WinogradConv2d) and conv.winograd
        # As it is, for a narrow convolution adds up in float32.
        self._narrow_bias = conv.bias if isinstance(conv, NarrowConv2d) else None
        self._kernel: Tensor | None = None

    def __call__(self, x: Tensor, last: bool) -> Tensor:  # noqa: FBT001 - a Stage
        """(1,C,n,W+2p) -> (1,C',h,W')."""
        if self._narrow_bias is not None and gains_when_narrow(x, self._weight):
            return narrow_convolution(x, self._weight, self._narrow_bias)
        if not self._can_winograd or not gains_by_winograd(x, self._weight):
            return F.conv2d(x, self._weight, self._bias, self._stride)
        if self._kernel is None:
            self._kernel = transformed(self._weight)
        return convolve(x, self._weight, self._bias, self._kernel)


class TransposedConvolution:
    """The decoder's 3x3 transposed convolution of stride 2, padding 1 and output padding 1.

    Output rows 2i and 2i+1 come from the input rows i and i+1.
    """

    def __init__(self, conv: nn.ConvTranspose2d, dtype: torch.dtype) -> None:
        self._weight, self._bias = _parameters(conv, dtype)
        self._kept: Tensor | None = None

    def __call__(self, x: Tensor, last: bool) -> Tensor | None:  # noqa: FBT001 - a Stage
        """(1,C,h,W) -> (1,C',2h,2W), later by 2 rows."""
        if self._kept is not None:
            x = torch.cat([self._kept, x], 2)
        self._kept = x[:, :, -1:].clone()
        if x.shape[2] == 1 and not last:
            return None
        y = F.conv_transpose2d(x, self._weight, self._bias, 2, 1, 1)
        # The last two rows lack their lower neighbour. (To have one row less computed, with output
        # padding in one direction only, CPUs leave their quick path: five times as slow.)
        return y if last else y[:, :, :-2]


def enlarge(x: Tensor, last: bool) -> Tensor:  # noqa: FBT001 - a Stage
    """(1,C,h,W) -> (1,C,2h,2W), nearest."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class BilinearEnlargement:
    """Bilinear resize by 2: a row's two come from it and its neighbours; the border repeats."""

    def __init__(self) -> None:
        self._kept: Tensor | None = None
        self._is_top = True

    def __call__(self, x: Tensor, last: bool) -> Tensor | None:  # noqa: FBT001 - a Stage
        """(1,C,h,W) -> (1,C,2h,2W), later by 2 rows."""
        if self._kept is not None:
            x = torch.cat([self._kept, x], 2)
        self._kept = x[:, :, -2:].clone()
        if x.shape[2] == 1 and not last:
            return None
        y = F.interpolate(x, scale_factor=2.0, mode="bilinear")
        # Of the first row that was kept, both are done; of the last one, the next row is missing.
        top, self._is_top = (0 if self._is_top else 2), False
        return y[:, :, top:] if last else y[:, :, top:-2]


def pool(x: Tensor, last: bool) -> Tensor:  # noqa: FBT001 - a Stage
    """(1,C,2n+1,2W+2) -> (1,C,n,W)."""
    return blur_pool(x)


def tanh(x: Tensor, last: bool) -> Tensor:  # noqa: FBT001 - a Stage
    """(1,C,h,W) -> the same tensor."""
    return x.tanh_()


class Normalisation:
    """A norm with known statistics, then a ReLU if wanted; it works in place."""

    def __init__(self, affine: Affine | None, *, relu: bool) -> None:
        self._affine, self._relu = affine, relu

    def __call__(self, x: Tensor, last: bool) -> Tensor:  # noqa: FBT001 - a Stage
        """(1,C,h,W) -> the same tensor; computed in float32 at least, as `InstanceNorm` does."""
        for part in x.split(max(1, _CHUNK // (x.shape[1] * x.shape[3])), 2):
            if self._affine is None:
                pass
            elif part.dtype == self._affine.scale.dtype:
                torch.addcmul(self._affine.shift, part, self._affine.scale, out=part)
            elif part.device.type == "cpu":
                scale_half_in_place(
                    part, self._affine.scale.flatten(), self._affine.shift.flatten()
                )
            else:
                part.copy_(torch.addcmul(self._affine.shift, part, self._affine.scale))
            if self._relu:
                part.relu_()
        return x


class InPieces:
    """Stages that take a few rows at a time: the last strip brings what all before them kept."""

    def __init__(self, stages: Sequence[Stage], rows: int) -> None:
        self._stages, self._rows = stages, rows

    def __call__(self, x: Tensor, last: bool) -> Tensor | None:  # noqa: FBT001 - a Stage
        """(1,C,h,W) -> what the stages make of at most `rows` at a time, put together."""
        pieces = x.split(self._rows, 2)
        outputs = [
            push(self._stages, piece, last=last and number == len(pieces))
            for number, piece in enumerate(pieces, 1)
        ]
        done = [output for output in outputs if output is not None]
        return torch.cat(done, 2) if done else None


class Residual:
    """A block's branch and the addition of the block's input, which waits for it."""

    def __init__(self, branch: Sequence[Stage]) -> None:
        """`branch` begins with a `Window`, so it leaves its input as it is."""
        self._branch = branch
        self._waiting: Tensor | None = None

    def __call__(self, x: Tensor, last: bool) -> Tensor | None:  # noqa: FBT001 - a Stage
        """(1,C,h,W) -> same shape, later by the branch's delay."""
        y = push(self._branch, x, last=last)
        waiting = x if self._waiting is None else torch.cat([self._waiting, x], 2)
        rows = 0 if y is None else y.shape[2]
        self._waiting = waiting[:, :, rows:].clone()
        return None if y is None else y.add_(waiting[:, :, :rows])


def _parameters(
    conv: nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    weight = conv.weight.detach().to(dtype, memory_format=torch.channels_last)
    return weight, None if conv.bias is None else conv.bias.detach().to(dtype)


def _pad_columns(x: Tensor, pad: int, *, reflect: bool) -> None:
    """Fill `pad` columns at both sides of (1,C,h,W)."""
    end = x.shape[3] - 1
    for i in range(pad):
        for column, mirrored in ((i, 2 * pad - i), (end - i, end - 2 * pad + i)):
            x[..., column] = x[..., mirrored] if reflect else 0


def _pad_rows(x: Tensor, top: int, bottom: int, *, reflect: bool) -> None:
    """Fill the first `top` and the last `bottom` rows of (1,C,h,W)."""
    end = x.shape[2] - 1
    for i in range(top):
        x[:, :, i] = x[:, :, 2 * top - i] if reflect else 0
    for i in range(bottom):
        x[:, :, end - i] = x[:, :, end - 2 * bottom + i] if reflect else 0


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution and what belongs to it."""

    conv: nn.Conv2d | nn.ConvTranspose2d
    padding: int
    reflect: bool
    norm: nn.Module | None = None
    """The norm that follows; None where there is none."""
    is_pooled: bool = False
    """Whether a blur and every second pixel follow the ReLU."""

    def stages(self, dtype: torch.dtype) -> list[Stage]:
        """Fresh stages from the layer's input to its output before the norm."""
        if isinstance(self.conv, nn.ConvTranspose2d):
            return [TransposedConvolution(self.conv, dtype)]
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        window = Window(kernel, stride, self.padding, reflect=self.reflect)
        before: list[Stage] = []
        if isinstance(self.conv, ResizeConv2d):
            before.append(enlarge if self.conv.mode == "nearest" else BilinearEnlargement())
        return [*before, window, Convolution(self.conv, dtype)]

    def last_stages(self) -> list[Stage]:
        """Fresh stages from the ReLU's output to the next layer's input."""
        return [Window(3, 2, 1, reflect=True), pool] if self.is_pooled else []


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of a resnet generator, in the order of the network."""

    encoder: tuple[Layer, ...]
    """c7s1-F, d2F, d4F."""
    blocks: tuple[tuple[Layer, Layer], ...]
    decoder: tuple[Layer, ...]
    """u2F, uF."""
    last: Layer
    """c7s1-C', before tanh."""

    @classmethod
    def of(cls, network: ResnetGenerator) -> Layers:
        """Cut `network` into its layers, which share its weights."""
        # A block's convolutions lie inside it; the others are three, two and one, in this order.
        modules = list(network.model)
        blocks = [module for module in modules if isinstance(module, ResnetBlock)]
        branches = [_layers(block.conv_block) for block in blocks]
        rest = _layers(module for module in modules if module not in blocks)
        return cls(
            encoder=tuple(rest[:3]),
            blocks=tuple((first, second) for first, second in branches),
            decoder=tuple(rest[3:5]),
            last=rest[5],
        )

    @property
    def all(self) -> list[Layer]:
        """Every layer, the last one included."""
        inner = [layer for pair in self.blocks for layer in pair]
        return [*self.encoder, *inner, *self.decoder, self.last]


def _layers(modules: Iterable[nn.Module]) -> list[Layer]:
    """Convolutions with the padding before and the norm after them; other modules have no part."""
    layers: list[Layer] = []
    mirrored = 0
    for module in modules:
        if isinstance(module, nn.ReflectionPad2d):
            mirrored = module.padding[0]
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            own = cast(int, module.padding[0])
            reflect = mirrored > 0 or module.padding_mode == "reflect"
            layers.append(Layer(module, mirrored or own, reflect))
            mirrored = 0
        elif isinstance(module, (nn.InstanceNorm2d, nn.BatchNorm2d)):
            layers[-1] = replace(layers[-1], norm=module)
        elif isinstance(module, ReLUBlurPool):
            layers[-1] = replace(layers[-1], is_pooled=True)
    return layers
