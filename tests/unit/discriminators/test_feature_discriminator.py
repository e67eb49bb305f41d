"""Discriminators in feature space: what learns, what does not, and what they are worth."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.testing import assert_close

from cyclegan_core import TrainingDivergedError
from cyclegan_core.config import TrainConfig
from cyclegan_core.discriminators.augment import augment
from cyclegan_core.discriminators.feature_discriminator import FeatureDiscriminator, least_side
from cyclegan_core.layers import SpectralConv2d
from cyclegan_core.training.losses import (
    Batch,
    build_discriminator,
    by_name,
    generator_terms,
    judge,
)
from cyclegan_core.training.trainer import Trainer

from ..tiny import (
    FEATURES,
    MODEL,
    ByHand,
    everything,
    make_batch,
    make_config,
    open_folders,
    train,
    weights,
)

BOTH = FEATURES | {"discriminator": "patch_features"}


def make(**settings) -> tuple[TrainConfig, FeatureDiscriminator]:
    torch.manual_seed(0)
    config = make_config(**BOTH | settings)
    return config, build_discriminator(config, config.model.channels_a)


def test_heads_count_one_together_and_the_patches_what_is_asked():
    config, disc = make(lambda_patch=0.25, feature_taps=(0, 1, 2, 4))
    x = torch.rand(2, 3, 32, 32)
    maps = judge(disc, config, x, torch.rand(2, 5))
    assert [weight for weight, _ in maps] == [0.25, 0.25, 0.25, 0.25, 0.25]
    assert [tuple(logits.shape) for _, logits in maps] == [
        *((2, 1, side, side) for side in (8, 4, 4, 2)),  # of features of 16, 8, 8 and 4 pixels
        (2, 1, 14, 14),
    ]
    _, alone = make(discriminator="features")
    assert alone.weights == [0.5, 0.5]
    assert alone.patch is None


def test_the_term_is_the_weighted_sum():
    """Against the definition, head by head, with each map's own hinge."""
    config, disc = make(lambda_patch=0.5, lambda_gan=2.0, lambda_identity=0.0)
    trainer = Trainer(config, ByHand())
    state = trainer.state
    real_a, real_b = (x * 2 - 1 for x in make_batch(1))
    draws = torch.rand(1, 3, 5)
    moves = torch.zeros(2, len(real_a), 3, dtype=torch.int64)
    batch = Batch(real_a, real_b, real_a, real_b, draws, draws, *moves)
    _, fake_b, terms = generator_terms(state.model, state.disc_a, state.disc_b, config, batch)
    disc, means = state.disc_b, []
    colour, shift = config.augment_colour, config.augment_shift
    seen = augment(fake_b, draws[:, 0], colour=colour, shift=shift)
    for head, features in zip(disc.heads, disc.features(seen, disc.taps), strict=True):
        means.append(-head(features / 6).mean())
    by_hand = 2.0 * (sum(means) / 2 - 0.5 * disc.patch(fake_b).mean())
    assert_close(terms["gan_ab"], by_hand)


def test_gradients_reach_the_picture_and_never_the_frozen_network():
    config, disc = make()
    x = torch.rand(1, 3, 16, 16, requires_grad=True)
    before = [buffer.clone() for buffer in disc.features.buffers()]
    sum(logits.mean() for _, logits in judge(disc, config, x, torch.rand(1, 5))).backward()
    assert (x.grad != 0).float().mean() > 0.9
    assert list(disc.features.parameters()) == []
    assert all(buffer.grad is None for buffer in disc.features.buffers())
    assert all(map(torch.equal, before, disc.features.buffers()))


def test_a_training_moves_heads_and_patches_alone(tmp_path):
    trainer = Trainer(make_config(**BOTH), open_folders(tmp_path / "data"))
    frozen = [buffer.clone() for buffer in trainer.state.disc_a.features.buffers()]
    before = weights(trainer)
    trainer.run()
    after = weights(trainer)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    for disc in ("disc_a.", "disc_b."):
        names = {name for name in before if name.startswith(disc)}
        vectors = {name for name in names if name.endswith(".left")}
        # A vector of one number is its sign; inside hinge's margin real and fake pull the last
        # bias to and fro.
        still = {name for name in names if before[name].numel() == 1}
        assert names - still <= moved
        assert len(vectors) == 3 * 2 + 3
    assert all(map(torch.equal, frozen, trainer.state.disc_a.features.buffers()))
    assert not any(".features." in name for name in everything(trainer))


def test_the_state_file_leaves_the_frozen_network_out(tmp_path):
    trainer = train(make_config(**FEATURES), open_folders(tmp_path / "data"), until=1)
    trainer.save_state(tmp_path / "state.safetensors")
    frozen = sum(buffer.nbytes for buffer in trainer.state.disc_a.features.buffers())
    assert (tmp_path / "state.safetensors").stat().st_size - frozen < 0.2e6


def test_largest_singular_values_are_one_after_steps(tmp_path):
    """Against torch's own decomposition; the vector follows weights that move by 2e-4 a step."""
    config = make_config(**BOTH, max_steps=12)
    trainer = Trainer(config, open_folders(tmp_path / "data"))
    trainer.run()
    layers = [m for m in trainer.state.disc_b.modules() if isinstance(m, SpectralConv2d)]
    assert len(layers) == 9
    for layer in layers:
        matrix = layer.weight.detach().flatten(1)
        used = float((matrix.T @ layer.left).norm())
        assert_close(used, float(torch.linalg.matrix_norm(matrix, 2)), rtol=0.05, atol=0)


def test_grey_pictures_are_judged_as_their_colour_would_be():
    model = replace(MODEL, channels_a=1, channels_b=1)
    config, disc = make(model=model, discriminator="features")
    x, draws = torch.rand(2, 1, 16, 16), torch.rand(2, 5)
    for (_, grey), (_, colour) in zip(
        judge(disc, config, x, draws),
        judge(disc, config, x.expand(-1, 3, -1, -1), draws),
        strict=True,
    ):
        assert_close(grey, colour)


def test_features_stay_in_float32_under_autocast():
    _, disc = make(discriminator="features", feature_taps=(0, 4))
    x = torch.rand(1, 3, 32, 32)
    seen = []
    for block in disc.features.blocks:
        block.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        logits = disc(x, x)
    assert set(seen) == {torch.float32}
    assert {each.dtype for each in logits} == {torch.bfloat16}


def test_a_step_that_is_not_finite_leaves_the_vectors(tmp_path):
    trainer = Trainer(make_config(**BOTH), open_folders(tmp_path / "data"))
    before = everything(trainer)
    a, b = make_batch(1)
    with pytest.raises(TrainingDivergedError, match=r"^Step 1: .* is nan"):
        trainer.train_step(a * float("nan"), b)
    after = everything(trainer)
    for name in before:
        if name.endswith(".left"):
            assert torch.equal(before[name], after[name])


@pytest.mark.parametrize(("taps", "side"), [((0,), 8), ((0, 2), 16), ((0, 2, 4), 32), ((10,), 64)])
def test_the_smallest_crop_trains(taps, side):
    assert least_side(taps) == side
    config = make_config(**FEATURES | {"feature_taps": taps})
    data = ByHand(crop_size=side, load_size=side)
    losses = Trainer(config, data).train_step(*make_batch(1, side=side))
    assert all(torch.isfinite(term) for term in by_name(losses).values())
    with pytest.raises(ValueError, match=rf"at least {side} for these networks; got {side - 4}\."):
        Trainer(config, ByHand(crop_size=side - 4, load_size=side))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"feature_taps": (0, 11)}, "feature_taps must be different numbers from 0 to 10, "),
        ({"feature_taps": ()}, "feature_taps must be different numbers from 0 to 10, "),
        ({"feature_taps": (4, 2)}, "feature_taps must be .*, ascending; got (4, 2)."),
        ({"feature_taps": (2, 2)}, "feature_taps must be .*, ascending; got (2, 2)."),
        ({"feature_taps": (True,)}, "feature_taps must be .*, ascending; got (True,)."),
        ({"feature_taps": 4}, "feature_taps must be .*, ascending; got 4."),
        ({"feature_width": 0}, "feature_width must be a whole number of at least 1; got 0."),
        ({"lambda_patch": -1.0}, "lambda_patch must be a number at least 0; got -1.0."),
        ({"augment_shift": 0.6}, "augment_shift must be a number from 0 to 0.5; got 0.6."),
        ({"augment_colour": 2.0}, "augment_colour must be a number from 0 to 1; got 2.0."),
        ({"gan_mode": "wgangp"}, "gan_mode must be hinge, lsgan or vanilla with feature"),
        (
            {"model": replace(MODEL, channels_a=4, channels_b=4)},
            "discriminator must be patch or pixel for pictures of 4 channels, since ImageNet",
        ),
        ({"disc_norm": "batch"}, "disc_norm must be one of instance, spectral, none; got 'batch'."),
    ],
)
def test_a_wrong_setting_is_named(settings, sentence):
    pattern = "^" + re.escape(sentence).replace(re.escape(".*"), ".*")
    with pytest.raises(ValueError, match=pattern):
        TrainConfig(**BOTH | settings)


def test_settings_travel_as_json():
    config = TrainConfig(**BOTH)
    values = config.to_dict()
    assert values["feature_taps"] == [0, 1]
    assert TrainConfig.from_dict(values) == config
    assert hash(TrainConfig.from_dict(values)) == hash(config)


def test_spectral_norm_has_the_papers_gradient():
    """Miyato et al. 2018, eq. 12: (G - <G, W/σ> u vᵀ) / σ, by autograd of the definition."""
    torch.manual_seed(0)
    layer = SpectralConv2d(3, 5, 3).double()
    for _ in range(200):
        layer.follow_weight(skip=torch.tensor(False))
    x, target = torch.rand(1, 3, 6, 6).double(), torch.rand(1, 5, 4, 4).double()
    (layer(x) * target).sum().backward()
    weight = layer.weight.detach().clone().requires_grad_()
    sigma = torch.linalg.matrix_norm(weight.flatten(1), 2)
    (F.conv2d(x, weight / sigma, layer.bias) * target).sum().backward()
    assert_close(layer.weight.grad, weight.grad, rtol=1e-6, atol=1e-9)
