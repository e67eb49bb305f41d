"""The resnet generator cut into layers: a convolution with its padding, and the norm after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from ..networks import ResizeConv2d, ResnetBlock, ResnetGenerator
from .strip_layers import Convolution, Stage, TransposedConvolution, Window, enlarge


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution and what belongs to it."""

    conv: nn.Conv2d | nn.ConvTranspose2d
    padding: int
    reflect: bool
    norm: nn.Module | None
    """The norm that follows; None where there is none."""

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.conv.out_channels

    def stages(self, dtype: torch.dtype) -> list[Stage]:
        """Fresh stages from the layer's input to its output before the norm."""
        if isinstance(self.conv, nn.ConvTranspose2d):
            return [TransposedConvolution(self.conv, dtype)]
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        window = Window(kernel, stride, self.padding, reflect=self.reflect)
        before: list[Stage] = [enlarge] if isinstance(self.conv, ResizeConv2d) else []
        return [*before, window, Convolution(self.conv, dtype)]


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
        """Those of `network`, which shares its weights with them."""
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
    layers: list[Layer] = []
    mirrored = 0
    for module in modules:
        if isinstance(module, nn.ReflectionPad2d):
            mirrored = module.padding[0]
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            own = cast(int, module.padding[0])
            reflect = mirrored > 0 or module.padding_mode == "reflect"
            layers.append(Layer(module, mirrored or own, reflect, None))
            mirrored = 0
        elif isinstance(module, (nn.InstanceNorm2d, nn.BatchNorm2d)):
            conv = layers[-1]
            layers[-1] = Layer(conv.conv, conv.padding, conv.reflect, module)
    return layers
