"""The trainer's settings, each checked by what it moves; parity of a step is in tests/parity."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from cyclegan_core.config import ModelConfig, TrainConfig
from cyclegan_core.networks import PatchDiscriminator, PixelDiscriminator
from cyclegan_core.training.losses import Losses
from cyclegan_core.training.step import draw_inputs
from cyclegan_core.training.trainer import Trainer

from ..tiny import (
    MODEL,
    NETWORKS,
    ByHand,
    draw_folders,
    make_batch,
    make_config,
    networks,
    open_folders,
    weights,
)


def make_trainer(**settings) -> Trainer:
    return Trainer(make_config(**settings), ByHand())


def moved(trainer: Trainer, before: dict[str, torch.Tensor]) -> set[str]:
    """Which of the four networks changed."""
    return {
        name
        for name, network in networks(trainer).items()
        if any(
            not torch.equal(tensor, before[f"{name}.{key}"])
            for key, tensor in network.state_dict().items()
        )
    }


def copies(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": tensor.clone()
        for name, network in networks(trainer).items()
        for key, tensor in network.state_dict().items()
    }


# --- ablations ---------------------------------------------------------------------------------

IDENTITY = {"identity_a", "identity_b"}
DISC = {"disc_a", "disc_b"}
GAN = {"gan_ab", "gan_ba"}
CYCLE = {"cycle_a", "cycle_b"}
ABLATIONS = {
    "all": ({}, GAN | CYCLE | IDENTITY | DISC, set(NETWORKS)),
    "no adversary": ({"lambda_gan": 0.0}, CYCLE | IDENTITY, {"gen_ab", "gen_ba"}),
    "no cycle": ({"cycle": "none"}, GAN | IDENTITY | DISC, set(NETWORKS)),
    "forward": ({"cycle": "forward"}, GAN | IDENTITY | DISC | {"cycle_a"}, set(NETWORKS)),
    "backward": ({"cycle": "backward"}, GAN | IDENTITY | DISC | {"cycle_b"}, set(NETWORKS)),
    "no identity": ({"lambda_identity": 0.0}, GAN | CYCLE | DISC, set(NETWORKS)),
    "lambda_a 0": ({"lambda_a": 0.0}, GAN | {"cycle_b", "identity_b"} | DISC, set(NETWORKS)),
    "identity b": (
        {"lambda_gan": 0.0, "cycle": "none", "lambda_a": 0.0},
        {"identity_b"},
        {"gen_ab"},
    ),
    "identity a": (
        {"lambda_gan": 0.0, "cycle": "none", "lambda_b": 0.0},
        {"identity_a"},
        {"gen_ba"},
    ),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations(name):
    settings, terms, players = ABLATIONS[name]
    trainer = make_trainer(**settings)
    before = copies(trainer)
    losses = trainer.train_step(*make_batch(1))
    assert {name for name, term in losses._asdict().items() if term != 0} == terms
    assert moved(trainer, before) == players
    has_moments = {state for state in weights(trainer) if state.startswith("opt_disc")}
    assert bool(has_moments) == ("disc_a" in players)


def test_without_an_adversary_neither_pool_nor_rng_are_touched():
    trainer = make_trainer(lambda_gan=0.0)
    before = trainer.state.pool_rng.getstate()
    trainer.train_step(*make_batch(1))
    assert (trainer.state.pool_a.images, trainer.state.pool_b.images) == ([], [])
    assert trainer.state.pool_rng.getstate() == before


def test_forward_cycle_alone_is_the_papers():
    """Of lambda_a |gen_ba(gen_ab(a)) - a| both generators learn, and nothing else is there."""
    trainer = make_trainer(lambda_gan=0.0, lambda_identity=0.0, cycle="forward", lambda_a=7.0)
    a, b = make_batch(1)
    x = a * 2 - 1
    with torch.no_grad():
        rec = trainer.model.gen_ba(trainer.model.gen_ab(x))
    losses = trainer.train_step(a, b)
    assert_close(losses.cycle_a, 7 * (rec - x).abs().mean())
    assert sum(losses) == losses.cycle_a


@pytest.mark.parametrize("settings", [{"lambda_identity": 0.0}, {"lambda_a": 0.0, "lambda_b": 0.0}])
def test_nothing_to_learn_is_refused(settings):
    with pytest.raises(ValueError, match=r"^lambda_gan must be above 0 .* nothing to learn"):
        make_config(lambda_gan=0.0, cycle="none", **settings)


# --- optimisers --------------------------------------------------------------------------------


def test_learning_rates_are_separate():
    trainer = make_trainer(lr=1e-3, lr_discriminator=5e-3, max_steps=2, constant_fraction=0.0)
    for multiplier in (2 / 3, 1 / 3):
        trainer.train_step(*make_batch(1))
        assert trainer.state.opt_gen.param_groups[0]["lr"] == pytest.approx(1e-3 * multiplier)
        assert trainer.state.opt_disc.param_groups[0]["lr"] == pytest.approx(5e-3 * multiplier)


def test_adams_first_step_is_the_learning_rate():
    """Whatever the gradient, if it is large beside epsilon; so each network moves at its rate."""
    trainer = make_trainer(lr=1e-3, lr_discriminator=5e-3)
    before = copies(trainer)
    trainer.train_step(*make_batch(1))
    for name, network in networks(trainer).items():
        rate = 5e-3 if name.startswith("disc") else 1e-3
        change = max(
            float((tensor - before[f"{name}.{key}"]).abs().max())
            for key, tensor in network.state_dict().items()
        )
        assert change == pytest.approx(rate, rel=1e-3)


def test_betas_are_adams():
    trainer = make_trainer(beta1=0.3, beta2=0.9)
    for optimizer in (trainer.state.opt_gen, trainer.state.opt_disc):
        assert optimizer.param_groups[0]["betas"] == (0.3, 0.9)


@pytest.mark.parametrize("limit", [1e-3, 1e9])
def test_gradient_clipping(limit):
    """Adam's first mean is (1 - beta1) times the gradient it was given, clipped per optimiser."""
    given = {}
    for clip in (None, limit):
        trainer = make_trainer(grad_clip=clip)
        trainer.train_step(*make_batch(1))
        for name in ("opt_gen", "opt_disc"):
            moments = [state["exp_avg"] for state in trainer.state.optimizers[name].state.values()]
            given[name, clip] = torch.cat([moment.flatten() for moment in moments]) / 0.5
    for name in ("opt_gen", "opt_disc"):
        free, clipped = given[name, None], given[name, limit]
        assert free.norm() > 2e-3
        if limit == 1e-3:
            assert_close(clipped.norm(), torch.tensor(limit), rtol=1e-3, atol=0)
            assert_close(clipped / clipped.norm(), free / free.norm(), rtol=1e-3, atol=1e-5)
        else:
            assert torch.equal(clipped, free)


def test_discriminator_kinds():
    patch = make_trainer(discriminator="patch", disc_layers=2, disc_channels=3)
    assert isinstance(patch.state.disc_a, PatchDiscriminator)
    assert [
        layer.out_channels for layer in patch.state.disc_a.model if hasattr(layer, "stride")
    ] == [
        3,
        6,
        12,
        1,
    ]
    pixel = make_trainer(discriminator="pixel", disc_channels=3)
    assert isinstance(pixel.state.disc_b, PixelDiscriminator)
    before = copies(pixel)
    pixel.train_step(*make_batch(1))
    assert moved(pixel, before) == set(NETWORKS)


# --- what fits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "data", "sentence"),
    [
        ({}, {"channels_a": 1}, "channels_a is 1 for the pictures and 3 for the model"),
        ({}, {"crop_size": 18}, "crop_size must be a multiple of 4 and at least 8 .*; got 18"),
        ({"disc_layers": 3}, {}, "crop_size must be a multiple of 4 and at least 24 .*; got 16"),
        ({"discriminator": "pixel"}, {"crop_size": 4}, "at least 8 .*; got 4"),
        (
            {"model": ModelConfig(generator="unet", num_downs=5, base_channels=2)},
            {},
            "crop_size must be a multiple of 32 and at least 32 .*; got 16",
        ),
        (
            {"batch_size": 10**9},
            {},
            "batch_size must be smaller: 1000000000 pictures of 16 pixels take 30720.0 GB, decoded",
        ),
    ],
)
def test_pictures_that_do_not_fit_are_refused(config, data, sentence):
    with pytest.raises(ValueError, match=sentence):
        Trainer(make_config(**config), ByHand(**data))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_smallest_crop_of_each_discriminator_trains(layers):
    side = max(8, 3 * 2**layers)
    trainer = Trainer(make_config(disc_layers=layers), ByHand(crop_size=side, load_size=side))
    losses = trainer.train_step(*make_batch(1, side=side))
    assert torch.isfinite(torch.stack(losses)).all()
    with pytest.raises(ValueError, match=f"at least {side} "):
        Trainer(make_config(disc_layers=layers), ByHand(crop_size=side - 4, load_size=side))


def test_whole_pictures_of_different_sizes(tmp_path):
    """The pool holds both kinds; wgangp would have to mix them."""
    folder = tmp_path / "data"
    draw_folders(folder)
    Image.new("RGB", (12, 24), "red").save(folder / "a" / "tall.png")
    data = open_folders(folder, preprocess="none")
    assert len(data.sample_sizes[0]) == 2
    trainer = Trainer(make_config(pool_size=2, max_steps=8), data)
    trainer.run()
    assert len(trainer.state.pool_a.images) == 2
    with pytest.raises(ValueError, match=r"gan_mode wgangp mixes .* all must have one size; got 2"):
        Trainer(make_config(gan_mode="wgangp"), data)


def test_grey_to_colour(tmp_path):
    model = replace(MODEL, channels_a=1)
    config = make_config(model=model, lambda_identity=0.0, max_steps=2)
    trainer = Trainer(config, open_folders(tmp_path / "data", channels_a=1))
    exported = trainer.run()
    assert exported.translate(torch.rand(1, 1, 8, 8)).shape == (1, 3, 8, 8)


def test_bf16_keeps_weights_and_losses_in_float32():
    trainer = make_trainer(precision="bf16")
    losses = trainer.train_step(*make_batch(1))
    full = make_trainer().train_step(*make_batch(1))
    assert {term.dtype for term in losses} == {torch.float32}
    assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert {image.dtype for image in trainer.state.pool_a.images} == {torch.float32}
    assert not torch.equal(torch.stack(losses), torch.stack(full))
    assert_close(torch.stack(losses), torch.stack(full), rtol=0.05, atol=0.01)


def test_the_models_own_range_of_values_is_honoured():
    """Of a model whose inputs are 0..1, the reals are given as that and the fakes too."""
    narrow = replace(MODEL, value_range=(0.0, 1.0))
    trainer = make_trainer(model=narrow, lambda_gan=0.0, lambda_identity=0.0, cycle="forward")
    a, b = make_batch(1)
    with torch.no_grad():
        fake = trainer.model.gen_ab(a)
        rec = trainer.model.gen_ba((fake + 1) / 2)
    assert_close(trainer.train_step(a, b).cycle_a, 10 * (rec - (a * 2 - 1)).abs().mean())


def test_defaults_are_the_papers():
    config = TrainConfig()
    assert (config.lr, config.beta1, config.beta2, config.batch_size) == (2e-4, 0.5, 0.999, 1)
    assert (config.lambda_a, config.lambda_b, config.lambda_identity) == (10, 10, 0.5)
    assert (config.gan_mode, config.pool_size, config.schedule) == ("lsgan", 50, "linear")
    assert Losses._fields[:2] == ("gan_ab", "gan_ba")


def test_noise_is_on_what_is_translated_alone():
    """Its deviation is uniform up to the setting; a step's noise is the same whenever it comes."""
    trainer = make_trainer(input_noise=0.2, batch_size=64)
    a, b = make_batch(1, size=64)
    drawn = [draw_inputs(trainer.state, a, b, torch.Generator().manual_seed(7)) for _ in range(2)]
    inputs, again = drawn
    assert torch.equal(inputs.source_a, again.source_a)
    assert torch.equal(inputs.real_a, a * 2 - 1)
    deviation = (inputs.source_b - inputs.real_b).std((1, 2, 3))
    assert 0 <= deviation.min() < 0.02
    assert 0.18 < deviation.max() < 0.21
    plain = draw_inputs(make_trainer().state, a, b, torch.Generator())
    assert plain.source_a is plain.real_a
