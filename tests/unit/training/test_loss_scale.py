"""fp16's loss scale: it finds the largest that works, is saved, and gives up in a sentence."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from cyclegan_core import TrainingDivergedError
from cyclegan_core.training.optimiser import LossScale
from cyclegan_core.training.trainer import Trainer

from ..tiny import ByHand, assert_same, everything, make_batch, make_config, networks, weights

NO = torch.tensor(False)


def make_trainer(**settings) -> Trainer:
    return Trainer(make_config(precision="fp16", pool_size=2, **settings), ByHand())


def test_doubles_after_patience_and_halves_at_once():
    scale = LossScale(active=True, patience=3)
    factors = []
    for overflow in (False, False, False, True, False, True):
        scale.note(torch.tensor(overflow), frozen=NO)
        factors.append(scale.factor / 2**16)
    assert factors == [1, 1, 2, 1, 1, 0.5]


@pytest.mark.parametrize("overflow", [True, False])
def test_frozen_it_stays(overflow):
    scale = LossScale(active=True, patience=1)
    before = scale.state_dict()
    scale.note(torch.tensor(overflow), frozen=torch.tensor(True))
    assert scale.state_dict() == before


def test_inactive_it_does_nothing():
    scale, weight = LossScale(active=False), torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.full((2,), 3.0)
    for _ in range(3):
        scale.note(NO, frozen=NO)
    scale.unscale([weight])
    assert (scale.factor, weight.grad.tolist()) == (1.0, [3.0, 3.0])
    assert scale.state_dict() == LossScale(active=False).state_dict()


def test_any_power_of_two_is_the_same_step():
    """Where nothing over- or underflows it only moves exponents."""
    results = []
    for factor in (2.0**4, 2.0**8):
        trainer = make_trainer()
        trainer.state.loss_scale.factor = factor
        trainer.train_step(*make_batch(1))
        results.append(weights(trainer))
    for name, tensor in results[0].items():
        torch.testing.assert_close(tensor, results[1][name], rtol=1e-2, atol=1e-3, msg=name)


def overflow(trainer: Trainer, name: str) -> None:
    weight = next(networks(trainer)[name].parameters())
    weight.register_hook(lambda gradient: gradient * float("inf"))


@pytest.mark.parametrize("name", ["gen_ab", "disc_a"])
def test_an_overflow_leaves_the_step_out(name):
    trainer = make_trainer()
    trainer.train_step(*make_batch(1))
    before, factor = weights(trainer), trainer.state.loss_scale.factor
    overflow(trainer, name)
    trainer.train_step(*make_batch(2))
    assert_same(weights(trainer), before)
    assert (trainer.step, trainer.state.loss_scale.factor) == (2, factor / 2)


@pytest.mark.parametrize("read_every", [1, 7])
def test_an_overflow_at_any_scale_is_a_divergence(read_every):
    """Found when it is read, after step 17 or 23."""
    trainer = make_trainer(max_steps=50, read_every=read_every)
    overflow(trainer, "gen_ba")
    trainer.train_step(*make_batch(1))
    before = weights(trainer)
    for _ in range(15):  # from 2**16 down to 1
        trainer.train_step(*make_batch(1))
    trainer.read()
    step = partial(trainer.train_step, *make_batch(1))
    for _ in range(read_every - 1):
        step()
    with pytest.raises(TrainingDivergedError, match=r"^Step 17: .* overflows fp16 whatever its"):
        step()
    assert (trainer.step, len(trainer.history)) == (16, 16)
    assert trainer.state.loss_scale.factor == 1.0
    assert_same(weights(trainer), before)


def test_the_scale_is_saved(tmp_path):
    trainer = make_trainer()
    trainer.state.loss_scale.factor, trainer.state.loss_scale.sound_steps = 128.0, 7
    trainer.train_step(*make_batch(1))
    trainer.save_state(tmp_path / "state.safetensors")
    other = make_trainer()
    other.load_state(tmp_path / "state.safetensors")
    assert other.state.loss_scale.state_dict() == {"factor": 128.0, "sound_steps": 8}
    assert_same(everything(other), everything(trainer))


def test_the_state_of_a_training_in_float32_starts_the_scale_anew(tmp_path):
    plain = Trainer(make_config(pool_size=2), ByHand())
    plain.train_step(*make_batch(1))
    plain.save_state(tmp_path / "state.safetensors")
    trainer = make_trainer()
    trainer.load_state(tmp_path / "state.safetensors")
    assert trainer.state.loss_scale.factor == 2.0**16
