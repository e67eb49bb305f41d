"""Generators as other projects build them, written plainly from their published structure.

Each module's state dict has the keys of the project it is named after; its forward pass in eval
mode is what a loaded file must reproduce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

WIDTH = 4

MakeNorm = Callable[[int], list[nn.Module]]


def instance(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels)]


def affine(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels, affine=True)]


def tracked(channels: int) -> list[nn.Module]:
    return [nn.InstanceNorm2d(channels, track_running_stats=True)]


def batch(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)]


def no_norm(channels: int) -> list[nn.Module]:
    return [nn.Identity()]


NORMS: dict[str, MakeNorm] = {
    "instance": instance,
    "affine": affine,
    "batch": batch,
    "none": no_norm,
}


class Residual(nn.Module):
    """x + f(x), where f lies under `name`."""

    def __init__(self, name: str, layers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        return x + getattr(self, self.name)(x)


def resnet_layers(
    *,
    block_name: str = "conv_block",
    norm: MakeNorm = instance,
    bias: bool = True,
    blocks: int = 2,
    channels: tuple[int, int] = (3, 3),
    dropout: bool = False,
    padding: str = "reflect",
    upsample: bool = False,
    end_padding: int = 3,
    width: int = WIDTH,
) -> nn.Sequential:
    """The resnet generator as one flat sequence, as nearly all projects write it."""

    def block_conv() -> list[nn.Module]:
        wide = 4 * width
        if padding == "zero":
            return [nn.Conv2d(wide, wide, 3, padding=1, bias=bias), *norm(wide)]
        return [nn.ReflectionPad2d(1), nn.Conv2d(wide, wide, 3, bias=bias), *norm(wide)]

    layers: list[nn.Module] = [
        nn.ReflectionPad2d(end_padding),
        nn.Conv2d(channels[0], width, 7, bias=bias),
        *norm(width),
        nn.ReLU(),
    ]
    for wide in (width, 2 * width):
        layers += [nn.Conv2d(wide, 2 * wide, 3, 2, 1, bias=bias), *norm(2 * wide), nn.ReLU()]
    for _ in range(blocks):
        drop = [nn.Dropout(0.5)] if dropout else []
        layers.append(Residual(block_name, [*block_conv(), nn.ReLU(), *drop, *block_conv()]))
    for wide in (4 * width, 2 * width):
        half = wide // 2
        if upsample:
            layers += [nn.Upsample(scale_factor=2), nn.Conv2d(wide, half, 3, padding=1, bias=bias)]
        else:
            layers.append(nn.ConvTranspose2d(wide, half, 3, 2, 1, output_padding=1, bias=bias))
        layers += [*norm(half), nn.ReLU()]
    layers += [nn.ReflectionPad2d(end_padding), nn.Conv2d(width, channels[1], 7), nn.Tanh()]
    return nn.Sequential(*layers)


class Named(nn.Module):
    """A network under an attribute, as `self.model = nn.Sequential(...)` makes it."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, network)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.name)(x)


def upstream(norm: str = "instance", **settings) -> nn.Module:
    """junyanz; dlwpt, aitorzip and the 2018 eriklindernoren with the default settings."""
    bias = norm in ("instance", "affine")
    return Named("model", resnet_layers(norm=NORMS[norm], bias=bias, **settings))


def vintagify(**settings) -> nn.Module:
    return Named("model", resnet_layers(block_name="block", norm=affine, **settings))


def eriklindernoren(channels: int = 3) -> nn.Module:
    """Since 2019, and huggan: resize + convolution; its padding is the number of channels."""
    layers = resnet_layers(
        block_name="block", upsample=True, channels=(channels, channels), end_padding=channels
    )
    return Named("model", layers)


def lornatang() -> nn.Module:
    return Named("main", resnet_layers(block_name="res", norm=tracked))


def upit(**settings) -> nn.Module:
    return resnet_layers(**settings)


class Aladdinpersson(nn.Module):
    """Every Conv2d pads by reflection, the strided ones too."""

    def __init__(self, blocks: int = 2, width: int = WIDTH) -> None:
        super().__init__()

        def conv(inner: int, outer: int, kernel: int, stride: int = 1) -> nn.Module:
            return nn.Conv2d(
                inner, outer, kernel, stride, padding=kernel // 2, padding_mode="reflect"
            )

        def up(wide: int) -> nn.Module:
            return nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, output_padding=1)

        def unit(layer: nn.Module, channels: int, last: nn.Module) -> nn.Module:
            return Named("conv", nn.Sequential(layer, nn.InstanceNorm2d(channels), last))

        wide = 4 * width
        self.initial = nn.Sequential(conv(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU())
        self.down_blocks = nn.ModuleList(
            unit(conv(c, 2 * c, 3, 2), 2 * c, nn.ReLU()) for c in (width, 2 * width)
        )
        self.res_blocks = nn.Sequential(
            *(
                Residual("block", [unit(conv(wide, wide, 3), wide, end) for end in ends])
                for ends in [(nn.ReLU(), nn.Identity())] * blocks
            )
        )
        self.up_blocks = nn.ModuleList(unit(up(c), c // 2, nn.ReLU()) for c in (wide, wide // 2))
        self.last = conv(width, 3, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.initial(x)
        for layer in (*self.down_blocks, self.res_blocks, *self.up_blocks):
            x = layer(x)
        return torch.tanh(self.last(x))


class ConvModule(nn.Module):
    """mmcv's unit: padding layer without keys, `conv`, a norm named by its kind, activation."""

    def __init__(
        self, conv: nn.Module, *, pad: int = 0, norm: str = "instance", end: nn.Module | None = None
    ) -> None:
        super().__init__()
        channels = conv.out_channels
        self.pad = nn.ReflectionPad2d(pad)
        self.conv = conv
        self.norm_name = {"instance": "in", "affine": "in", "batch": "bn", "none": "no"}[norm]
        self.add_module(self.norm_name, NORMS[norm](channels)[0])
        self.end = end or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(getattr(self, self.norm_name)(self.conv(self.pad(x))))


def mmgen(norm: str = "instance", *, dropout: bool = False, blocks: int = 2) -> nn.Module:
    """One generator of mmgeneration / mmagic; it works on blue-green-red pictures."""
    width, bias = WIDTH, norm == "instance"

    def relu(conv: nn.Module, pad: int = 0) -> nn.Module:
        return ConvModule(conv, pad=pad, norm=norm, end=nn.ReLU())

    def block() -> nn.Module:
        wide = 4 * width
        first = relu(nn.Conv2d(wide, wide, 3, bias=bias), 1)
        second = ConvModule(nn.Conv2d(wide, wide, 3, bias=bias), pad=1, norm=norm)
        return Residual("block", [first, *([nn.Dropout(0.5)] if dropout else []), second])

    layers = [relu(nn.Conv2d(3, width, 7, bias=bias), 3)]
    layers += [relu(nn.Conv2d(c, 2 * c, 3, 2, 1, bias=bias)) for c in (width, 2 * width)]
    layers += [block() for _ in range(blocks)]
    layers += [
        relu(nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1, bias=bias))
        for c in (4 * width, 2 * width)
    ]
    layers.append(ConvModule(nn.Conv2d(width, 3, 7), pad=3, norm="none", end=nn.Tanh()))
    return Named("model", nn.Sequential(*layers))


def arnab39(*, dropout: bool = False, blocks: int = 2) -> nn.Module:
    """Groups convolution, norm and ReLU, except for a block's second convolution."""
    width, wide = WIDTH, 4 * WIDTH

    def group(conv: nn.Module) -> nn.Module:
        return nn.Sequential(conv, nn.InstanceNorm2d(conv.out_channels), nn.ReLU())

    def block() -> nn.Module:
        drop = [nn.Dropout(0.5)] if dropout else []
        layers = [nn.ReflectionPad2d(1), group(nn.Conv2d(wide, wide, 3)), *drop]
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(wide, wide, 3), nn.InstanceNorm2d(wide)]
        return Residual("res_block", layers)

    layers = [nn.ReflectionPad2d(3), group(nn.Conv2d(3, width, 7))]
    layers += [group(nn.Conv2d(c, 2 * c, 3, 2, 1)) for c in (width, 2 * width)]
    layers += [block() for _ in range(blocks)]
    layers += [
        group(nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1)) for c in (wide, wide // 2)
    ]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
    return Named("res_model", nn.Sequential(*layers))


class Blur(nn.Module):
    """CUT's antialiased halving or doubling, whose fixed filter lies in the file as `filt`."""

    def __init__(self, channels: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        line = torch.tensor([1.0, 3.0, 3.0, 1.0] if up else [1.0, 2.0, 1.0])
        line = line / line.sum() * (2 if up else 1)
        self.register_buffer("filt", torch.outer(line, line).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        mode = "replicate" if self.up else "reflect"
        x = nn.functional.pad(x, (1, 1, 1, 1), mode=mode)
        if not self.up:
            return nn.functional.conv2d(x, self.filt, stride=2, groups=len(self.filt))
        x = nn.functional.conv_transpose2d(x, self.filt, stride=2, padding=2, groups=len(self.filt))
        return x[:, :, 1:-1, 1:-1]


def cut(*, down: bool = True, up: bool = True, blocks: int = 2, norm: str = "instance"):
    """CUT's and FastCUT's generator; `down` and `up` are what --no_antialias(_up) turn off."""
    width, bias, make = WIDTH, norm == "instance", NORMS[norm]

    def conv(inner: int, outer: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(inner, outer, 3, stride, 1, bias=bias)

    def block() -> nn.Module:
        layers: list[nn.Module] = []
        for last in ([nn.ReLU()], []):
            layers += [nn.ReflectionPad2d(1), nn.Conv2d(wide, wide, 3, bias=bias)]
            layers += [*make(wide), *last]
        return Residual("conv_block", layers)

    layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=bias), *make(width), nn.ReLU()]
    for wide in (2 * width, 4 * width):
        layers += [conv(wide // 2, wide, 1 if down else 2), *make(wide), nn.ReLU()]
        layers += [Blur(wide, up=False)] if down else []
    wide = 4 * width
    layers += [block() for _ in range(blocks)]
    for half in (2 * width, width):
        if up:
            layers += [Blur(2 * half, up=True), conv(2 * half, half)]
        else:
            layers.append(nn.ConvTranspose2d(2 * half, half, 3, 2, 1, output_padding=1, bias=bias))
        layers += [*make(half), nn.ReLU()]
    layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
    return Named("model", nn.Sequential(*layers))


class Skip(nn.Module):
    """One level of the original's U-Net."""

    def __init__(self, layers: list[nn.Module], *, outermost: bool = False) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.outermost = outermost

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def unet(
    norm: str = "batch",
    *,
    downs: int = 5,
    channels: tuple[int, int] = (3, 3),
    dropout: bool = False,
    width: int = WIDTH,
) -> nn.Module:
    """The original's U-Net; its bias is on with instance norm only."""
    bias, make = norm in ("instance", "affine"), NORMS[norm]

    def down(inner: int, outer: int) -> nn.Module:
        return nn.Conv2d(inner, outer, 4, 2, 1, bias=bias)

    def up(inner: int, outer: int, *, bias: bool = bias) -> nn.Module:
        return nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)

    wide = 8 * width
    level = Skip([nn.LeakyReLU(0.2), down(wide, wide), nn.ReLU(), up(wide, wide), *make(wide)])
    sizes = [(wide, wide)] * (downs - 5) + [(c * width, 2 * c * width) for c in (4, 2, 1)]
    for number, (outer, inner) in enumerate(sizes):
        layers = [nn.LeakyReLU(0.2), down(outer, inner), *make(inner), level]
        layers += [nn.ReLU(), up(2 * inner, outer), *make(outer)]
        level = Skip(layers + ([nn.Dropout(0.5)] if dropout and number < downs - 5 else []))
    layers = [down(channels[0], width), level, nn.ReLU()]
    layers += [up(2 * width, channels[1], bias=True), nn.Tanh()]
    return Named("model", Skip(layers, outermost=True))


@torch.no_grad()
def scramble(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fill every parameter and statistic with its own numbers, and switch to eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not name.endswith(".filt"):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
        if name.endswith("num_batches_tracked"):
            buffer.fill_(7)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1 and name.endswith("weight"):
            parameter.add_(1.0)
    return network.eval()
