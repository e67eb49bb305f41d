"""Train 6 equals train 3, save, load, train 3: bit for bit."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from cyclegan_core import CheckpointError
from cyclegan_core.config import ModelConfig, TrainConfig
from cyclegan_core.training.trainer import Trainer

from ..tiny import (
    FEATURES,
    MODEL,
    StopError,
    assert_same,
    draw_folders,
    everything,
    make_config,
    open_folders,
    train,
)

BATCH_NORM = replace(MODEL, norm="batch")

CASES = {
    "average": {},
    "no average": {"ema_decay": 0.0},
    "pool full": {"pool_size": 2},
    "no pool": {"pool_size": 0},
    "batch of 2": {"batch_size": 2, "pool_size": 3},
    "penalty": {"gan_mode": "wgangp", "pool_size": 2},
    "likelihood": {"gan_mode": "vanilla", "schedule": "cosine"},
    "dropout": {"model": replace(MODEL, dropout=True)},
    "batch norm": {"model": replace(MODEL, norm="batch"), "batch_size": 2},
    "bf16": {"precision": "bf16"},
    "bf16, channels first": {"precision": "bf16", "channels_last": "off"},
    "fp16": {"precision": "fp16"},
    "every switch off": {"batch_passes": "off", "fused_adam": False},
    "channels last, in parts": {"channels_last": "on", "batch_size": 2, "accumulate": 2},
    "recomputed": {"recompute": True, "model": replace(MODEL, dropout=True)},
    "clip": {"grad_clip": 0.01, "lr_discriminator": 1e-3},
    "no adversary": {"lambda_gan": 0.0},
    "pixels": {"discriminator": "pixel", "schedule": "step", "step_epochs": 2},
    "hinge": {"gan_mode": "hinge", "disc_norm": "spectral", "pool_size": 2},
    "features": FEATURES,
    "features in bf16": {**FEATURES, "precision": "bf16", "batch_size": 2, "accumulate": 2},
    "features and patches": {**FEATURES, "discriminator": "patch_features", "pool_size": 2},
    "features in fp16": {**FEATURES, "precision": "fp16", "channels_last": "off"},
    "noise": {"input_noise": 0.1, "batch_size": 2, "accumulate": 2},
    "equivariance": {"lambda_equivariance": 5.0, "batch_size": 2, "accumulate": 2},
    "R1 now and then": {"lambda_r1": 2.0, "r1_every": 4, "batch_size": 2, "accumulate": 2},
    "identity now and then": {"identity_every": 4},
    "warm-up": {"warmup_steps": 2, "init": "residual_zero", "model": replace(MODEL, norm="none")},
    "saved in the warm-up": {"warmup_steps": 4, "precision": "bf16"},
    "saved where the warm-up ends": {**FEATURES, "warmup_steps": 3, "model": BATCH_NORM},
    "pairs": {"objective": "pix2pix"},
    "pairs, both ways": {"objective": "pix2pix", "directions": "both", "precision": "bf16"},
    "pairs, in fp16": {"objective": "pix2pix", "directions": "b_to_a", "precision": "fp16"},
    "pairs, distance alone": {"objective": "pix2pix", "lambda_gan": 0.0, "ema_decay": 0.0},
    "pairs, penalty": {"objective": "pix2pix", "gan_mode": "wgangp", "batch_size": 2},
    "pairs, everything": {
        **{"objective": "pix2pix", "disc_norm": "spectral", "augment_colour": 0.3},
        **{"augment_shift": 0.2, "input_noise": 0.1, "batch_size": 2, "accumulate": 2},
        **{"recompute": True, "grad_clip": 0.01, "model": replace(MODEL, dropout=True)},
    },
    "u-net": {
        "model": ModelConfig(generator="unet", num_downs=5, base_channels=2, norm="batch"),
        "batch_size": 2,
    },
}


def open_for(pictures, config):
    side = config.model.size_multiple if config.model.generator == "unet" else 16
    return open_folders(pictures, config.objective, load_size=side + 2, crop_size=side)


@pytest.mark.parametrize("name", CASES)
def test_resume_is_exact(tmp_path, pictures, name):
    config = make_config(max_steps=8, **CASES[name])
    state, at_save = tmp_path / "state.safetensors", {}
    undisturbed = Trainer(config, open_for(pictures, config))

    def save_then_stop(report):
        if report.step == 3:
            undisturbed.save_state(state)
            at_save.update(everything(undisturbed))
        if report.step == 6:
            raise StopError

    with pytest.raises(StopError):
        undisturbed.run(on_step=save_then_stop)

    loaded = Trainer(config, open_for(pictures, config))
    loaded.load_state(state)
    assert_same(everything(loaded), at_save)
    resumed = train(config, open_for(pictures, config), until=6, state=state)
    assert_same(everything(resumed), everything(undisturbed))
    assert_same(resumed.export().state_dict(), undisturbed.export().state_dict())
    assert resumed.export().training_info == undisturbed.export().training_info
    # The test would be worth nothing if nothing had happened.
    assert undisturbed.step == 6
    assert undisturbed.position == 6 * config.batch_size
    assert len(undisturbed.state.pool_a.images) == min(
        config.pool_size if config.lambda_gan and config.objective == "cyclegan" else 0,
        undisturbed.position - config.warmup_steps * config.batch_size,
    )


def test_saving_changes_nothing(tmp_path, pictures):
    config = make_config(max_steps=8, pool_size=2)
    trainer, undisturbed = (Trainer(config, open_for(pictures, config)) for _ in range(2))
    trainer.run(on_step=lambda report: trainer.save_state(tmp_path / "state.safetensors"))
    undisturbed.run()
    assert_same(everything(trainer), everything(undisturbed))


def test_loading_replaces_all_that_was_there(tmp_path, pictures):
    """A trainer with moments, pools and history of its own."""
    config = make_config(max_steps=8, pool_size=2)
    early = train(config, open_for(pictures, config), until=1)
    early.save_state(tmp_path / "state.safetensors")
    late = train(config, open_for(pictures, config), until=5)
    late.load_state(tmp_path / "state.safetensors")
    assert_same(everything(late), everything(early))


def test_state_of_a_fresh_trainer(tmp_path, pictures):
    config = make_config()
    fresh = Trainer(config, open_for(pictures, config))
    fresh.save_state(tmp_path / "state.safetensors")
    trainer = train(config, open_for(pictures, config), until=2)
    trainer.load_state(tmp_path / "state.safetensors")
    assert_same(everything(trainer), everything(fresh))


def test_whole_pictures_in_the_pool(tmp_path):
    """Of different sizes, so they are no single tensor."""
    draw_folders(tmp_path / "data", size=(20, 18))
    draw_folders(tmp_path / "more", size=(16, 24))
    for path in (tmp_path / "more" / "a").iterdir():
        path.rename(tmp_path / "data" / "a" / f"more_{path.name}")
    data = open_folders(tmp_path / "data", preprocess="none")
    config = make_config(max_steps=20, pool_size=3)
    state = tmp_path / "state.safetensors"
    train(config, data, until=4).save_state(state)
    resumed = train(config, data, until=7, state=state)
    assert len({image.shape for image in resumed.state.pool_b.images}) > 1
    assert_same(everything(resumed), everything(train(config, data, until=7)))


# --- what may change ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state(tmp_path_factory, pictures):
    trainer = train(make_config(pool_size=2), open_folders(pictures), until=3)
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    trainer.save_state(path)
    return path


def load(state, pictures, *, data=None, **settings):
    trainer = Trainer(make_config(pool_size=2, **settings), open_folders(pictures, **data or {}))
    trainer.load_state(state)
    return trainer


@pytest.mark.parametrize(
    ("settings", "data", "line"),
    [
        ({"lr": 1e-3}, {}, "lr changes from 0.0002 to 0.001."),
        ({"max_steps": 5}, {}, "max_steps changes from 6 to 5."),
        ({"save_every": 7}, {}, "save_every changes from 500 to 7."),
        ({"lambda_identity": 0.0}, {}, "lambda_identity changes from 0.5 to 0.0."),
        ({"batch_size": 2}, {}, "batch_size changes from 1 to 2."),
        ({"model": replace(MODEL, domain_b="Monet")}, {}, "domain_b changes from B to Monet."),
        ({}, {"flip": False}, "flip changes from True to False."),
        ({}, {"load_size": 20}, "load_size changes from 18 to 20."),
    ],
)
def test_a_change_that_is_logged(state, pictures, caplog, settings, data, line):
    with caplog.at_level(logging.WARNING, "cyclegan_core"):
        trainer = load(state, pictures, data=data, **settings)
    assert [record.getMessage() for record in caplog.records] == [line]
    assert trainer.step == 3
    for name, value in settings.items():
        assert getattr(trainer.config, name) == value
    if "batch_size" in settings or data:  # what the networks are given is another thing now
        trainer.run()
        assert trainer.step == trainer.config.max_steps


@pytest.mark.parametrize("before", [True, False, "on", "off", "auto"])
def test_passes_stay_as_they_were(tmp_path, pictures, caplog, before):
    """With auto a training computes the bits that it would have; booleans are of older states."""
    path, config = tmp_path / "state.safetensors", make_config(pool_size=2)
    values = config.to_dict() | {"batch_passes": before}
    trainer = Trainer(TrainConfig.from_dict(values), open_folders(pictures))
    trainer.save_state(path)
    with caplog.at_level(logging.WARNING, "cyclegan_core"):
        resumed = load(path, pictures)
    expected = {True: "on", False: "off"}.get(before, before)
    assert resumed.config.batch_passes == resumed.state.config.batch_passes == expected
    assert caplog.records == []


def test_nothing_changed_nothing_logged(state, pictures, caplog):
    with caplog.at_level(logging.WARNING, "cyclegan_core"):
        load(state, pictures)
    assert caplog.records == []


def test_changed_pictures_are_logged(state, tmp_path, pictures, caplog):
    draw_folders(tmp_path / "other", count=2)
    with caplog.at_level(logging.WARNING, "cyclegan_core"):
        load(state, tmp_path / "other")
    assert [record.getMessage() for record in caplog.records] == [
        "The pictures have changed since state.safetensors was saved; training goes on."
    ]


@pytest.mark.parametrize(
    ("settings", "data", "what"),
    [
        ({"model": replace(MODEL, base_channels=4)}, {}, "base_channels = 2, not 4"),
        ({"model": replace(MODEL, num_blocks=2)}, {}, "num_blocks = 1, not 2"),
        ({"model": replace(MODEL, upsample="resize")}, {}, "upsample = transposed, not resize"),
        ({"discriminator": "pixel"}, {}, "discriminator = patch, not pixel"),
        ({"disc_layers": 2}, {}, "disc_layers = 1, not 2"),
        ({"disc_channels": 3}, {}, "disc_channels = 2, not 3"),
        ({"disc_norm": "spectral"}, {}, "disc_norm = instance, not spectral"),
        ({"feature_taps": (0,)}, {}, "feature_taps = [0, 2, 4], not [0]"),
        ({"feature_width": 8}, {}, "feature_width = 64, not 8"),
        ({"warmup_steps": 5}, {}, "warmup_steps = 0, not 5"),
        ({"seed": 1}, {}, "seed = 0, not 1"),
        ({}, {"crop_size": 12}, "crop_size = 16, not 12"),
        ({}, {"preprocess": "none"}, "preprocess = resize_and_crop, not none"),
    ],
)
def test_a_change_that_is_refused(state, pictures, settings, data, what):
    trainer = Trainer(make_config(pool_size=2, **settings), open_folders(pictures, **data))
    before = everything(trainer)
    with pytest.raises(CheckpointError) as caught:
        trainer.load_state(state)
    assert str(caught.value) == (
        f"state.safetensors was trained with {what}; use that again, or another run folder."
    )
    assert_same(everything(trainer), before)


def test_pool_size_is_refused(state, pictures):
    trainer = Trainer(make_config(pool_size=3), open_folders(pictures))
    with pytest.raises(CheckpointError, match="pool_size = 2, not 3"):
        trainer.load_state(state)


def test_an_average_that_begins_later_starts_from_the_weights(tmp_path, pictures):
    path = tmp_path / "state.safetensors"
    plain = train(make_config(ema_decay=0.0), open_folders(pictures), until=3)
    plain.save_state(path)
    trainer = Trainer(make_config(), open_folders(pictures))
    trainer.load_state(path)
    assert_same(trainer.state.ema.state_dict(), plain.model.state_dict())
    trainer.run()
    assert not torch.equal(
        trainer.state.ema.gen_ab.model[1].weight, trainer.model.gen_ab.model[1].weight
    )
