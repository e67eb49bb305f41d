"""Losses that are read every few steps: the same training, and the same end of a diverged one."""

from __future__ import annotations

import json
from contextlib import nullcontext, suppress
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cyclegan_core import TrainingDivergedError
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.step import draw_inputs, train_step
from cyclegan_core.training.trainer import Trainer

from ..run_files import files, rows
from ..tiny import (
    MODEL,
    ByHand,
    StopError,
    assert_same,
    everything,
    make_batch,
    make_config,
    networks,
    open_folders,
)

NAN = float("nan")
CASES = {
    "paper": {},
    "batch norm": {"model": replace(MODEL, norm="batch")},
    "penalty, in parts": {"gan_mode": "wgangp", "batch_size": 2, "accumulate": 2},
    "fp16": {"precision": "fp16"},
    "host decides": {"fused_adam": False},
    "clip": {"grad_clip": 0.01, "channels_last": "on"},
}


def make_trainer(every: int, **settings) -> Trainer:
    config = make_config(**{"pool_size": 2, "max_steps": 50, "read_every": every} | settings)
    return Trainer(config, ByHand())


def batches(trainer: Trainer, count: int, *, bad: int | None = None):
    """`count` batches; in number `bad`, from 1, a picture of A has a NaN."""
    for number in range(1, count + 1):
        a, b = make_batch(number, size=trainer.config.batch_size)
        if number == bad:
            a[0, 0, 3, 3] = NAN
        yield a, b


# --- sound -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_reading_late_changes_no_bit(name):
    trainers = [make_trainer(every, **CASES[name]) for every in (1, 5)]
    known = []
    for trainer in trainers:
        for batch in batches(trainer, 7):
            trainer.train_step(*batch)
        known.append((len(trainer.history), len(trainer.unread)))
        trainer.read()
    assert known == [(7, 0), (5, 2)]
    assert_same(*map(everything, trainers))


def test_a_run_leaves_the_same_files(tmp_path, pictures):
    """Saved, and stopped, in the middle of an interval."""
    kept = []
    for every in (1, 4):
        config = make_config(max_steps=7, save_every=3, sample_every=2, read_every=every)
        path = tmp_path / str(every)
        trainer = Trainer(config, open_folders(pictures))
        with RunFolder(path, trainer) as folder:

            def stop(report, folder=folder):
                folder.on_step(report)
                if report.step == 5:
                    raise StopError

            with pytest.raises(StopError):
                trainer.run(on_step=stop)
            folder.save()
        trainer = Trainer(config, open_folders(pictures))
        with RunFolder(path, trainer) as folder:
            trainer.run(on_step=folder.on_step)
            folder.save()
        assert [int(row["step"]) for row in rows(path)] == [1, 2, 3, 4, 5, 6, 7]
        kept.append((files(path), everything(trainer)))
    states = [content.pop("state.safetensors") for content, _ in kept]  # they name read_every
    assert len(states) == 2
    assert kept[0][0] == kept[1][0]
    assert_same(kept[0][1], kept[1][1])


def test_all_is_read_at_the_end(pictures):
    trainer = Trainer(make_config(max_steps=3, read_every=100), open_folders(pictures))
    known = []
    trainer.run(on_step=lambda report: known.append(len(trainer.history)))
    assert known == [0, 0, 3]
    minutes = make_config(max_steps=9, max_minutes=1e-9, read_every=100)
    trainer = Trainer(minutes, open_folders(pictures))
    trainer.run()
    assert (trainer.step, len(trainer.history)) == (1, 1)


@pytest.mark.parametrize("every", [0, 2.5])
def test_what_can_not_be_an_interval(every):
    with pytest.raises(ValueError, match=r"^read_every must be a whole number of at least 1; got"):
        make_config(read_every=every)


# --- diverged ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_a_divergence_in_the_middle_of_an_interval(name):
    """Found two sound batches later; as if there had been nothing from the bad one on."""
    trainer, expected = make_trainer(6, **CASES[name]), make_trainer(1, **CASES[name])
    for batch in batches(expected, 3):
        expected.train_step(*batch)
    *before, last = batches(trainer, 6, bad=4)
    for batch in before:
        trainer.train_step(*batch)
    with pytest.raises(TrainingDivergedError, match=r"^Step 4: cycle_a is nan, so the weights"):
        trainer.train_step(*last)
    assert_same(everything(trainer), everything(expected))
    assert trainer.unread == []
    for each in (trainer, expected):  # and a sound batch goes on
        each.train_step(*before[0])
        each.read()
    assert_same(everything(trainer), everything(expected))


@pytest.mark.parametrize("network", ["gen_ba", "disc_a"])
def test_a_gradient_in_the_middle_of_an_interval(network):
    trainer, expected = make_trainer(3), make_trainer(1)
    for each in (trainer, expected):
        each.train_step(*make_batch(1))
    weight = next(networks(trainer)[network].parameters())
    hook = weight.register_hook(lambda gradient: gradient * NAN)
    trainer.train_step(*make_batch(2))
    hook.remove()
    who = "generators" if network == "gen_ba" else "discriminators"
    with pytest.raises(TrainingDivergedError, match=f"^Step 2: the gradient of the {who} is nan"):
        trainer.train_step(*make_batch(3))
    assert_same(everything(trainer), everything(expected))


def test_no_state_is_written_and_the_pictures_are_named(tmp_path, pictures):
    """The save of step 4 finds out about step 3, whose pictures are told."""
    config = make_config(max_steps=20, read_every=20, save_every=2, sample_every=100)
    data = open_folders(pictures)
    sample = data.sample

    def damaged(number, *, seed):
        found = sample(number, seed=seed)
        is_bad = number == 2 and seed == config.seed  # else it is for the sample grid
        return replace(found, b=found.b * NAN) if is_bad else found

    data.sample = damaged
    trainer = Trainer(config, data)
    with (
        RunFolder(tmp_path / "run", trainer) as folder,
        pytest.raises(TrainingDivergedError) as caught,
    ):
        trainer.run(on_step=folder.on_step)
    bad = sample(2, seed=config.seed)
    assert str(caught.value) == (
        "Step 3: cycle_b is nan, so the weights were left as they were; lower the learning rate, "
        f"or remove flat or damaged pictures (the batch was {bad.path_a.name}, {bad.path_b.name})."
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["step"] == 2
    assert (trainer.step, trainer.position) == (2, 2)
    saved = Trainer(config, data)
    saved.load_state(tmp_path / "run" / "state.safetensors")
    assert_same(everything(saved), everything(trainer))


def test_a_step_that_breaks_off_has_drawn_nothing():
    """As when memory runs out: the same batch can be tried again."""
    trainer, expected = make_trainer(1), make_trainer(1)

    def run_out(*_):
        raise torch.OutOfMemoryError("no memory")

    hook = trainer.state.disc_b.register_forward_pre_hook(run_out)
    for number in range(4):
        with hook if number == 0 else nullcontext(), suppress(torch.OutOfMemoryError):
            trainer.train_step(*make_batch(number))
        if number > 0:
            expected.train_step(*make_batch(number))
    assert_same(everything(trainer), everything(expected))


def test_loading_forgets_what_was_unread(tmp_path):
    trainer = make_trainer(10)
    trainer.save_state(tmp_path / "state.safetensors")
    for batch in batches(trainer, 2, bad=1):
        trainer.train_step(*batch)
    trainer.load_state(tmp_path / "state.safetensors")
    trainer.read()
    assert_same(everything(trainer), everything(make_trainer(10)))
    for batch in batches(trainer, 2):
        trainer.train_step(*batch)
    trainer.read()
    assert len(trainer.history) == 2


# --- the device's half -------------------------------------------------------------------------


class NoWaiting(TorchDispatchMode):
    """Refuses what reads a value back, or has a size that depends on one."""

    REFUSED = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        assert name not in self.REFUSED, f"{name} waits for the device"
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("name", [name for name in CASES if name != "host decides"])
def test_the_devices_half_never_waits(name):
    trainer = make_trainer(100, **CASES[name])
    rng = torch.Generator().manual_seed(1)
    for batch in batches(trainer, 4):
        inputs = draw_inputs(trainer.state, *batch, rng)
        with NoWaiting():
            train_step(trainer.state, inputs)


def test_and_the_check_would_show_it():
    trainer = make_trainer(100, fused_adam=False)
    inputs = draw_inputs(trainer.state, *make_batch(1), torch.Generator())
    with NoWaiting(), pytest.raises(AssertionError, match="_local_scalar_dense waits"):
        train_step(trainer.state, inputs)
