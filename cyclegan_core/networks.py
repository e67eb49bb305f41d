"""The networks of CycleGAN, with the state-dict keys of the original implementation.

Generators map (B,C,H,W) in the config's `value_range` to (B,C',H,W) in [-1,1]; discriminators map
pictures in [-1,1] to a map of logits. Sources: Zhu et al. 2017, section 7.2 of the appendix
("c7s1-64, d128, d256, R256 x N, u128, u64, c7s1-3" and "C64-C128-C256-C512"); Johnson et al.
2016 for the residual blocks; Isola et al. 2017 for the U-Net and the PatchGAN; Zhang 2019 and
Park et al. 2020 (CUT) for the antialiased down- and upsampling.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .config import Direction, ModelConfig
from .layers import (
    BatchNorm,
    InstanceNorm,
    NarrowConv2d,
    ReflectionPad,
    ReLUBlurPool,
    ResizeConv2d,
    SpectralConv2d,
    WinogradConv2d,
)

Norm = Literal["instance", "batch", "none"]

DiscNorm = Literal["instance", "batch", "spectral", "none"]
"""Of a discriminator: spectral norm is one of the weights, the others are of the maps."""


def _norm(kind: Norm, channels: int, *, affine: bool = False) -> nn.Module:
    if kind == "instance":
        norm = InstanceNorm(channels, affine=affine)
        norm.in_place = True  # it follows a convolution, whose output nobody else reads
        return norm
    return BatchNorm(channels) if kind == "batch" else nn.Identity()


def _has_bias(norm: Norm) -> bool:
    """As the original has it: with batch norm a bias is redundant, without norm it is left out."""
    return norm == "instance"


def _resize_mode(config: ModelConfig) -> Literal["nearest", "bilinear"]:
    return "bilinear" if config.upsample == "bilinear" else "nearest"


class ResnetBlock(nn.Module):
    """R-block: x + conv3x3(relu(norm(conv3x3(x)))), norm after both, no ReLU after the sum."""

    def __init__(self, channels: int, config: ModelConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for is_first in (True, False):
            if config.padding == "reflect":
                layers.append(ReflectionPad(1))
            padding = 1 if config.padding == "zero" else 0
            layers += [
                WinogradConv2d(channels, channels, 3, padding=padding, bias=_has_bias(config.norm)),
                _norm(config.norm, channels, affine=config.norm_affine),
            ]
            if is_first:
                layers.append(nn.ReLU(inplace=True))
                if config.dropout:
                    layers.append(nn.Dropout(0.5))
        self.conv_block = nn.Sequential(*layers)
        self.recompute = False
        """Whether training computes the inside anew for the backward pass instead of keeping it."""

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> same shape."""
        if self.recompute and torch.is_grad_enabled():
            return x + cast(Tensor, checkpoint(self.conv_block, x, use_reentrant=False))
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """The paper's generator: encoder to 1/4 size, `num_blocks` residual blocks, decoder, tanh."""

    def __init__(self, config: ModelConfig, direction: Direction = "a_to_b") -> None:
        super().__init__()
        in_channels, out_channels = config.channels(direction)
        width, bias = config.base_channels, _has_bias(config.norm)

        def norm_relu(channels: int) -> list[nn.Module]:
            return [_norm(config.norm, channels, affine=config.norm_affine), nn.ReLU(inplace=True)]

        def down(channels: int) -> list[nn.Module]:
            mode = "zeros" if config.down_padding == "zero" else "reflect"
            stride = 2 if config.downsample == "strided" else 1
            conv = nn.Conv2d(
                channels, 2 * channels, 3, stride=stride, padding=1, bias=bias, padding_mode=mode
            )
            norm, relu = norm_relu(2 * channels)
            return [conv, norm, relu if stride == 2 else ReLUBlurPool()]

        def up(channels: int) -> nn.Module:
            if config.upsample == "transposed":
                return nn.ConvTranspose2d(
                    channels, channels // 2, 3, stride=2, padding=1, output_padding=1, bias=bias
                )
            mode = _resize_mode(config)
            return ResizeConv2d(channels, channels // 2, bias=bias, mode=mode)

        self.model = nn.Sequential(
            # c7s1-F: (B,C,H,W) -> (B,F,H,W)
            ReflectionPad(3),
            nn.Conv2d(in_channels, width, 7, bias=bias),
            *norm_relu(width),
            # d2F, d4F: -> (B,4F,H/4,W/4)
            *down(width),
            *down(2 * width),
            # R4F x N: same shape
            *(ResnetBlock(4 * width, config) for _ in range(config.num_blocks)),
            # u2F, uF: -> (B,F,H,W)
            up(4 * width),
            *norm_relu(2 * width),
            up(2 * width),
            *norm_relu(width),
            # c7s1-C', tanh: -> (B,C',H,W) in [-1,1]
            ReflectionPad(3),
            NarrowConv2d(width, out_channels, 7),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) in `value_range`, sides multiples of 4, at least 8 -> (B,C',H,W) in [-1,1]."""
        return self.model(x)


class UnetBlock(nn.Module):
    """One level of the U-Net: down, the level below, up; its input is concatenated to its output.

    The outermost level has neither norm nor concatenation and ends in tanh; the innermost has
    nothing below it.
    """

    def __init__(
        self,
        outer_channels: int,
        inner_channels: int,
        config: ModelConfig,
        *,
        below: UnetBlock | None,
        ends: tuple[int, int] | None = None,
        dropout: bool = False,
    ) -> None:
        """`ends`: the network's input and output channels, for the outermost level only."""
        super().__init__()
        self.is_outermost = ends is not None
        in_channels, out_channels = ends or (outer_channels, outer_channels)
        bias = _has_bias(config.norm)

        def norm(channels: int) -> nn.Module:
            return _norm(config.norm, channels, affine=config.norm_affine)

        down = nn.Conv2d(in_channels, inner_channels, 4, stride=2, padding=1, bias=bias)
        # What comes from below carries its own input along, hence twice the channels.
        up_channels = inner_channels if below is None else 2 * inner_channels
        up_bias = bias or self.is_outermost
        up: nn.Module = (
            nn.ConvTranspose2d(up_channels, out_channels, 4, stride=2, padding=1, bias=up_bias)
            if config.upsample == "transposed"
            else ResizeConv2d(up_channels, out_channels, bias=up_bias, mode=_resize_mode(config))
        )
        layers: list[nn.Module] = [down] if self.is_outermost else [nn.LeakyReLU(0.2), down]
        if below is not None:
            if not self.is_outermost:
                layers.append(norm(inner_channels))
            layers.append(below)
        layers += [nn.ReLU(), up, nn.Tanh() if self.is_outermost else norm(out_channels)]
        if dropout:
            layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,2C,H,W), or (B,C',H,W) for the outermost level."""
        y = self.model(x)
        return y if self.is_outermost else torch.cat([x, y], dim=1)


class UnetGenerator(nn.Module):
    """The U-Net of pix2pix with `num_downs` halvings; sides must be multiples of 2**num_downs."""

    def __init__(self, config: ModelConfig, direction: Direction = "a_to_b") -> None:
        super().__init__()
        width = config.base_channels
        block = UnetBlock(8 * width, 8 * width, config, below=None)
        for _ in range(config.num_downs - 5):
            block = UnetBlock(8 * width, 8 * width, config, below=block, dropout=config.dropout)
        for scale in (4, 2, 1):
            block = UnetBlock(scale * width, 2 * scale * width, config, below=block)
        ends = config.channels(direction)
        self.model = UnetBlock(ends[1], width, config, below=block, ends=ends)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) in `value_range` -> (B,C',H,W) in [-1,1]."""
        return self.model(x)


class PatchDiscriminator(nn.Module):
    """PatchGAN: C64-C128-C256-C512 for 3 layers, a logit per 70x70 patch (30x30 for 256x256)."""

    def __init__(
        self,
        in_channels: int = 3,
        *,
        base_channels: int = 64,
        num_layers: int = 3,
        norm: DiscNorm = "instance",
    ) -> None:
        super().__init__()

        of_maps: Norm = "none" if norm == "spectral" else norm

        def convolution(channels: int, wider: int, *, stride: int, bias: bool = True) -> nn.Module:
            if norm == "spectral":
                return SpectralConv2d(channels, wider, 4, stride=stride, padding=1)
            return nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=bias)

        layers: list[nn.Module] = [
            convolution(in_channels, base_channels, stride=2),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels = base_channels
        for layer in range(1, num_layers + 1):
            wider = base_channels * min(2**layer, 8)
            stride = 1 if layer == num_layers else 2
            layers += [
                convolution(channels, wider, stride=stride, bias=_has_bias(of_maps)),
                _norm(of_maps, wider),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            channels = wider
        layers.append(convolution(channels, 1, stride=1))
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) in [-1,1] -> (B,1,H',W') logits."""
        return self.model(x)


class PixelDiscriminator(nn.Module):
    """A logit per pixel from 1x1 convolutions (Isola et al. 2017's 1x1 PixelGAN)."""

    def __init__(
        self, in_channels: int = 3, *, base_channels: int = 64, norm: Norm = "instance"
    ) -> None:
        super().__init__()
        bias = _has_bias(norm)
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, base_channels, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(base_channels, 2 * base_channels, 1, bias=bias),
            _norm(norm, 2 * base_channels),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * base_channels, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) in [-1,1] -> (B,1,H,W) logits."""
        return self.net(x)


def build_generator(config: ModelConfig, direction: Direction) -> ResnetGenerator | UnetGenerator:
    """The generator that `config` describes, with torch's default initialisation."""
    if config.generator == "resnet":
        return ResnetGenerator(config, direction)
    return UnetGenerator(config, direction)


@torch.no_grad()
def init_weights(network: nn.Module, *, std: float = 0.02) -> None:
    """Draw convolution weights from N(0, std), batch-norm scales from N(1, std); biases are 0.

    Source: section 7.1 of the paper's appendix ("Gaussian distribution N(0, 0.02)").
    """
    if any(weights.is_meta for weights in network.parameters()):
        return  # they are about to be loaded; drawing on `meta` would import torch's compiler
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.normal_(0.0, std)
        elif isinstance(module, BatchNorm):
            module.weight.normal_(1.0, std)
        else:
            continue
        if module.bias is not None:
            module.bias.zero_()


@torch.no_grad()
def init_residual_zero(network: nn.Module) -> None:
    """Draw weights with which a resnet without norm passes a picture's detail on from the start.

    Convolutions are drawn as He et al. 2015 have them, which keeps the size of what goes through;
    the last one of each residual block is 0 (Zhang et al. 2019, "Fixup"), so that a block begins
    as the identity; the last one of all is 0.3 times its draw, so that tanh is not saturated.
    """
    last: nn.Conv2d | None = None
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.normal_(0.0, (2 / module.weight[0].numel()) ** 0.5)
            last = module
        elif isinstance(module, nn.ConvTranspose2d):
            # With stride 2 every output pixel gets a quarter of the kernel's numbers.
            inputs = module.weight.shape[0] * module.weight[0, 0].numel() / 4
            module.weight.normal_(0.0, (2 / inputs) ** 0.5)
        else:
            continue
        if module.bias is not None:
            module.bias.zero_()
    for module in network.modules():
        if isinstance(module, ResnetBlock):
            convolutions = [m for m in module.conv_block if isinstance(m, nn.Conv2d)]
            convolutions[-1].weight.zero_()
    if last is not None:
        last.weight.mul_(0.3)
