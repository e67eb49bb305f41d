"""Every loss against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core.training.losses import fooling_loss, gan_loss, gradient_penalty, l1

LOGITS = torch.tensor([[[[0.0, 2.0], [-1.0, 0.5]]]])

BY_HAND = {
    # Real: (1 + 1 + 4 + 0.25) / 4; fake: (0 + 4 + 1 + 0.25) / 4.
    ("lsgan", True): 1.5625,
    ("lsgan", False): 1.3125,
    # -log sigmoid(x) = log(1 + exp(-x)), and log(1 + exp(x)) for fakes.
    ("vanilla", True): sum(math.log1p(math.exp(-x)) for x in (0, 2, -1, 0.5)) / 4,
    ("vanilla", False): sum(math.log1p(math.exp(x)) for x in (0, 2, -1, 0.5)) / 4,
    # The mean of the logits is 0.375.
    # Missing to a margin of 1. Real: (1 + 0 + 2 + 0.5) / 4; fake: (1 + 3 + 0 + 1.5) / 4.
    ("hinge", True): 0.875,
    ("hinge", False): 1.375,
    ("wgangp", True): -0.375,
    ("wgangp", False): 0.375,
}


@pytest.mark.parametrize(("mode", "is_real"), BY_HAND)
def test_adversarial_loss(mode, is_real):
    loss = gan_loss(LOGITS, is_real=is_real, mode=mode)
    assert loss.shape == ()
    assert_close(float(loss), BY_HAND[mode, is_real], rtol=1e-6, atol=0)


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "wgangp", "hinge"])
def test_the_mean_is_over_batch_and_patches(mode):
    parts = [gan_loss(LOGITS + shift, is_real=True, mode=mode) for shift in (0.0, 1.0)]
    both = gan_loss(torch.cat([LOGITS, LOGITS + 1]), is_real=True, mode=mode)
    assert_close(both, sum(parts) / 2)


@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "wgangp", "hinge"])
def test_a_better_verdict_costs_less(mode):
    for is_real, better in ((True, 0.1), (False, -0.1)):
        logits = torch.zeros(1, 1, 2, 2)
        closer = gan_loss(logits + better, is_real=is_real, mode=mode)
        if mode == "lsgan" and not is_real:
            continue  # 0 is what it wants already
        assert closer < gan_loss(logits, is_real=is_real, mode=mode)


def test_fooling_is_the_verdict_real_but_for_the_margin_of_hinge():
    for mode in ("lsgan", "vanilla", "wgangp"):
        assert torch.equal(
            fooling_loss(LOGITS, mode=mode), gan_loss(LOGITS, is_real=True, mode=mode)
        )
    assert float(fooling_loss(LOGITS, mode="hinge")) == -0.375
    ahead = torch.full((1, 1, 1, 1), 9.0, requires_grad=True)
    fooling_loss(ahead, mode="hinge").backward()
    assert float(ahead.grad) == -1.0


def test_log_likelihood_is_finite_where_sigmoid_is_not():
    logits = torch.tensor([-1000.0, 1000.0])
    assert float(gan_loss(logits, is_real=True, mode="vanilla")) == 500.0


def test_penalty_of_a_linear_critic():
    """The gradient of w . x is w everywhere: (|w| - 1)^2, with |w| = 5."""
    slope = torch.zeros(3, 2, 2)
    slope[0, 0, 0], slope[2, 1, 1] = 3.0, 4.0
    real, fake = torch.rand(2, 2, 3, 2, 2)
    penalty = gradient_penalty(
        lambda x: (x * slope).sum((1, 2, 3)), real, fake, torch.rand(2, 1, 1, 1)
    )
    assert_close(float(penalty.detach()), 16.0)


def test_penalty_is_taken_between_real_and_fake():
    """Of x^2 / 2 the gradient is x itself, so the penalty shows where it was measured."""
    real, fake = torch.full((1, 1, 1, 1), 10.0), torch.full((1, 1, 1, 1), 2.0)
    for alpha, length in ((1.0, 10.0), (0.0, 2.0), (0.25, 4.0)):
        found = gradient_penalty(
            lambda x: x.square() / 2, real, fake, torch.full((1, 1, 1, 1), alpha)
        )
        assert_close(float(found.detach()), (length - 1) ** 2)


def test_penalty_is_a_mean_over_the_batch_of_each_pictures_own_length():
    real = torch.tensor([2.0, 4.0]).reshape(2, 1, 1, 1)
    found = gradient_penalty(lambda x: x.square() / 2, real, real, torch.zeros(2, 1, 1, 1))
    assert_close(float(found.detach()), ((2 - 1) ** 2 + (4 - 1) ** 2) / 2)


def test_penalty_teaches_the_critic_and_not_the_generator():
    scale = torch.tensor(3.0, requires_grad=True)
    fake = torch.ones(1, 1, 1, 1, requires_grad=True)
    gradient_penalty(lambda x: x * scale, fake * 2, fake, torch.rand(1, 1, 1, 1)).backward()
    assert_close(float(scale.grad), 2 * (3.0 - 1))  # d/ds (s - 1)^2
    assert fake.grad is None


def test_penalty_of_a_flat_critic_has_a_finite_gradient():
    weight = torch.zeros((), requires_grad=True)
    penalty = gradient_penalty(
        lambda x: x * weight,
        torch.ones(1, 3, 2, 2),
        torch.zeros(1, 3, 2, 2),
        torch.rand(1, 1, 1, 1),
    )
    penalty.backward()
    assert float(penalty.detach()) == 1.0
    assert torch.isfinite(weight.grad)


def test_l1_is_the_mean_difference():
    x = torch.tensor([1.0, -2.0, 0.5, 0.0])
    y = torch.tensor([0.0, 2.0, 0.5, -1.0])
    assert float(l1(x, y)) == 1.5
    assert float(l1(y, x)) == 1.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    """In bfloat16, 1 - 1/512 and 1 are the same number; their mean over many is not."""
    logits = torch.full((1, 1, 64, 64), 0.1, dtype=dtype)
    exact = (float(logits[0, 0, 0, 0]) - 1) ** 2
    for loss in (gan_loss(logits, is_real=True), l1(logits, torch.ones_like(logits)).square()):
        assert loss.dtype == torch.float32
        assert_close(float(loss), exact, rtol=1e-6, atol=0)


def test_double_precision_stays():
    assert gan_loss(LOGITS.double(), is_real=True).dtype == torch.float64
    assert l1(LOGITS.double(), LOGITS.double()).dtype == torch.float64
