"""The terms of CycleGAN's objective, as pure functions; scalars of at least float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from ..device.precision import at_least_float32

GanMode = Literal["lsgan", "vanilla", "wgangp"]


class Losses(NamedTuple):
    """One step's terms, as they enter the objectives (weights included); scalars on the device.

    The generators minimise the sum of the first six, the discriminators the sum of the last two.
    """

    gan_ab: Tensor
    """disc_b on fake_b = gen_ab(real_a)."""
    gan_ba: Tensor
    """disc_a on fake_a = gen_ba(real_b)."""
    cycle_a: Tensor
    """λ_A |gen_ba(fake_b) − real_a|₁, the forward cycle (eq. 2)."""
    cycle_b: Tensor
    """λ_B |gen_ab(fake_a) − real_b|₁, the backward cycle (eq. 2)."""
    identity_a: Tensor
    """λ_A λ_idt |gen_ba(real_a) − real_a|₁ (section 5.2)."""
    identity_b: Tensor
    """λ_B λ_idt |gen_ab(real_b) − real_b|₁ (section 5.2)."""
    disc_a: Tensor
    """Half the sum of disc_a's losses on real_a and on pooled fake_a."""
    disc_b: Tensor
    """Half the sum of disc_b's losses on real_b and on pooled fake_b."""


def gan_loss(logits: Tensor, *, is_real: bool, mode: GanMode = "lsgan") -> Tensor:
    """How far logits (B,1,H,W) are from the verdict `is_real`.

    lsgan: least squares (Mao et al. 2017); vanilla: negative log likelihood (Goodfellow et al.
    2014); wgangp: the critic's mean (Arjovsky et al. 2017), which wants `gradient_penalty` too.
    """
    logits = at_least_float32(logits)
    if mode == "lsgan":
        return (logits - float(is_real)).square().mean()
    if mode == "vanilla":
        target = torch.full_like(logits, float(is_real))
        return F.binary_cross_entropy_with_logits(logits, target)
    return -logits.mean() if is_real else logits.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor
) -> Tensor:
    """Mean of (‖∇ critic(x)‖₂ − 1)² at x = α real + (1−α) fake (Gulrajani et al. 2017, eq. 3).

    Args:
        critic: (B,C,H,W) -> logits, of which the sum per picture is taken.
        real: (B,C,H,W).
        fake: like `real`.
        alpha: (B,1,1,1) in [0,1].
    """
    mixed = (alpha * real + (1 - alpha) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        at_least_float32(critic(mixed)).sum(), mixed, create_graph=True
    )
    return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of the same shape: cycle and identity terms."""
    return (at_least_float32(x) - at_least_float32(y)).abs().mean()
