"""Three training steps equal the plain implementation: every loss term and every parameter."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from cyclegan_core.config import ModelConfig, TrainConfig
from cyclegan_core.losses import Losses
from cyclegan_core.trainer import Trainer

from .plain import Arch
from .plain_training import ImagePool, make_state, plain_step

pytestmark = pytest.mark.parity

CONFIGS = {
    "paper": {},
    "no identity": {"lambda_identity": 0.0},
    "likelihood": {"gan_mode": "vanilla"},
    "wasserstein": {"gan_mode": "wgangp", "lambda_penalty": 5.0},
    "weights": {"lambda_a": 7.0, "lambda_b": 3.0},
    "tiny pool": {"pool_size": 1},
    "no pool": {"pool_size": 0},
    "batch of 2": {"batch_size": 2},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_three_steps(name):
    model = ModelConfig(base_channels=8, num_blocks=2, image_size=32)
    config = TrainConfig(model=model, disc_channels=8, disc_layers=2, seed=5, **CONFIGS[name])
    data = SimpleNamespace(digest="", __len__=lambda: 1)
    trainer = Trainer(config, _Data())
    state = _plain_state(trainer, config)
    numbers = torch.Generator().manual_seed(1)
    for step in range(3):
        real_a = torch.rand(config.batch_size, 3, 32, 32, generator=numbers)
        real_b = torch.rand(config.batch_size, 3, 32, 32, generator=numbers)
        with trainer._step_rng() as rng:
            state.penalty_rng.set_state(rng.get_state())
        ours = trainer.train_step(real_a, real_b)
        theirs = plain_step(state, real_a * 2 - 1, real_b * 2 - 1)
        for term in Losses._fields:
            # float32 sums in another order, amplified by Adam's division over the steps.
            assert_close(
                getattr(ours, term), theirs[term], rtol=1e-5, atol=1e-5, msg=f"{term} {step}"
            )
    _assert_same_weights(trainer, state)
    assert trainer.pool_rng.getstate() == state.pool_a.rng.getstate()


class _Data:
    """Only what a trainer asks of its data when it is stepped by hand."""

    digest = "by hand"

    def __len__(self):
        return 1000


def _plain_state(trainer: Trainer, config: TrainConfig):
    rng = random.Random()
    rng.setstate(trainer.pool_rng.getstate())
    networks = {
        "gen_ab": trainer.model.gen_ab,
        "gen_ba": trainer.model.gen_ba,
        "disc_a": trainer.disc_a,
        "disc_b": trainer.disc_b,
    }
    return make_state(
        {name: network.state_dict() for name, network in networks.items()},
        generator=Arch(num_blocks=2),
        discriminator=Arch(num_layers=2),
        pools=(ImagePool(config.pool_size, rng), ImagePool(config.pool_size, rng)),
        gan_mode=config.gan_mode,
        lambda_a=config.lambda_a,
        lambda_b=config.lambda_b,
        lambda_identity=config.lambda_identity,
        lambda_penalty=config.lambda_penalty,
    )


def _assert_same_weights(trainer: Trainer, state) -> None:
    pairs: list[tuple[str, Tensor, Tensor]] = []
    for name, network in (
        ("gen_ab", trainer.model.gen_ab),
        ("gen_ba", trainer.model.gen_ba),
        ("disc_a", trainer.disc_a),
        ("disc_b", trainer.disc_b),
    ):
        params = getattr(state, name)
        pairs += [(f"{name}.{key}", t, params[key]) for key, t in network.state_dict().items()]
    for name, ours, theirs in pairs:
        assert_close(ours, theirs.detach(), rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
