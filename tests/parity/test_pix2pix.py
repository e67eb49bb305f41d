"""Three steps of pix2pix equal the plain implementation: every term and every parameter."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core.config import DataConfig, ModelConfig, TrainConfig
from cyclegan_core.training.losses import by_name
from cyclegan_core.training.trainer import Trainer

from .plain import Arch, patch_discriminator, resnet_generator, unet_generator
from .plain_training import PlainPix2pix, make_pix2pix, plain_pix2pix_step
from .test_training import Data

pytestmark = pytest.mark.parity

CONFIGS = {
    "one way": {},
    "the other way": {"directions": "b_to_a"},
    "both ways": {"directions": "both"},
    "likelihood": {"gan_mode": "vanilla"},
    "wasserstein": {"gan_mode": "wgangp", "lambda_penalty": 1.0, "directions": "both"},
    "weights": {"lambda_l1": 7.0, "lambda_gan": 0.3},
    "distance alone": {"lambda_gan": 0.0},
    "judge alone": {"lambda_l1": 0.0},
    "parts of a batch": {"batch_size": 2, "accumulate": 2},
    "grey to colour": {"model": {"channels_a": 1}},
    "unet": {"model": {"generator": "unet", "num_downs": 5, "norm": "batch"}},
}


def pair(settings: dict, dtype: torch.dtype) -> tuple[Trainer, dict[str, PlainPix2pix]]:
    """Ours, and a plain one for each direction, with equal weights."""
    sizes = {"base_channels": 8, "num_blocks": 2, "image_size": 32} | settings.get("model", {})
    model = ModelConfig(**sizes)
    settings = {"objective": "pix2pix", "disc_channels": 8, "disc_layers": 2} | settings
    config = TrainConfig(**settings | {"model": model, "seed": 5})
    data = Data()
    data.config = DataConfig(channels_a=model.channels_a)
    trainer = Trainer(config, data)
    state = trainer.state
    for network in (trainer.model, *state.discs.values(), state.ema):
        network.to(dtype)
    plain = {}
    for direction in trainer.model.directions:
        disc = state.discs.get(f"disc_{direction[-1]}")
        plain[direction] = make_pix2pix(
            trainer.model.generator(direction).state_dict(),
            disc and disc.state_dict(),
            _generator(model),
            lambda p, x: patch_discriminator(p, x, Arch(num_layers=2), training=True),
            gan_mode=config.gan_mode,
            lambda_gan=config.lambda_gan,
            lambda_l1=config.lambda_l1,
            lambda_penalty=config.lambda_penalty,
        )
    return trainer, plain


def _generator(model: ModelConfig):
    if model.generator == "resnet":
        return lambda p, x: resnet_generator(p, x, Arch(num_blocks=2), training=True)
    return lambda p, x: unet_generator(p, x, Arch(num_downs=5, norm="batch"), training=True)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_term_and_parameter_in_double_precision(name):
    trainer, plain = pair(CONFIGS[name], torch.float64)
    before = {direction: _first(one.gen).clone() for direction, one in plain.items()}
    numbers = torch.Generator().manual_seed(1)
    model, count = trainer.config.model, trainer.config.batch_size
    for _ in range(3):
        real_a, real_b = (
            torch.rand(count, channels, 32, 32, generator=numbers, dtype=torch.float64)
            for channels in (model.channels_a, model.channels_b)
        )
        with trainer.state.step_rngs() as (rng,):
            alphas = torch.rand(2, count, 1, 1, 1, generator=rng)  # disc_b's first
        ours = by_name(trainer.train_step(real_a, real_b))
        theirs = {}
        for direction, one in plain.items():
            pictures = (real_a * 2 - 1, real_b * 2 - 1)
            source, target = pictures if direction == "a_to_b" else pictures[::-1]
            alpha = alphas[0 if direction == "a_to_b" else 1]
            found = plain_pix2pix_step(one, source, target, alpha)
            way = {"gan": f"gan_{direction[0]}{direction[-1]}"}
            theirs |= {way.get(k, f"{k}_{direction[-1]}"): v for k, v in found.items()}
        if trainer.config.lambda_l1 == 0:
            theirs = {term: value for term, value in theirs.items() if not term.startswith("l1")}
        assert ours.keys() == theirs.keys() == set(trainer.term_names)
        for term, value in theirs.items():
            assert_close(ours[term], value, rtol=1e-9, atol=1e-9)
    for direction, one in plain.items():
        # A gradient that should be 0 is noise, which Adam divides by its epsilon of 1e-8.
        _assert_same(trainer.model.generator(direction), one.gen)
        disc = trainer.state.discs.get(f"disc_{direction[-1]}")
        assert (disc is None) == (one.disc is None)
        if disc is not None:
            _assert_same(disc, one.disc)
        assert (_first(one.gen) - before[direction]).abs().max() > 1e-4


def _first(params: dict) -> torch.Tensor:
    return next(iter(params.values())).detach()


def _assert_same(network: torch.nn.Module, params: dict) -> None:
    for name, ours in network.state_dict().items():
        worst = float((ours - params[name].detach()).abs().max())
        assert worst <= 1e-7, f"{name} differs by {worst:.2g}"
