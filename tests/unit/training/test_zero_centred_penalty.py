"""The R1 penalty: by hand, with every kind of discriminator, and now and then."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core.discriminators.augment import NUM_DRAWS
from cyclegan_core.training.losses import discriminator_term, judge, zero_centred_penalty
from cyclegan_core.training.trainer import Trainer

from ..tiny import FEATURES, ByHand, make_batch, make_config, open_folders, train


def test_the_penalty_of_a_quadratic_verdict() -> None:
    real, weight = torch.rand(2, 3, 4, 4), torch.tensor(0.5, requires_grad=True)
    penalty = zero_centred_penalty(lambda x: weight * x.square().sum((1, 2, 3)), real)
    # The gradient is 2 w x, so the penalty is 4 w² ‖x‖², and its own gradient 8 w ‖x‖².
    norms = real.square().sum((1, 2, 3)).mean()
    assert_close(penalty, 4 * 0.25 * norms)
    penalty.backward()
    assert_close(weight.grad, 8 * 0.5 * norms)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"discriminator": "pixel"},
        {"gan_mode": "hinge", "disc_norm": "spectral", "precision": "bf16"},
        {**FEATURES, "discriminator": "patch_features", "augment_shift": 0.1},
    ],
    ids=["instance norm", "pixels", "spectral, bf16", "features"],
)
def test_it_is_half_the_squared_slope_of_the_mean_logit(settings) -> None:
    trainer = Trainer(make_config(**settings, lambda_r1=3.0), ByHand())
    config, disc = trainer.config, trainer.state.disc_b.double()
    real, fake = (picture.double() * 2 - 1 for picture in make_batch(1, side=32))
    draws, alpha = torch.rand(1, 3, NUM_DRAWS), torch.rand(1, 1, 1, 1)

    def term(r1: int) -> float:
        return float(discriminator_term(disc, config, real, fake, alpha, draws, r1=r1).detach())

    def verdict(images: torch.Tensor) -> torch.Tensor:
        seen = judge(disc, config, images, draws[:, 1])
        return torch.stack([weight * logits.mean() for weight, logits in seen]).sum()

    # The slope along the gradient is its norm: measured by a small step to either side.
    leaf = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(verdict(leaf), leaf)
    ahead = 1e-4 * gradient / gradient.norm()
    with torch.no_grad():
        slope = float(verdict(real + ahead) - verdict(real - ahead)) / 2e-4
    assert slope > 0
    assert term(1) - term(0) == pytest.approx(0.5 * 3.0 * slope**2, rel=1e-3)
    assert term(4) - term(0) == pytest.approx(4 * (term(1) - term(0)), rel=1e-6)


def test_every_nth_step_it_counts_n_times(tmp_path) -> None:
    data = open_folders(tmp_path / "d")
    rows = {
        every: train(make_config(lambda_r1=5.0, r1_every=every), data, until=2).history
        for every in (1, 2)
    }
    without = train(make_config(), data, until=1).history[0]
    names = train(make_config(), data, until=1).term_names
    for disc in ("disc_a", "disc_b"):
        column = names.index(disc)
        once = rows[1][0][column] - without[column]
        assert float(once) > 0
        assert_close(rows[2][0][column] - without[column], 2 * once, rtol=1e-2, atol=1e-5)
    assert torch.equal(rows[1][0][: names.index("disc_a")], without[: names.index("disc_a")])
