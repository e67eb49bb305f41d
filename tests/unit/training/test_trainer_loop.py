"""The trainer's loop and its manners: start models, hosts, global random numbers, callbacks."""

from __future__ import annotations

import json
import logging
import random
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from cyclegan_core.model import CycleGAN
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import Trainer

from ..tiny import MODEL, ByHand, assert_same, everything, make_batch, make_config, open_folders

# --- start models ------------------------------------------------------------------------------


def test_a_start_model_is_copied_and_stays():
    start = CycleGAN(replace(MODEL, num_blocks=2, domain_b="Monet", image_size=999)).eval()
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    trainer = Trainer(make_config(lr=1e-2), ByHand(), model=start)
    assert trainer.config.model == replace(start.config, image_size=16)
    assert_same(trainer.model.state_dict(), before)
    assert_same(trainer.state.ema.state_dict(), before)
    for step in range(2):
        trainer.train_step(*make_batch(step))
    assert_same(start.state_dict(), before)
    assert not start.training
    assert not torch.equal(trainer.model.state_dict()["gen_ab.model.1.bias"], torch.zeros(2))


def test_a_missing_direction_starts_fresh_and_is_named(caplog):
    start = CycleGAN(MODEL, directions=("b_to_a",))
    with caplog.at_level(logging.WARNING, "cyclegan_core"):
        trainer = Trainer(make_config(seed=3), ByHand(), model=start)
    assert [record.getMessage() for record in caplog.records] == [
        "The start model has no a_to_b generator; that one starts fresh."
    ]
    fresh = Trainer(make_config(seed=3), ByHand())
    assert_same(trainer.model.gen_ab.state_dict(), fresh.model.gen_ab.state_dict())
    assert_same(trainer.model.gen_ba.state_dict(), start.gen_ba.state_dict())


def test_under_inference_mode_with_inference_weights():
    """As a host calls us: everything it hands over was made in inference mode."""
    with torch.inference_mode():
        start = CycleGAN(MODEL)
        batch = tuple(tensor.clone() for tensor in make_batch(1))
        assert next(start.parameters()).is_inference()
        assert batch[0].is_inference()
        trainer = Trainer(make_config(), ByHand(), model=start)
        trainer.train_step(*batch)
        assert torch.is_inference_mode_enabled()
        exported = trainer.export()
    assert not any(tensor.is_inference() for tensor in exported.parameters())
    expected = Trainer(make_config(), ByHand(), model=start)
    expected.train_step(*make_batch(1))
    assert_same(everything(trainer), everything(expected))


def test_run_and_state_under_inference_mode(tmp_path):
    results = []
    for mode in (False, True):
        with torch.inference_mode(mode=mode):
            trainer = Trainer(make_config(max_steps=2), open_folders(tmp_path / "data"))
            trainer.run()
            trainer.save_state(tmp_path / "state.safetensors")
            trainer = Trainer(make_config(max_steps=4), trainer.data)
            trainer.load_state(tmp_path / "state.safetensors")
            trainer.run()
        results.append(everything(trainer))
    assert_same(*results)


# --- the loop ----------------------------------------------------------------------------------


def test_the_worlds_rng_are_left_alone(tmp_path):
    """Nothing that a trainer does draws from the global generators, or seeds them."""
    torch.manual_seed(1)
    random.seed(2)
    np.random.seed(3)

    def states() -> tuple[str, ...]:
        states = random.getstate(), np.random.get_state()
        return (torch.random.get_rng_state().numpy().tobytes().hex(), *map(str, states))

    before = states()
    config = make_config(model=replace(MODEL, dropout=True), gan_mode="wgangp", max_steps=3)
    trainer = Trainer(config, open_folders(tmp_path / "data"))
    trainer.run()
    trainer.save_state(tmp_path / "state.safetensors")
    trainer.load_state(tmp_path / "state.safetensors")
    trainer.export()
    assert states() == before


def test_and_do_not_matter():
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        trainer = Trainer(
            make_config(model=replace(MODEL, dropout=True), gan_mode="wgangp"), ByHand()
        )
        trainer.train_step(*make_batch(1))
        results.append(everything(trainer))
    assert_same(*results)


def test_the_seed_matters():
    one, other = (Trainer(make_config(seed=seed), ByHand()) for seed in (1, 2))
    assert not torch.equal(one.model.gen_ab.model[1].weight, other.model.gen_ab.model[1].weight)


def test_reports(tmp_path):
    trainer = Trainer(make_config(max_steps=3, lr=1e-3), open_folders(tmp_path / "data"))
    reports = []
    model = trainer.run(on_step=reports.append)
    assert [(report.step, report.num_steps) for report in reports] == [(1, 3), (2, 3), (3, 3)]
    assert [report.lr for report in reports] == [trainer.learning_rate(step) for step in (1, 2, 3)]
    for report, row in zip(reports, trainer.history, strict=True):
        assert torch.equal(torch.stack(report.losses), row)
    assert (trainer.step, trainer.position) == (3, 3)
    assert model.directions == ("a_to_b", "b_to_a")
    assert not model.training
    assert model.training_info["steps"] == 3
    assert model.training_info["data"] == trainer.data.digest


def test_what_the_callback_raises_ends_it_after_a_whole_step(tmp_path):
    class CancelledError(Exception):
        pass

    def cancel(report):
        if report.step == 2:
            raise CancelledError

    data = open_folders(tmp_path / "data")
    trainer = Trainer(make_config(), data)
    with pytest.raises(CancelledError):
        trainer.run(on_step=cancel)
    assert (trainer.step, trainer.position, len(trainer.history)) == (2, 2, 2)
    trainer.run()
    undisturbed = Trainer(make_config(), data)
    undisturbed.run()
    assert_same(everything(trainer), everything(undisturbed))


def test_max_minutes_makes_a_step_at_least(tmp_path):
    config = make_config(max_steps=1000, max_minutes=1e-9)
    trainer = Trainer(config, open_folders(tmp_path / "data"))
    trainer.run()
    assert trainer.step == 1
    trainer.run()
    assert trainer.step == 2


def test_the_share_of_waiting_is_noted(tmp_path):
    """Of a slow disk it is nearly all: the steps here take milliseconds, a picture 0.1 s."""
    data = open_folders(tmp_path / "data")
    shares = []
    for delay in (0.0, 0.1):
        trainer = Trainer(make_config(max_steps=3), data)
        sample = data.sample

        def slow(number, *, seed, sample=sample, delay=delay):
            threading.Event().wait(delay)
            return sample(number, seed=seed)

        trainer.data.sample = slow
        with RunFolder(tmp_path / f"run {delay}", trainer) as folder:
            trainer.run(on_step=folder.on_step)
            folder.save()
        trainer.data.sample = sample
        run = json.loads((tmp_path / f"run {delay}" / "run.json").read_text(encoding="utf-8"))
        shares.append(run["wait_share"])
    assert 0 <= shares[0] < 1
    assert 0.01 < shares[1] <= 1
