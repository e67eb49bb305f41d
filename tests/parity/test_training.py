"""Three training steps equal the plain implementation: every loss term and every parameter."""

from __future__ import annotations

import random

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core.config import DataConfig, ModelConfig, TrainConfig
from cyclegan_core.training.losses import Losses, by_name
from cyclegan_core.training.trainer import Trainer

from .plain import Arch
from .plain_training import ImagePool, PlainState, make_state, plain_step

pytestmark = pytest.mark.parity

CONFIGS = {
    "paper": {},
    "no identity": {"lambda_identity": 0.0},
    "likelihood": {"gan_mode": "vanilla"},
    "wasserstein": {"gan_mode": "wgangp", "lambda_penalty": 1.0},
    "weights": {"lambda_a": 7.0, "lambda_b": 3.0},
    "tiny pool": {"pool_size": 1},
    "no pool": {"pool_size": 0},
    "batch of 2": {"batch_size": 2},
}
NETWORKS = ("gen_ab", "gen_ba", "disc_a", "disc_b")


class Data:
    """Only what a trainer asks of its data when it is stepped by hand."""

    digest = "by hand"
    config = DataConfig()

    def __len__(self):
        return 1000


def networks(trainer: Trainer) -> dict[str, torch.nn.Module]:
    model = trainer.model
    return dict(
        zip(
            NETWORKS,
            (model.gen_ab, model.gen_ba, trainer.state.disc_a, trainer.state.disc_b),
            strict=True,
        )
    )


def pair(settings: dict, dtype: torch.dtype) -> tuple[Trainer, PlainState]:
    """Ours and the plain one, with equal weights and equal random numbers."""
    model = ModelConfig(base_channels=8, num_blocks=2, image_size=32)
    config = TrainConfig(model=model, disc_channels=8, disc_layers=2, seed=5, **settings)
    trainer = Trainer(config, Data())
    for network in (*networks(trainer).values(), trainer.state.ema):
        network.to(dtype)
    rng = random.Random()
    rng.setstate(trainer.state.pool_rng.getstate())
    state = make_state(
        {name: network.state_dict() for name, network in networks(trainer).items()},
        generator=Arch(num_blocks=2),
        discriminator=Arch(num_layers=2),
        pools=(ImagePool(config.pool_size, rng), ImagePool(config.pool_size, rng)),
        gan_mode=config.gan_mode,
        lambda_a=config.lambda_a,
        lambda_b=config.lambda_b,
        lambda_identity=config.lambda_identity,
        lambda_penalty=config.lambda_penalty,
    )
    return trainer, state


def three_steps(trainer: Trainer, state: PlainState, dtype: torch.dtype):
    """Yield both sides' losses after each step."""
    numbers = torch.Generator().manual_seed(1)
    shape = (trainer.config.batch_size, 3, 32, 32)
    for _ in range(3):
        real_a, real_b = (torch.rand(shape, generator=numbers, dtype=dtype) for _ in range(2))
        with trainer.state.step_rngs() as (rng,):
            state.penalty_rng.set_state(rng.get_state())
        ours = trainer.train_step(real_a, real_b)
        yield ours, plain_step(state, real_a * 2 - 1, real_b * 2 - 1)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_term_and_parameter_in_double_precision(name):
    trainer, state = pair(CONFIGS[name], torch.float64)
    for ours, theirs in three_steps(trainer, state, torch.float64):
        assert_same_terms(ours, theirs, tolerance=1e-9)
    # A gradient that should be 0 is noise, which Adam divides by its epsilon of 1e-8.
    assert_same_weights(trainer, state, tolerance=1e-7)
    assert trainer.state.pool_rng.getstate() == state.pool_a.rng.getstate()


@pytest.mark.parametrize("name", CONFIGS)
def test_every_term_and_parameter_in_float32(name):
    """With Adam's epsilon at 1e-2 on both sides.

    A bias before instance norm has no gradient but rounding noise, and Adam's first steps move
    a weight by the full learning rate whatever the size of its gradient: with the usual 1e-8 two
    correct programs that sum in another order differ by up to 1e-3 in such a bias after three
    steps. The larger epsilon keeps noise as small as it is; the usual one is proven above.
    """
    trainer, state = pair(CONFIGS[name], torch.float32)
    for optimizer in (
        trainer.state.opt_gen,
        trainer.state.opt_disc,
        state.adam_gen,
        state.adam_disc,
    ):
        optimizer.param_groups[0]["eps"] = 1e-2
    for ours, theirs in three_steps(trainer, state, torch.float32):
        assert_same_terms(ours, theirs, tolerance=1e-5)
    assert_same_weights(trainer, state, tolerance=1e-5)


def assert_same_terms(ours: Losses, theirs: dict, *, tolerance: float) -> None:
    assert by_name(ours).keys() == theirs.keys()
    for term in theirs:
        ours_term = getattr(ours, term).to(theirs[term])  # an absent term's 0 has another type
        assert_close(ours_term, theirs[term], rtol=tolerance, atol=tolerance)


def assert_same_weights(trainer: Trainer, state: PlainState, *, tolerance: float) -> None:
    for key, network in networks(trainer).items():
        for name, ours in network.state_dict().items():
            theirs = getattr(state, key)[name].detach()
            worst = float((ours - theirs).abs().max())
            assert worst <= tolerance, f"{key}.{name} differs by {worst:.2g}"


def test_the_weights_did_move():
    trainer, state = pair({}, torch.float64)
    before = {key: _first_weight(network).clone() for key, network in networks(trainer).items()}
    for _ in three_steps(trainer, state, torch.float64):
        pass
    for key, network in networks(trainer).items():
        assert (_first_weight(network) - before[key]).abs().max() > 1e-4


def _first_weight(network: torch.nn.Module) -> torch.Tensor:
    return next(network.parameters()).detach()
