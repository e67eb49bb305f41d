"""Training on pairs: which networks and terms there are, what a run leaves, what is refused."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image

from cyclegan_core import CheckpointError, TrainingDivergedError, load_model
from cyclegan_core.config import ModelConfig, TrainConfig
from cyclegan_core.discriminators.feature_network import (
    BLOCKS,
    feature_distance,
    load_feature_network,
)
from cyclegan_core.evaluation.distances import perceptual_distance
from cyclegan_core.evaluation.extractors import LiteExtractor
from cyclegan_core.pictures.captions import caption_height
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.losses import by_name
from cyclegan_core.training.trainer import Trainer

from ..tiny import ByHand, make_batch, make_config, open_folders, train, weights

TERMS = {
    "a_to_b": ("gan_ab", "l1_b", "disc_b"),
    "b_to_a": ("gan_ba", "l1_a", "disc_a"),
    "both": ("gan_ab", "gan_ba", "l1_a", "l1_b", "disc_a", "disc_b"),
}


def pairs(**settings) -> TrainConfig:
    return make_config(objective="pix2pix", **settings)


@pytest.mark.parametrize("directions", TERMS)
def test_there_is_what_a_direction_needs_and_no_more(directions):
    trainer = Trainer(pairs(directions=directions), ByHand())
    wanted = ("a_to_b", "b_to_a") if directions == "both" else (directions,)
    assert trainer.model.directions == trainer.export().directions == wanted
    assert set(trainer.state.discs) == {f"disc_{direction[-1]}" for direction in wanted}
    for disc in trainer.state.discs.values():
        assert next(disc.parameters()).shape[1] == 6  # both pictures of a pair
    before = weights(trainer)
    losses = trainer.train_step(*make_batch(1))
    assert tuple(by_name(losses)) == trainer.term_names == TERMS[directions]
    assert torch.equal(torch.stack([*by_name(losses).values()]), trainer.history[0])
    assert all(float(term) > 0 for term in by_name(losses).values())
    after = weights(trainer)
    assert all(name in after and not torch.equal(before[name], after[name]) for name in before)
    assert trainer.state.pool_a.images == trainer.state.pool_b.images == []


def test_without_an_adversary_there_is_no_discriminator():
    trainer = Trainer(pairs(lambda_gan=0.0, lambda_l1=7.0, lr=0.01), ByHand())
    assert (trainer.state.discs, trainer.state.opt_disc) == ({}, None)
    real_a, real_b = make_batch(1)
    found = [float(trainer.train_step(real_a, real_b).l1_b) for _ in range(6)]
    assert trainer.term_names == ("l1_b",)
    with torch.no_grad():
        fake = Trainer(trainer.config, ByHand()).model.gen_ab(real_a * 2 - 1)
    assert found[0] == pytest.approx(7 * float((fake - (real_b * 2 - 1)).abs().mean()), rel=1e-6)
    assert found[-1] < 0.9 * found[0]


def test_a_run_has_the_terms_and_the_pictures_of_its_directions(tmp_path, pictures):
    config = pairs(directions="b_to_a", max_steps=2, sample_every=2)
    trainer = Trainer(config, open_folders(pictures, "pix2pix"))
    with RunFolder(tmp_path / "run", trainer, num_samples=3) as folder:
        trainer.run(on_step=folder.on_step)
        folder.save()
    with (tmp_path / "run" / "losses.csv").open() as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["step", "lr", *TERMS["b_to_a"]]
    assert len(table) == 2
    with Image.open(tmp_path / "run" / "samples" / "step_0000002.jpg") as grid:
        assert grid.size == (3 * 16, caption_height(16) + 3 * 16)  # b | fake_a | a
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.directions == ("b_to_a",)
    assert model.training_info["objective"] == "pix2pix"
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["config"]["objective"] == "pix2pix"
    assert "has no partner" in run["data"]["b"]
    # And the same command goes on.
    again = Trainer(replace(config, max_steps=3), open_folders(pictures, "pix2pix"))
    with RunFolder(tmp_path / "run", again) as folder:
        again.run(on_step=folder.on_step)
        folder.save()
    assert len((tmp_path / "run" / "losses.csv").read_text().splitlines()) == 4


def test_samples_show_a_source_its_translation_and_its_partner(tmp_path, pictures):
    data = open_folders(pictures, "pix2pix")
    trainer = Trainer(pairs(directions="both"), data)
    grid = RunFolder(tmp_path, trainer, num_samples=1).samples()
    grid = grid[:, caption_height(16) :]
    assert grid.shape == (3, 16, 6 * 16)
    a, fake_b, b, b_again, fake_a, a_again = grid.split(16, dim=2)
    sample = data.sample(0, seed=20170330)
    for shown, picture in ((a, sample.a), (a_again, sample.a), (b, sample.b), (b_again, sample.b)):
        assert torch.equal(shown, picture)
    trained = trainer.state.trained
    assert torch.equal(fake_b, trained.translate(sample.a[None], "a_to_b")[0])
    assert torch.equal(fake_a, trained.translate(sample.b[None], "b_to_a")[0])


def test_a_start_model_gives_the_generators_that_are_trained():
    start = Trainer(make_config(seed=9), ByHand()).export()
    trainer = Trainer(pairs(), ByHand(), model=start)
    assert trainer.model.directions == ("a_to_b",)
    for ours, theirs in zip(*(m.gen_ab.parameters() for m in (trainer.model, start)), strict=True):
        assert torch.equal(ours, theirs)


def test_looks_are_the_perceptual_distance_of_an_evaluation():
    """By the package whose weights ours were folded and rounded from."""
    config = pairs(lambda_gan=0.0, lambda_features=3.0, lr=0.003, directions="both")
    trainer = Trainer(config, ByHand())
    real_a, real_b = make_batch(1, size=2, side=64)
    fake = Trainer(config, ByHand()).model.gen_ab(real_a * 2 - 1).detach()
    found = [trainer.train_step(real_a, real_b) for _ in range(8)]
    assert trainer.term_names == ("l1_a", "l1_b", "features_a", "features_b")
    seen = LiteExtractor(0)
    each = zip((fake + 1) / 2, real_b, strict=True)
    wanted = [perceptual_distance(seen, x, y) for x, y in each]
    assert float(found[0].features_b) == pytest.approx(3 * sum(wanted) / len(wanted), rel=0.01)
    assert float(found[-1].features_b) < float(found[0].features_b)


def test_equal_pictures_look_alike_and_grey_ones_can_be_seen():
    network = load_feature_network(len(BLOCKS))
    grey = torch.rand(2, 1, 40, 33, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert float(feature_distance(network, grey, grey)) == 0
    noisy = (grey * 0.5).requires_grad_()
    feature_distance(network, noisy, grey).backward()
    assert torch.isfinite(noisy.grad).all()
    assert noisy.grad.abs().max() > 0


def test_a_divergence_names_the_term():
    trainer = Trainer(pairs(), ByHand())
    next(trainer.model.parameters()).data.fill_(math.nan)
    with pytest.raises(TrainingDivergedError, match=r"^Step 1: l1_b is nan, so the weights were"):
        trainer.train_step(*make_batch(1))
    sound = Trainer(pairs(lambda_gan=0.0), ByHand())
    sound.train_step(*make_batch(1))
    real_a, real_b = make_batch(2)
    with pytest.raises(TrainingDivergedError, match=r"^Step 2: l1_b is inf"):
        sound.train_step(real_a, real_b.fill_(math.inf))


# --- what does not fit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "named"),
    [
        ({}, {"objective": "cyclegan"}, "objective = pix2pix, not cyclegan"),
        ({}, {"directions": "b_to_a"}, "directions = a_to_b, not b_to_a"),
        ({"lambda_gan": 0.0}, {"lambda_gan": 1.0}, "lambda_gan = 0.0, not 1.0"),
        ({}, {"lambda_gan": 0.0}, "lambda_gan = 1.0, not 0.0"),
        ({"lambda_l1": 0.0}, {"lambda_l1": 1.0}, "lambda_l1 = 0.0, not 1.0"),
        ({}, {"lambda_features": 1.0}, "lambda_features = 0.0, not 1.0"),
    ],
)
def test_a_state_of_other_terms_is_refused(tmp_path, pictures, before, after, named):
    path = tmp_path / "state.safetensors"
    train(pairs(**before), open_folders(pictures, "pix2pix"), until=1).save_state(path)
    config = make_config(**{"objective": "pix2pix"} | before | after)
    other = Trainer(config, open_folders(pictures, config.objective))
    with pytest.raises(CheckpointError, match=f"was trained with {named}; use that again"):
        other.load_state(path)


def test_weights_of_terms_may_change(tmp_path, pictures):
    path = tmp_path / "state.safetensors"
    train(pairs(), open_folders(pictures, "pix2pix"), until=1).save_state(path)
    other = Trainer(pairs(lambda_gan=0.5, lambda_l1=10.0), open_folders(pictures, "pix2pix"))
    other.load_state(path)
    other.run()
    assert other.step == 6


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"lambda_gan": 0.0, "lambda_l1": 0.0}, "lambda_gan or lambda_l1 must be above 0"),
        ({"lambda_l1": -1.0}, "lambda_l1 must be a number at least 0; got -1.0"),
        ({"lambda_features": -1.0}, "lambda_features must be a number at least 0; got -1.0"),
        (
            {"lambda_features": 1.0, "model": ModelConfig(channels_b=4)},
            "lambda_features must be 0 unless translations have 1 or 3 channels, .*; got 1.0",
        ),
        (
            {"objective": "cyclegan", "lambda_features": 1.0},
            "lambda_features must be 0 with objective cyclegan, .*; got 1.0",
        ),
        ({"discriminator": "features"}, "discriminator must be patch or pixel with objective p"),
        ({"warmup_steps": 5}, "warmup_steps must be 0 and identity_every 1 with objective pix2pix"),
        ({"identity_every": 2}, "which has no identity terms; got 0 and 2"),
        ({"directions": "b"}, "directions must be one of both, a_to_b, b_to_a; got 'b'"),
        ({"objective": "cut"}, "objective must be one of cyclegan, pix2pix; got 'cut'"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, text):
    with pytest.raises(ValueError, match=text):
        TrainConfig(**{"objective": "pix2pix"} | settings)


def test_grey_to_colour_needs_no_identity_to_be_turned_off():
    config = TrainConfig(objective="pix2pix", model=ModelConfig(channels_a=1))
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_pairs_need_folders_of_pairs(pictures):
    with pytest.raises(ValueError, match="learns from pairs; open the folders as PairedFolders"):
        Trainer(pairs(), open_folders(pictures))
