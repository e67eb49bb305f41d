"""The first steps, in which the generators only learn to give back their input."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from cyclegan_core.config import TrainConfig
from cyclegan_core.model import CycleGAN
from cyclegan_core.training.trainer import Trainer

from ..tiny import MODEL, ByHand, assert_same, make_batch, make_config, open_folders, train

CLEAN = {"model": replace(MODEL, norm="none"), "init": "residual_zero"}


def test_only_identity_terms_of_a_and_b_in_turn(tmp_path):
    trainer = train(make_config(warmup_steps=3, **CLEAN), open_folders(tmp_path / "d"), until=4)
    shown = [
        {name for name, term in zip(trainer.term_names, row, strict=True) if term != 0}
        for row in trainer.history
    ]
    assert shown[:3] == [{"identity_a"}, {"identity_b"}, {"identity_a"}]
    assert shown[3] == set(trainer.term_names)


def test_the_term_is_the_identity_term_of_one_generator():
    trainer = Trainer(make_config(warmup_steps=2, lambda_a=3.0, lambda_identity=0.25), ByHand())
    a, b = make_batch(1)
    given = a * 2 - 1
    by_hand = 3.0 * 0.25 * (trainer.model.gen_ab(given) - given).abs().mean()
    losses = trainer.train_step(a, b)
    torch.testing.assert_close(losses.identity_a, by_hand.detach())


@pytest.mark.parametrize("model", [CLEAN["model"], MODEL, replace(MODEL, norm="batch")])
def test_both_generators_are_one_until_its_end(tmp_path, model):
    config = make_config(warmup_steps=3, model=model)
    trainer = train(config, open_folders(tmp_path / "d"), until=3)
    state = trainer.state
    fresh = Trainer(config, open_folders(tmp_path / "d")).model.gen_ab.state_dict()
    ours = trainer.model.gen_ab.state_dict()
    assert not torch.equal(ours["model.1.weight"], fresh["model.1.weight"])
    assert_same(ours, trainer.model.gen_ba.state_dict())
    assert_same(state.ema.gen_ab.state_dict(), state.ema.gen_ba.state_dict())
    assert state.pool_a.images == state.pool_b.images == []
    assert state.opt_disc.state == {}
    trainer = train(config, open_folders(tmp_path / "d"), until=4)
    assert not torch.equal(
        trainer.model.gen_ab.model[1].weight, trainer.model.gen_ba.model[1].weight
    )
    assert len(trainer.state.pool_a.images) == 1


def test_it_learns_to_give_back_pictures():
    """Of soft colours; the error of the last steps beside that of the first."""
    config = make_config(warmup_steps=200, max_steps=200, lr=2e-3, **CLEAN)
    trainer = Trainer(replace(config, model=replace(config.model, base_channels=8)), ByHand())
    for number in range(200):
        soft = [F.interpolate(x[..., :4, :4], 16, mode="bilinear") for x in make_batch(number)]
        trainer.train_step(*soft)
    errors = torch.stack(trainer.history).sum(1)
    assert errors[-20:].mean() < 0.7 * errors[:20].mean()


def test_steps_and_learning_rate_count_on(tmp_path):
    reports = []
    config = make_config(warmup_steps=2, max_steps=4)
    Trainer(config, open_folders(tmp_path / "d")).run(on_step=reports.append)
    plain = Trainer(make_config(max_steps=4), open_folders(tmp_path / "d"))
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert [report.lr for report in reports] == [plain.learning_rate(n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"warmup_steps": -1}, "warmup_steps must be a whole number of at least 0; got -1."),
        (
            {"warmup_steps": 5, "lambda_identity": 0},
            "warmup_steps must be 0 without identity terms",
        ),
        ({"warmup_steps": 5, "lambda_b": 0}, "warmup_steps must be 0 without identity terms"),
        ({"identity_every": 0}, "identity_every must be a whole number of at least 1; got 0."),
        (
            {"identity_every": 2, "lambda_gan": 0.0, "cycle": "none"},
            "identity_every must be 1 when the identity terms are all there is to learn; got 2.",
        ),
        (
            {"init": "residual_zero", "model": replace(MODEL, generator="unet")},
            "init must be normal for a generator without residual blocks; got residual_zero and",
        ),
        ({"init": "he"}, "init must be one of normal, residual_zero; got 'he'."),
    ],
)
def test_a_wrong_setting_is_named(settings, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        TrainConfig(**settings)


def test_a_model_to_start_from_needs_none():
    sentence = (
        "^warmup_steps must be 0 with a model to start from, whose generators know .*; got 2."
    )
    with pytest.raises(ValueError, match=sentence):
        Trainer(make_config(warmup_steps=2), ByHand(), model=CycleGAN(MODEL))


def test_identity_every_nth_step_counts_n_times(tmp_path):
    trainer = train(make_config(identity_every=3), open_folders(tmp_path / "d"), until=5)
    plain = train(make_config(), open_folders(tmp_path / "d"), until=1)
    names = list(trainer.term_names)
    rows = torch.stack(trainer.history)
    for name in ("identity_a", "identity_b"):
        column = rows[:, names.index(name)]
        assert (column > 0).tolist() == [True, False, False, True, False]
        assert torch.equal(column[0], 3 * plain.history[0][names.index(name)])
    others = [number for number, name in enumerate(names) if not name.startswith("identity")]
    assert torch.equal(rows[0, others], plain.history[0][others])
