"""Norms and padding in every dtype and memory layout, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.testing import assert_close

from cyclegan_core.config import ModelConfig
from cyclegan_core.layers import InstanceNorm, ReflectionPad
from cyclegan_core.networks import ResnetGenerator

LAYOUTS = {"nchw": torch.contiguous_format, "channels last": torch.channels_last}


def filled(layer: InstanceNorm) -> InstanceNorm:
    """With a scale and a shift that matter."""
    if layer.affine:
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(0.5, 2, len(layer.weight)))
            layer.bias.copy_(torch.linspace(-1, 1, len(layer.bias)))
    return layer


def exact(x: torch.Tensor, layer: InstanceNorm) -> torch.Tensor:
    """By the definition, in double precision."""
    x = x.double()
    normed = (x - x.mean((2, 3), keepdim=True)) / (
        x.var((2, 3), correction=0, keepdim=True) + layer.eps
    ).sqrt()
    if layer.affine:
        normed = normed * layer.weight[:, None, None] + layer.bias[:, None, None]
    return normed


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("layout_of_gradient", LAYOUTS)
def test_instance_norm(dtype, size, affine, layout, layout_of_gradient):
    torch.manual_seed(0)
    kind = torch.promote_types(dtype, torch.float32)
    layer, ideal = (filled(InstanceNorm(4, affine=affine).to(t)) for t in (kind, torch.float64))
    x = (3 + 2 * torch.randn(size, 4, 6, 5)).to(dtype).contiguous(memory_format=LAYOUTS[layout])
    gradient = torch.randn(x.shape).to(dtype)
    gradient = gradient.contiguous(memory_format=LAYOUTS[layout_of_gradient])
    if (layout, layout_of_gradient, size) == ("nchw", "channels last", 1):
        gradient = gradient.contiguous()  # torch's own is wrong there, see _ChannelsLastNorm
    ours, wanted = x.clone().requires_grad_(), x.double().requires_grad_()
    result, definition = layer(ours), exact(wanted, ideal)
    result.backward(gradient)
    definition.backward(gradient.double())
    assert (result.dtype, result.stride()) == (dtype, x.stride())
    eps = torch.finfo(dtype).eps
    # A rounding of numbers below 8 at the end; gradients are sums of some, and double sums too.
    assert_close(result.double(), definition, rtol=0, atol=8 * eps)
    assert_close(ours.grad.double(), wanted.grad, rtol=0, atol=16 * eps)
    if affine:
        for name in ("weight", "bias"):
            mine, theirs = getattr(layer, name).grad, getattr(ideal, name).grad
            assert_close(mine.double(), theirs, rtol=0, atol=64 * eps)


@pytest.mark.parametrize("affine", [False, True])
def test_the_gradient_of_the_gradient(affine):
    """The gradient penalty's, by finite differences."""
    torch.manual_seed(0)
    layer = filled(InstanceNorm(3, affine=affine).double())
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    assert torch.autograd.gradcheck(layer, x.requires_grad_())
    assert torch.autograd.gradgradcheck(layer, x)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"padding": "zero"}, {"norm_affine": True}])
def test_a_generators_gradients_do_not_depend_on_the_layout(size, settings):
    torch.manual_seed(0)
    network = ResnetGenerator(ModelConfig(base_channels=4, num_blocks=1, **settings)).double()
    x = torch.rand(size, 3, 16, 16, dtype=torch.float64)
    found = []
    for layout in LAYOUTS.values():
        network.to(memory_format=layout).zero_grad()
        result = network(x)
        result.square().sum().backward()
        found.append([result, *(weight.grad for weight in network.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_padding_keeps_the_dtype_under_autocast(dtype):
    x = torch.rand(1, 2, 5, 4).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        result = ReflectionPad(2)(x)
    assert result.dtype == dtype
    assert torch.equal(result, F.pad(x, (2, 2, 2, 2), mode="reflect"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shapes_can_be_had_without_arithmetic(layout):
    network = ResnetGenerator(ModelConfig(base_channels=4, num_blocks=1)).to("meta")
    x = torch.empty(2, 3, 16, 24, device="meta").contiguous(memory_format=LAYOUTS[layout])
    assert network(x).shape == (2, 3, 16, 24)


@pytest.mark.parametrize("size", [(256, 256), (301, 77), (3, 5000), (1, 2**16 + 1)])
@pytest.mark.parametrize("in_place", [False, True])
def test_large_pictures_are_exact_in_either_layout(size, in_place):
    """Torch's own batch norm is wrong by 3e-5 at 256x256, and by 1e-3 at 1024x1024."""
    torch.manual_seed(0)
    layer = filled(InstanceNorm(8, affine=True))
    layer.in_place = in_place
    x = 1 + 2 * torch.randn(2, 8, *size)
    definition = exact(x.double(), filled(InstanceNorm(8, affine=True).double()))
    for layout in LAYOUTS.values():
        with torch.no_grad():
            result = layer(x.clone(memory_format=layout))
        # Numbers below 12: a rounding each of the statistics, the scale, the product, the sum.
        assert_close(result.double(), definition, rtol=0, atol=4e-6)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_in_place_only_where_no_gradient_needs_the_input(dtype, affine):
    torch.manual_seed(0)
    layer = filled(InstanceNorm(4, affine=affine))
    layer.in_place = True
    x = torch.randn(2, 4, 6, 5).to(dtype).contiguous(memory_format=torch.channels_last)
    kept = x.clone()
    result = layer(x)
    assert torch.equal(x, kept)
    with torch.no_grad():
        overwritten = layer(x)
    assert overwritten.data_ptr() == x.data_ptr()
    # Other roundings in the same formula; in half precision the last one decides.
    assert_close(overwritten, result, rtol=0, atol=max(2e-6, 4 * torch.finfo(dtype).eps))


def test_half_precision_weights_shift_no_channel():
    """Scale and shift are float32 all the same: rounded, they would move a channel by 5e-2."""
    torch.manual_seed(0)
    layer = filled(InstanceNorm(4, affine=True)).to(torch.bfloat16)
    layer.in_place = True
    x = (10 + torch.randn(1, 4, 64, 64)).bfloat16().contiguous(memory_format=torch.channels_last)
    definition = exact(x, layer.double())
    with torch.no_grad():
        result = layer.bfloat16()(x)
    shifts = (result.double() - definition).mean((0, 2, 3))
    assert_close(shifts, torch.zeros(4).double(), rtol=0, atol=1e-3)
