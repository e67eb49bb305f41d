"""A loss or a gradient that is not finite stops the step before anything has moved."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from cyclegan_core import TrainingDivergedError
from cyclegan_core.runs.run_folder import STATE_NAME, RunFolder
from cyclegan_core.training.trainer import Trainer

from ..tiny import (
    MODEL,
    ByHand,
    assert_same,
    everything,
    make_batch,
    make_config,
    networks,
    open_folders,
    weights,
)

NAN = float("nan")


def trained(**settings) -> Trainer:
    """After a sound step."""
    trainer = Trainer(make_config(**settings), ByHand())
    trainer.train_step(*make_batch(1))
    return trainer


def assert_stops(trainer: Trainer, batch, sentence: str) -> None:
    before, progress = weights(trainer), (trainer.step, len(trainer.history))
    with pytest.raises(TrainingDivergedError, match=sentence) as caught:
        trainer.train_step(*batch)
    assert_same(weights(trainer), before)
    assert (trainer.step, len(trainer.history)) == progress
    assert str(caught.value).endswith(
        "; lower the learning rate, or remove flat or damaged pictures."
    )


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize(("side", "term"), [(0, "cycle_a"), (1, "cycle_b")])
def test_a_picture_with_nan(norm, side, term):
    trainer = trained(model=replace(MODEL, norm=norm))
    batch = make_batch(2)
    batch[side][0, 0, 3, 3] = NAN
    rng = trainer.state.pool_rng.getstate()
    assert_stops(trainer, batch, f"^Step 2: {term} is nan, so the weights were left as they were;")
    assert trainer.state.pool_rng.getstate() == rng
    assert len(trainer.state.pool_a.images) == 1
    trainer.train_step(*make_batch(2))  # and a sound batch goes on
    assert trainer.step == 2


@pytest.mark.parametrize("domain", ["a", "b"])
def test_a_discriminator(domain):
    """A pooled picture that is infinite, and a draw that takes it."""
    trainer = trained(pool_size=1)
    trainer.state.lanes[0].pools[f"pool_{domain}"].images[0].fill_(float("inf"))

    class AlwaysExchange(random.Random):
        def uniform(self, a, b):
            return 1.0

    trainer.state.pool_a.rng = trainer.state.pool_b.rng = AlwaysExchange(0)
    assert_stops(trainer, make_batch(2), f"^Step 2: disc_{domain} is nan")


@pytest.mark.parametrize(
    ("network", "who"),
    [
        ("gen_ab", "generators"),
        ("gen_ba", "generators"),
        ("disc_a", "discriminators"),
        ("disc_b", "discriminators"),
    ],
)
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_behind_a_finite_loss(network, who, clip):
    trainer = trained(grad_clip=clip)
    weight = next(networks(trainer)[network].parameters())
    weight.register_hook(lambda gradient: gradient * NAN)
    assert_stops(trainer, make_batch(2), f"^Step 2: the gradient of the {who} is nan")


def test_a_penalty():
    """Only the penalty is weighted beyond float32."""
    trainer = trained(gan_mode="wgangp")
    trainer.state.config = replace(trainer.config, lambda_penalty=1e39)
    assert_stops(trainer, make_batch(2), "^Step 2: disc_b is inf")


def test_a_training_that_runs_away_names_its_pictures_and_keeps_its_last_state(tmp_path):
    """The discriminators are sent so far that their next verdict is beyond float32."""
    config = make_config(lr_discriminator=1e25, save_every=1, max_steps=50)
    data = open_folders(tmp_path / "data")
    trainer = Trainer(config, data)
    good = []
    with RunFolder(tmp_path / "run", trainer) as folder:

        def on_step(report):
            folder.on_step(report)
            good.append(everything(trainer))

        with pytest.raises(TrainingDivergedError) as caught:
            trainer.run(on_step=on_step)
    assert 1 <= len(good) < 50
    assert_same(everything(trainer), good[-1])
    sample = data.sample(len(good), seed=config.seed)
    assert str(caught.value).startswith(f"Step {len(good) + 1}: ")
    assert str(caught.value).endswith(
        f" (the batch was {sample.path_a.name}, {sample.path_b.name})."
    )
    again = Trainer(config, data)
    again.load_state(tmp_path / "run" / STATE_NAME)
    assert_same(everything(again), good[-1])
