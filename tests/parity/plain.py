"""CycleGAN a second time, as plainly as it can be written: the oracle of the parity tests.

Written from the notation of the papers (Zhu et al. 2017, "c7s1-64, d128, d256, R256 x N, u128,
u64, c7s1-3"; Isola et al. 2017, U-Net and PatchGAN), not from `cyclegan_core`. A network is a
function of a dict of tensors under the original implementation's keys. Float32, NCHW, one pass
per picture, nothing fused, dropout always off. The training step stands in `plain_training.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

Params = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Arch:
    """Sizes and variants; each network reads the fields that concern it."""

    in_channels: int = 3
    out_channels: int = 3
    width: int = 64
    num_blocks: int = 9
    num_downs: int = 8
    num_layers: int = 3
    norm: Literal["instance", "affine", "batch", "none"] = "instance"
    dropout: bool = False  # shifts the keys of a residual block; nothing is dropped here
    padding: Literal["reflect", "zero"] = "reflect"  # inside residual blocks
    down_padding: Literal["zero", "reflect"] = "zero"  # of the resnet's stride-2 convolutions
    downsample: Literal["strided", "blur"] = "strided"
    upsample: Literal["transposed", "resize", "bilinear"] = "transposed"


# --- layers ---------------------------------------------------------------------------------


def pad(x: Tensor, amount: int, mode: str) -> Tensor:
    """Rows and columns added on all four sides: mirrored without the border pixel, or zeros."""
    return F.pad(x, [amount] * 4, mode="reflect" if mode == "reflect" else "constant")


def conv(p: Params, key: str, x: Tensor, *, stride: int = 1) -> Tensor:
    """Convolution without padding; a bias is added where the layer has one."""
    return F.conv2d(x, p[f"{key}.weight"], p.get(f"{key}.bias"), stride=stride)


def each_channel(x: Tensor, taps: list[float]) -> tuple[Tensor, int]:
    """A separable filter for each channel on its own, as a convolution's weight and its groups."""
    line = torch.tensor(taps, dtype=x.dtype)
    return torch.outer(line, line).expand(x.shape[1], 1, -1, -1), x.shape[1]


def blur_down(x: Tensor) -> Tensor:
    """Halves both sides: blurred by (1,2,1)/4 (Zhang 2019, CUT), every second row and column."""
    weight, groups = each_channel(x, [0.25, 0.5, 0.25])
    return F.conv2d(pad(x, 1, "reflect"), weight, stride=2, groups=groups)


def blur_up(x: Tensor) -> Tensor:
    """Doubles both sides: zeros in between, blurred by (1,3,3,1)/4; the border is repeated."""
    weight, groups = each_channel(x, [0.25, 0.75, 0.75, 0.25])
    repeated = F.pad(x, [1] * 4, mode="replicate")
    enlarged = F.conv_transpose2d(repeated, weight, stride=2, padding=2, groups=groups)
    return enlarged[:, :, 1:-1, 1:-1]


def upsample(p: Params, key: str, x: Tensor, arch: Arch) -> Tensor:
    """Doubles both sides: transposed convolution (kernel 3 or 4), or a resize and a convolution."""
    weight, bias = p[f"{key}.weight"], p.get(f"{key}.bias")
    if arch.upsample == "bilinear":
        return F.conv2d(pad(blur_up(x), 1, "zero"), weight, bias)
    if arch.upsample == "resize":
        x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return F.conv2d(pad(x, 1, "zero"), weight, bias)
    extra = 1 if weight.shape[2] == 3 else 0
    return F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=extra)


def standardise(x: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + eps), eps = 1e-5 in every norm of the reference."""
    return (x - mean) / torch.sqrt(var + 1e-5)


def batch_norm(p: Params, key: str, x: Tensor, *, training: bool) -> Tensor:
    """Statistics over batch and pixels in training (then tracked, momentum 0.1), else running."""
    mean, var = p[f"{key}.running_mean"], p[f"{key}.running_var"]
    if training:
        batch_mean = x.mean((0, 2, 3))
        batch_var = ((x - batch_mean[:, None, None]) ** 2).mean((0, 2, 3))
        count = x.numel() / x.shape[1]
        with torch.no_grad():
            mean.copy_(0.9 * mean + 0.1 * batch_mean)
            var.copy_(0.9 * var + 0.1 * batch_var * count / (count - 1))
            p[f"{key}.num_batches_tracked"] += 1
        mean, var = batch_mean, batch_var
    return standardise(x, mean[:, None, None], var[:, None, None])


def norm(p: Params, key: str, x: Tensor, arch: Arch, *, training: bool) -> Tensor:
    """The norm of `arch`; instance norm has biased variance and no memory in either mode."""
    if arch.norm == "none":
        return x
    if arch.norm == "batch":
        x = batch_norm(p, key, x, training=training)
    else:
        mean = x.mean((2, 3), keepdim=True)
        x = standardise(x, mean, ((x - mean) ** 2).mean((2, 3), keepdim=True))
    if arch.norm == "instance":
        return x
    return x * p[f"{key}.weight"][:, None, None] + p[f"{key}.bias"][:, None, None]


# --- networks -------------------------------------------------------------------------------


def block_keys(arch: Arch) -> tuple[int, int]:
    """Places of the two convolutions in `conv_block`: padding and dropout layers take a place."""
    first = 1 if arch.padding == "reflect" else 0
    return first, first + 3 + first + (1 if arch.dropout else 0)


def resnet_generator(p: Params, x: Tensor, arch: Arch, *, training: bool = False) -> Tensor:
    """(B,C,H,W) -> (B,C',H,W) in [-1,1]."""

    def norm_relu(place: int, x: Tensor) -> Tensor:
        return torch.relu(norm(p, f"model.{place}", x, arch, training=training))

    x = norm_relu(2, conv(p, "model.1", pad(x, 3, "reflect")))  # c7s1-64
    stride = 1 if arch.downsample == "blur" else 2
    for place in (4, 7):  # d128, d256
        y = conv(p, f"model.{place}", pad(x, 1, arch.down_padding), stride=stride)
        x = norm_relu(place + 1, y)
        x = blur_down(x) if arch.downsample == "blur" else x
    first, second = block_keys(arch)
    for place in range(10, 10 + arch.num_blocks):  # R256
        key = f"model.{place}.conv_block"
        y = conv(p, f"{key}.{first}", pad(x, 1, arch.padding))
        y = torch.relu(norm(p, f"{key}.{first + 1}", y, arch, training=training))
        y = conv(p, f"{key}.{second}", pad(y, 1, arch.padding))
        x = x + norm(p, f"{key}.{second + 1}", y, arch, training=training)
    place = 10 + arch.num_blocks
    x = norm_relu(place + 1, upsample(p, f"model.{place}", x, arch))  # u128
    x = norm_relu(place + 4, upsample(p, f"model.{place + 3}", x, arch))  # u64
    return torch.tanh(conv(p, f"model.{place + 7}", pad(x, 3, "reflect")))  # c7s1-3


def unet_prefix(level: int) -> str:
    """Level 0 is the outermost; each one lies inside the one above, at `.1`, then at `.3`."""
    return "model.model" + ".1.model" * min(level, 1) + ".3.model" * max(level - 1, 0)


def unet_generator(p: Params, x: Tensor, arch: Arch, *, training: bool = False) -> Tensor:
    """(B,C,H,W) -> (B,C',H,W) in [-1,1]: an encoder, and a decoder that reads it level by level."""
    last = arch.num_downs - 1
    encoded = [conv(p, "model.model.0", pad(x, 1, "zero"), stride=2)]
    for level in range(1, arch.num_downs):
        key = unet_prefix(level)
        y = F.leaky_relu(encoded[-1], 0.2)
        y = conv(p, f"{key}.1", pad(y, 1, "zero"), stride=2)
        encoded.append(y if level == last else norm(p, f"{key}.2", y, arch, training=training))
    y = encoded[last]
    for level in range(last, 0, -1):
        key, place = unet_prefix(level), 3 if level == last else 5
        y = upsample(p, f"{key}.{place}", torch.relu(y), arch)
        y = norm(p, f"{key}.{place + 1}", y, arch, training=training)
        y = torch.cat([encoded[level - 1], y], dim=1)
    return torch.tanh(upsample(p, "model.model.3", torch.relu(y), arch))


def patch_discriminator(p: Params, x: Tensor, arch: Arch, *, training: bool = False) -> Tensor:
    """C64-C128-C256-C512, 4x4 filters, stride 1 in the last two -> (B,1,H',W') logits."""
    x = F.leaky_relu(conv(p, "model.0", pad(x, 1, "zero"), stride=2), 0.2)
    for layer in range(1, arch.num_layers + 1):
        place = 3 * layer - 1
        stride = 1 if layer == arch.num_layers else 2
        x = conv(p, f"model.{place}", pad(x, 1, "zero"), stride=stride)
        x = F.leaky_relu(norm(p, f"model.{place + 1}", x, arch, training=training), 0.2)
    return conv(p, f"model.{3 * arch.num_layers + 2}", pad(x, 1, "zero"))


def pixel_discriminator(p: Params, x: Tensor, arch: Arch, *, training: bool = False) -> Tensor:
    """Three 1x1 convolutions -> (B,1,H,W) logits."""
    x = F.leaky_relu(conv(p, "net.0", x), 0.2)
    x = conv(p, "net.2", x)
    x = F.leaky_relu(norm(p, "net.3", x, arch, training=training), 0.2)
    return conv(p, "net.5", x)


# --- random parameters ----------------------------------------------------------------------


class Maker:
    """Draws the tensors of a network, one layer at a time, in the order of the calls."""

    def __init__(self, arch: Arch, rng: torch.Generator, std: float | None) -> None:
        self.arch, self.rng, self.std, self.params = arch, rng, std, Params()

    def normal(self, *shape: int, mean: float = 0.0, std: float) -> Tensor:
        return mean + std * torch.randn(*shape, generator=self.rng)

    def conv(self, key: str, cin: int, cout: int, kernel: int, *, bias: bool = False) -> None:
        """Weights from N(0, std), or N(0, 2/fan-in) without one; a bias with instance norm."""
        std = self.std or (2 / (cin * kernel**2)) ** 0.5
        self.params[f"{key}.weight"] = self.normal(cout, cin, kernel, kernel, std=std)
        if bias or self.arch.norm in ("instance", "affine"):
            self.params[f"{key}.bias"] = self.normal(cout, std=std)

    def up(self, key: str, cin: int, cout: int, kernel: int, *, bias: bool = False) -> None:
        """As `conv`; a transposed convolution stores its input channels first."""
        is_resize = self.arch.upsample != "transposed"
        self.conv(key, cin, cout, 3 if is_resize else kernel, bias=bias)
        if not is_resize:
            weight = self.params[f"{key}.weight"]
            self.params[f"{key}.weight"] = weight.transpose(0, 1).contiguous()

    def norm(self, key: str, channels: int) -> None:
        """Random scale and shift where the norm has them, random statistics for batch norm."""
        if self.arch.norm in ("affine", "batch"):
            self.params[f"{key}.weight"] = self.normal(channels, mean=1.0, std=0.1)
            self.params[f"{key}.bias"] = self.normal(channels, std=0.1)
        if self.arch.norm == "batch":
            self.params[f"{key}.running_mean"] = self.normal(channels, std=0.1)
            self.params[f"{key}.running_var"] = self.normal(channels, mean=1.0, std=0.1).abs()
            self.params[f"{key}.num_batches_tracked"] = torch.tensor(0)


def resnet_params(arch: Arch, rng: torch.Generator, std: float | None = 0.02) -> Params:
    """Parameters of `resnet_generator`; `std=None` keeps the signal's size without a norm too."""
    make, width = Maker(arch, rng, std), arch.width
    make.conv("model.1", arch.in_channels, width, 7)
    make.norm("model.2", width)
    for place, channels in ((4, width), (7, 2 * width)):
        make.conv(f"model.{place}", channels, 2 * channels, 3)
        make.norm(f"model.{place + 1}", 2 * channels)
    for place in range(10, 10 + arch.num_blocks):
        for conv_place in block_keys(arch):
            make.conv(f"model.{place}.conv_block.{conv_place}", 4 * width, 4 * width, 3)
            make.norm(f"model.{place}.conv_block.{conv_place + 1}", 4 * width)
    end = 10 + arch.num_blocks
    for place, channels in ((end, 4 * width), (end + 3, 2 * width)):
        make.up(f"model.{place}", channels, channels // 2, 3)
        make.norm(f"model.{place + 1}", channels // 2)
    make.conv(f"model.{end + 7}", width, arch.out_channels, 7, bias=True)
    return make.params


def unet_params(arch: Arch, rng: torch.Generator, std: float | None = 0.02) -> Params:
    """Parameters of `unet_generator`."""
    make, last = Maker(arch, rng, std), arch.num_downs - 1
    widths = [arch.width * min(2**level, 8) for level in range(arch.num_downs)]
    make.conv("model.model.0", arch.in_channels, widths[0], 4)
    for level in range(1, arch.num_downs):
        make.conv(f"{unet_prefix(level)}.1", widths[level - 1], widths[level], 4)
        if level < last:
            make.norm(f"{unet_prefix(level)}.2", widths[level])
    for level in range(last, 0, -1):
        key, place = unet_prefix(level), 3 if level == last else 5
        cin = widths[level] * (1 if level == last else 2)
        make.up(f"{key}.{place}", cin, widths[level - 1], 4)
        make.norm(f"{key}.{place + 1}", widths[level - 1])
    make.up("model.model.3", 2 * widths[0], arch.out_channels, 4, bias=True)
    return make.params


def patch_params(arch: Arch, rng: torch.Generator, std: float | None = 0.02) -> Params:
    """Parameters of `patch_discriminator`."""
    make, channels = Maker(arch, rng, std), arch.width
    make.conv("model.0", arch.in_channels, channels, 4, bias=True)
    for layer in range(1, arch.num_layers + 1):
        wider = arch.width * min(2**layer, 8)
        make.conv(f"model.{3 * layer - 1}", channels, wider, 4)
        make.norm(f"model.{3 * layer}", wider)
        channels = wider
    make.conv(f"model.{3 * arch.num_layers + 2}", channels, 1, 4, bias=True)
    return make.params


def pixel_params(arch: Arch, rng: torch.Generator, std: float | None = 0.02) -> Params:
    """Parameters of `pixel_discriminator`; its last layer has no bias with batch norm either."""
    make, width = Maker(arch, rng, std), arch.width
    make.conv("net.0", arch.in_channels, width, 1, bias=True)
    make.conv("net.2", width, 2 * width, 1)
    make.norm("net.3", 2 * width)
    make.conv("net.5", 2 * width, 1, 1)
    return make.params
