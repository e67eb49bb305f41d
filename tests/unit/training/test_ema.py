"""The average of the generators, which is what a training gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core.training.trainer import Trainer

from ..tiny import MODEL, ByHand, make_batch, make_config


def make_trainer(**settings) -> Trainer:
    return Trainer(make_config(**settings), ByHand())


@pytest.mark.parametrize("decay", [0.999, 0.15])
def test_average_in_closed_form(decay):
    """Sum over the steps of (1 - d_i) w_i prod(d_j, j > i), with d_i = min(decay, (1+i)/(10+i))."""
    trainer = make_trainer(ema_decay=decay, lr=1e-2)
    name = "gen_ab.model.1.weight"
    expected = trainer.model.state_dict()[name].double()
    for step in range(5):
        trainer.train_step(*make_batch(step))
        d = min(decay, (1 + step) / (10 + step))
        expected = d * expected + (1 - d) * trainer.model.state_dict()[name].double()
    assert_close(trainer.state.ema.state_dict()[name].double(), expected, rtol=0, atol=1e-7)
    assert not torch.equal(trainer.state.ema.state_dict()[name], trainer.model.state_dict()[name])
    assert torch.equal(trainer.export().state_dict()[name], trainer.state.ema.state_dict()[name])


def test_no_average():
    trainer = make_trainer(ema_decay=0.0)
    trainer.train_step(*make_batch(1))
    exported = trainer.export()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(exported.state_dict()[name], tensor)


def test_average_of_batch_norm_statistics():
    model = replace(MODEL, norm="batch")
    trainer = make_trainer(model=model, ema_decay=0.5)
    for step in range(2):
        trainer.train_step(*make_batch(step))
    ours, average = trainer.model.state_dict(), trainer.state.ema.state_dict()
    count, mean = "gen_ab.model.2.num_batches_tracked", "gen_ab.model.2.running_mean"
    assert average[count] == ours[count] > 0
    assert not torch.equal(average[mean], ours[mean])
