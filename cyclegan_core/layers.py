"""The layers that networks are made of, where torch's own are slow, inexact, or not there.

Norms and padding stay in half precision, with float32 statistics, in any memory layout; the
parameters of all are those of torch's classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from .device.precision import HALVES, at_least_float32
from .device.winograd import convolve, transformed

_FIRST_ITERATIONS = 15
"""Of the power iteration for a fresh weight; later the vector only has to follow."""

_FEWEST_CHANNELS = 128
"""From which on Winograd's convolution gains: with 64 it takes as long as torch's."""

_FEWEST_TILES = 48
"""Of 4x4 outputs; with fewer, transforming the weights takes what the products save."""

_MOST_NARROW = 4
"""Channels up to which a convolution is narrow."""

_KEEP_PIXELS = 2**14
"""Pixels of feature maps from which on a weight is transformed for each call: 2 % of the time."""

_WORD = 16
"""Bytes that a GPU moves at once."""

_FEW_PIXELS = 2**17
"""Pixels of feature maps below which a GPU waits for Python."""

_BLOCK_PIXELS = 2**10
"""Pixels that `_moments` adds up at once: exact to 1e-6 in float32; 256 channels fit a cache."""


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm (Ulyanov et al. 2016) whose statistics are float32 at any input dtype."""

    in_place = False
    """Whether the result may overwrite the input where no gradient needs it, as `nn.ReLU`'s."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> same shape and dtype."""
        if is_channels_last(input):
            if self.in_place and not torch.is_grad_enabled() and _is_eager_on_cpu(input):
                return _norm_in_place(input, *self._scale(input), self.eps)
            if _is_read_only_on_gpu(input):
                return _norm_on_gpu(input, self.weight, self.bias, self.eps)
            return cast(Tensor, _ChannelsLastNorm.apply(input, *self._scale(input), self.eps))
        is_half = input.dtype in HALVES and input.device.type == "cpu"
        if is_half and not torch.compiler.is_compiling():
            # Torch reads half precision and computes in float32, at a third of the cost of a
            # widened copy; only without float32 weights would it round the statistics too.
            weight, bias = self._scale(input)
            return F.instance_norm(input, weight=weight, bias=bias, eps=self.eps)
        return super().forward(at_least_float32(input)).to(input.dtype)

    def _scale(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight and bias, (C,) of at least float32; without any, those that change nothing."""
        if self.affine:
            return at_least_float32(self.weight), at_least_float32(self.bias)
        ones = torch.ones(x.shape[1], dtype=at_least_float32(x[:0]).dtype, device=x.device)
        return ones, torch.zeros_like(ones)


StatisticsRule = Callable[[str, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(a norm's name, mean and variance (C,) of the map it was given) -> those to norm it with."""


class RuledNorm(InstanceNorm):
    """Instance norm of one picture, in eval mode, by the statistics that a rule makes of its own.

    It shares the parameters of the norm whose place it takes.
    """

    def __init__(self, norm: nn.InstanceNorm2d, name: str, rule: StatisticsRule) -> None:
        """`name` is what the rule knows the norm by."""
        super().__init__(norm.num_features, norm.eps, affine=norm.affine)
        self.weight, self.bias = norm.weight, norm.bias
        self.name, self.rule = name, rule

    def forward(self, input: Tensor) -> Tensor:
        """(1,C,H,W) -> same shape and dtype; exact float32 on a CPU overwrites its input."""
        weight, bias = self._scale(input)
        if input.device.type == "cpu" and is_channels_last(input):
            found = _moments(input, weight)
        else:
            variance, mean = torch.var_mean(at_least_float32(input), (0, 2, 3), correction=0)
            found = mean, variance
        mean, variance = self.rule(self.name, *found)
        if is_channels_last(input) and input.dtype not in HALVES and _is_eager_on_cpu(input):
            return _scale_in_place(input, mean, variance, weight, bias, self.eps)
        wide = at_least_float32(input)
        mean, variance, weight, bias = (part.to(wide) for part in (mean, variance, weight, bias))
        return F.batch_norm(wide, mean, variance, weight, bias, eps=self.eps).to(input.dtype)


def fixed_norm(norm: nn.InstanceNorm2d, mean: Tensor, variance: Tensor) -> BatchNorm:
    """What `norm` does to every map if these, (C,) each, are the statistics of all of them.

    That is a batch norm in eval mode, with the norm's own parameters.
    """
    fixed = BatchNorm(norm.num_features, norm.eps, affine=norm.affine, device=mean.device)
    fixed.running_mean, fixed.running_var = mean, variance
    fixed.weight, fixed.bias = norm.weight, norm.bias
    return fixed.eval()


class BatchNorm(nn.BatchNorm2d):
    """Batch norm (Ioffe & Szegedy 2015) computed in float32 when its input is narrower."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> same shape and dtype."""
        return super().forward(at_least_float32(input)).to(input.dtype)


class ReflectionPad(nn.ReflectionPad2d):
    """Reflection padding in the input's own dtype and layout.

    Autocast on the CPU would widen it, and torch's kernels for GPUs turn channels-last maps over
    twice: for the convolution before, and for the one behind.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H+2p,W+2p)."""
        left, right, top, bottom = self.padding
        is_possible = max(left, right) < input.shape[3] and max(top, bottom) < input.shape[2]
        is_gpu = input.device.type == "cuda" and not torch.compiler.is_compiling()
        if is_gpu and is_possible and is_channels_last(input):
            return _pad_channels_last(input, self.padding)
        if input.device.type != "cpu":
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input)


class ResizeConv2d(nn.Conv2d):
    """Resize by 2, then a 3x3 convolution: upsampling without checkerboard (Odena 2016).

    It stands where the transposed convolution would, so both kinds share their key names. The
    bilinear resize is the blur (1,3,3,1) of Zhang 2019 with the border repeated, as CUT has it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool,
        mode: Literal["nearest", "bilinear"] = "nearest",
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1, bias=bias)
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C',2H,2W)."""
        return super().forward(F.interpolate(input, scale_factor=2.0, mode=self.mode))


class ReLUBlurPool(nn.Module):
    """ReLU, then every second pixel of the map blurred by (1,2,1)/4 (Zhang 2019), mirrored outside.

    It stands where the ReLU would, so that the layers after it keep their key names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pad = ReflectionPad(1)

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) of even H and W -> (B,C,H/2,W/2); the input is overwritten where it may be."""
        return blur_pool(self.pad(F.relu(input, inplace=True)))


def blur_pool(padded: Tensor) -> Tensor:
    """(B,C,2h+1 or 2h+2,2w+1 or 2w+2) -> (B,C,h,w): means of 2x2 of means of 2x2 are that blur."""
    return F.avg_pool2d(F.avg_pool2d(padded, 2, stride=1), 2)


class SpectralConv2d(nn.Conv2d):
    """A convolution whose weight is divided by its largest singular value (Miyato et al. 2018).

    The value is ‖Wᵀu‖ of the weight W (outputs x the rest), whose gradient is the paper's u vᵀ;
    u is a buffer that one iteration per training step moves, see `follow_weight`, and no forward
    pass: so a batch in parts, or two passes instead of one, see the same network.
    """

    left: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        """A kernel of `size` x `size` numbers; its weight begins as torch draws it."""
        super().__init__(in_channels, out_channels, size, stride=stride, padding=padding)
        self.register_buffer("left", F.normalize(torch.randn(out_channels), dim=0))
        for _ in range(_FIRST_ITERATIONS):
            self.follow_weight(skip=torch.tensor(False))

    @torch.no_grad()
    def follow_weight(self, *, skip: Tensor) -> None:
        """One step of the power iteration, u ← W Wᵀ u / ‖W Wᵀ u‖, unless `skip`, a boolean."""
        weight = self.weight.flatten(1)
        moved = F.normalize(torch.mv(weight, torch.mv(weight.T, self.left)), dim=0)
        self.left.copy_(torch.where(skip, self.left, moved))

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C',H',W')."""
        # Elementwise and sums, which autocast leaves in float32.
        weighted = self.weight * self.left[:, None, None, None]
        largest = weighted.sum(0).square().sum().sqrt()
        return self._conv_forward(input, self.weight / largest, self.bias)


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 1 whose multiplications are a quarter where a CPU gains by it.

    That is in float32, with many channels; elsewhere it is torch's own. See `winograd`.
    """

    winograd = True
    """Whether to use it where it gains."""

    _kept: tuple[Tensor, Tensor] | None = None
    """The weight that was transformed last, and what it became."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C',H',W'), H' = H - 2 without padding, else H."""
        if not self.winograd or not gains_by_winograd(input, self.weight):
            return super().forward(input)
        if self.padding[0]:
            input = F.pad(input, (1, 1, 1, 1))
        is_small = input.shape[0] * input.shape[2] * input.shape[3] < _KEEP_PIXELS
        kernel = None if torch.is_grad_enabled() or not is_small else self._kernel()
        return convolve(input, self.weight, self.bias, kernel)

    def _kernel(self) -> Tensor:
        """The transformed weight, kept from call to call for as long as the weight is the same.

        What that is, no number tells: weights of inference mode have no version. So it is compared
        with a copy, which takes a twentieth of the time of transforming it.
        """
        if self._kept is None or not torch.equal(self._kept[0], self.weight):
            weight = self.weight.detach()
            self._kept = weight.clone(), transformed(weight)
        return self._kept[1]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> WinogradConv2d:  # noqa: FBT001, FBT002 - torch's own
        """Forget what is kept when the weight moves or changes its dtype."""
        self._kept = None
        return super()._apply(fn, recurse)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles begin without what is kept."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}


class NarrowConv2d(nn.Conv2d):
    """A convolution to few channels, see `narrow_convolution`, where no gradient is wanted."""

    def forward(self, input: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C',H-k+1,W-k+1)."""
        if torch.is_grad_enabled() or not gains_when_narrow(input, self.weight):
            return super().forward(input)
        return narrow_convolution(input, self.weight, cast(Tensor, self.bias))


def narrow_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution to few channels, which CPUs and GPUs pad to 8 or 16: 7x7 to 3 wastes most.

    As a 7x1 convolution to 7 times the channels and a sum of 7 shifted maps, in float32 at least,
    it takes half the time.

    Args:
        x: (B,C,H,W).
        weight: (C',C,k,k).
        bias: (C',).

    Returns:
        (B,C',H-k+1,W-k+1) in float32 at least: half precision has no step as fine as a pixel's.
    """
    size = weight.shape[3]
    columns = weight.permute(3, 0, 1, 2).flatten(0, 1).unsqueeze(3)
    maps = F.conv2d(x, columns).unflatten(1, (size, -1)).unbind(1)
    width = x.shape[3] - size + 1
    output = at_least_float32(maps[0][..., :width]) + bias[:, None, None]
    for shift in range(1, size):
        output += maps[shift][..., shift : shift + width]
    return output


def _pad_channels_last(x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """Reflection padding, (left, right, top, bottom) as torch has it, of channels-last maps."""
    if torch.is_grad_enabled() and x.requires_grad:
        return cast(Tensor, _ChannelsLastPad.apply(x, padding))
    left, right, top, bottom = padding
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1)
    # Looked up in any case: what is copied to a GPU while a graph is recorded would end that.
    rows = _mirrored(height, top, bottom, x.device)
    columns = _mirrored(width, left, right, x.device)
    # A graph goes on reading the indices that it was recorded with, so only those that stay.
    is_small = batch == 1 and height * width < _FEW_PIXELS
    if is_small and not torch.cuda.is_current_stream_capturing():  # the quickest to say
        index = _mirrored_pixels((height, width), padding, x.device)
        found = pixels.reshape(-1, channels).index_select(0, index)
        padded = found.view(1, len(rows), len(columns), channels)
    else:  # the quickest to do
        padded = _in_words(pixels)[:, rows[:, None], columns].view(x.dtype)
    return padded.permute(0, 3, 1, 2)


def _in_words(pixels: Tensor) -> Tensor:
    """(B,H,W,C) in numbers of as many bytes as a GPU can move at once, if they lie so."""
    numbers = (pixels.storage_offset(), pixels.shape[3], *pixels.stride()[:3])
    places = (pixels.data_ptr(), *(number * pixels.element_size() for number in numbers))
    return pixels if any(place % _WORD for place in places) else pixels.view(torch.complex128)


class _ChannelsLastPad(torch.autograd.Function):
    """`_pad_channels_last` with its gradient: torch's own for indices would add one by one."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch has no type for it
        x: Tensor,
        padding: tuple[int, int, int, int],
    ) -> Tensor:
        """(B,C,H,W) -> (B,C,H',W')."""
        ctx.padding = padding
        return _pad_channels_last(x, padding)  # without gradients, as ever in here

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """What lies outside is added where it came from, in the same order every time."""
        left, right, top, bottom = ctx.padding
        return _folded(_folded(gradients[0], 2, top, bottom), 3, left, right), None


@cache
def _mirrored(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """Which of `size` rows a padded map has, one after the other; some kilobytes that stay."""
    return _kept_on(device, _mirrored_rows(size, before, after))


@lru_cache(maxsize=16)
def _mirrored_pixels(
    size: tuple[int, int], padding: tuple[int, int, int, int], device: torch.device
) -> Tensor:
    """Which pixels of a map, counted row by row, its padded one has."""
    left, right, top, bottom = padding
    rows, columns = _mirrored_rows(size[0], top, bottom), _mirrored_rows(size[1], left, right)
    return _kept_on(device, (rows[:, None] * size[1] + columns).flatten())


def _mirrored_rows(size: int, before: int, after: int) -> Tensor:
    """Which of `size` rows a padded map has, on the CPU."""
    inside = range(size)
    return torch.tensor([*inside[before:0:-1], *inside, *inside[-2 : -2 - after : -1]])


def _kept_on(device: torch.device, indices: Tensor) -> Tensor:
    """Indices for any call and thread: copied to the end, and no tensor of inference mode."""
    with torch.inference_mode(mode=False):
        return indices.to(device, copy=True)


def _folded(padded: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Add what lies outside along an axis to the rows that it mirrors."""
    size = padded.shape[axis] - before - after
    inside = padded.narrow(axis, before, size).clone(memory_format=torch.channels_last)
    inside.narrow(axis, 1, before).add_(padded.narrow(axis, 0, before).flip(axis))
    end = padded.narrow(axis, before + size, after).flip(axis)
    inside.narrow(axis, size - 1 - after, after).add_(end)
    return inside


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


def _norm_on_gpu(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Norm channels-last pictures, without a gradient and all that is kept for it."""
    normed = [
        torch.native_batch_norm(
            picture, weight, bias, None, None, training=True, momentum=0.0, eps=eps
        )[0]
        for picture in x.split(1)
    ]
    return torch.cat(normed) if len(normed) > 1 else normed[0]


def _norm_in_place(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Norm pictures where they are: memory just read is written quicker than new memory."""
    for picture in x.split(1):
        _scale_in_place(picture, *_moments(picture, weight), weight, bias, eps)
    return x


def scale_half_in_place(x: Tensor, scale: Tensor, shift: Tensor) -> None:
    """Make x * scale + shift of (1,C,H,W) in half precision, rounded once; (C,) float32, on a CPU.

    It is a batch norm with a mean of 0 and a variance of 1, which alone multiplies numbers of two
    precisions in one pass.
    """
    zeros, ones, unused = torch.zeros_like(scale), torch.ones_like(scale), scale[:0]
    torch.native_batch_norm(
        *(x, scale, shift, zeros, ones),
        training=False,
        momentum=0.0,
        eps=0.0,
        out=(x, unused.clone(), unused.clone()),
    )


def _scale_in_place(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> Tensor:
    """Norm (1,C,H,W) where it is, by statistics (C,)."""
    scale = weight * (variance + eps).rsqrt()
    shift = bias - mean * scale
    if x.dtype in HALVES:
        scale_half_in_place(x, scale.float(), shift.float())
        return x
    scale, shift = (part.to(x.dtype).view(1, -1, 1, 1) for part in (scale, shift))
    return torch.addcmul(shift, x, scale, out=x)


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
    """Compute the gradients in operations that have gradients, as the gradient penalty needs."""
    axes = (2, 3)
    variance, mean = torch.var_mean(at_least_float32(x), axes, correction=0, keepdim=True)
    inverse_std = (variance + eps).rsqrt()
    normed = (x - mean) * inverse_std
    scaled = gradient * weight[:, None, None]
    pulled = scaled - scaled.mean(axes, keepdim=True)
    pulled = pulled - normed * (scaled * normed).mean(axes, keepdim=True)
    of_x = (pulled * inverse_std).to(x.dtype)
    return of_x, (gradient * normed).sum((0, 2, 3)), gradient.sum((0, 2, 3)).to(weight.dtype)


def _is_eager_on_cpu(x: Tensor) -> bool:
    """Whether a CPU computes what no compiler makes, which does better than what is done here."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _is_read_only_on_gpu(x: Tensor) -> bool:
    """Whether a GPU computes and no gradient is wanted; what is compiled goes the common way."""
    is_alone = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return is_alone and x.device.type == "cuda"


def is_channels_last(x: Tensor) -> bool:
    """Whether a pixel's channels lie together, and its neighbours' do not."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def has_winograd(network: nn.Module) -> bool:
    """Whether any convolution of `network` is wide enough to gain by Winograd's."""
    return any(
        isinstance(layer, WinogradConv2d) and min(layer.weight.shape[:2]) >= _FEWEST_CHANNELS
        for layer in network.modules()
    )


def gains_by_winograd(x: Tensor, weight: Tensor) -> bool:
    """Whether that was measured to be quicker: enough channels, and tiles for the products."""
    tiles = x.shape[0] * (x.shape[2] // 4) * (x.shape[3] // 4)
    is_large = min(weight.shape[:2]) >= _FEWEST_CHANNELS and tiles >= _FEWEST_TILES
    return is_large and _is_quick_place(x)


def gains_when_narrow(x: Tensor, weight: Tensor) -> bool:
    """Whether `narrow_convolution` was measured to be quicker: half the time or less."""
    is_large = x.shape[2] * x.shape[3] >= _FEW_PIXELS  # nine kernels instead of one or two
    is_quick = _is_eager_on_cpu(x) or (is_large and _is_read_only_on_gpu(x))
    has_type = x.dtype in (torch.float32, torch.bfloat16, torch.float16)
    return weight.shape[0] <= _MOST_NARROW and is_quick and has_type and is_channels_last(x)


def _is_quick_place(x: Tensor) -> bool:
    """Whether our own convolutions were measured so: channels-last float32 on a CPU."""
    is_float = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    is_quick = is_float and x.device.type == "cpu" and is_channels_last(x)
    return is_quick and not torch.compiler.is_compiling()
