"""Winograd's convolution against the definition in float64, forwards and backwards."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclegan_core.device import winograd
from cyclegan_core.layers import WinogradConv2d

CHANNELS = 128
"""As many as make it worth while."""


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(*, padding: int = 0, bias: bool = True) -> WinogradConv2d:
    conv = WinogradConv2d(CHANNELS, CHANNELS, 3, padding=padding, bias=bias)
    with torch.no_grad():
        conv.weight.copy_(drawn(CHANNELS, CHANNELS, 3, 3) / (9 * CHANNELS) ** 0.5)
    return conv


def picture(height: int = 32, width: int = 28) -> torch.Tensor:
    return drawn(1, CHANNELS, height, width).contiguous(memory_format=torch.channels_last)


def relative(result: torch.Tensor, exact: torch.Tensor) -> float:
    result, exact = result.detach(), exact.detach()
    return float((result - exact).abs().max() / exact.abs().max())


@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 19),
    width=st.integers(1, 300),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    has_bias=st.booleans(),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_any_size_and_its_gradients(batch, height, width, channels, has_bias):
    x = drawn(batch, channels[0], height + 2, width + 2).double().requires_grad_()
    weight = drawn(channels[1], channels[0], 3, 3, seed=1).double().requires_grad_()
    bias = drawn(channels[1], seed=2).double().requires_grad_() if has_bias else None
    inputs = [x, weight, *([] if bias is None else [bias])]
    gradient = drawn(batch, channels[1], height, width, seed=3).double()
    ours, plain = winograd.convolve(x, weight, bias), F.conv2d(x, weight, bias)
    pairs = zip(
        (ours, *torch.autograd.grad(ours, inputs, gradient)),
        (plain, *torch.autograd.grad(plain, inputs, gradient)),
        strict=True,
    )
    assert max(relative(one, other) for one, other in pairs) < 1e-12


def test_float32_loses_little():
    """Of the largest output 6e-6, and of the gradients too; torch's own: 1e-6 to 2e-6."""
    conv, x = layer(), picture().requires_grad_()
    exact_x = x.detach().double().requires_grad_()
    exact_conv = copy.deepcopy(conv).double()
    ours, exact = conv(x), exact_conv(exact_x)
    gradient = drawn(*ours.shape, seed=5)
    ours.backward(gradient)
    exact.backward(gradient.double())
    pairs = [(ours, exact), (x.grad, exact_x.grad), (conv.weight.grad, exact_conv.weight.grad)]
    assert max(relative(one, other) for one, other in pairs) < 6e-6
    assert conv.bias.grad is not None


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_a_convolution(padding, bias):
    conv, x = layer(padding=padding, bias=bias), picture()
    exact = F.conv2d(x.double(), conv.weight.double(), padding=padding)
    if bias:
        exact += conv.bias.double()[:, None, None]
    with torch.no_grad():
        assert relative(conv(x), exact) < 6e-6


def test_where_it_stands():
    """It differs from torch's own in its last digits: on float32 of channels last, when wanted."""
    conv = layer()
    own = torch.nn.Conv2d.forward
    with torch.no_grad():
        x = picture()
        assert not torch.equal(conv(x), own(conv, x))
        small = x[:, :, :18, :18].contiguous(memory_format=torch.channels_last)
        for other in (x.contiguous(), small):
            assert torch.equal(conv(other), own(conv, other))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(conv(x), own(conv, x))
        conv.winograd = False
        assert torch.equal(conv(x), own(conv, x))


def test_what_is_kept_follows_the_weight():
    conv, x = layer(), picture()
    with torch.inference_mode():
        first = conv(x)
        assert torch.equal(conv(x), first)
        conv.weight.mul_(2)
        assert relative(conv(x), 2 * first - conv.bias[:, None, None]) < 1e-5
    assert conv._kept is not None
    assert copy.deepcopy(conv)._kept is None
    assert set(conv.state_dict()) == {"weight", "bias"}
    assert conv.double()._kept is None
