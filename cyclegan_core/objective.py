"""What the players minimise: the terms of a step, from networks, settings and a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import TrainConfig
from .losses import gan_loss, gradient_penalty, l1
from .model import CycleGAN
from .networks import PatchDiscriminator, PixelDiscriminator, init_weights

Terms = dict[str, Tensor]
"""Names of `Losses` fields -> weighted scalars; a term that the settings switch off is absent."""


@dataclass(frozen=True, slots=True)
class Players:
    """The four networks of the game."""

    model: CycleGAN
    disc_a: nn.Module
    """Judges domain A."""
    disc_b: nn.Module
    """Judges domain B."""

    def generate(self, name: str, images: Tensor) -> Tensor:
        """Pictures in [-1,1] through gen_ab or gen_ba, whose input may want another range."""
        low, high = self.model.config.value_range
        if (low, high) != (-1.0, 1.0):
            images = (images + 1) * ((high - low) / 2) + low
        return getattr(self.model, name)(images)

    def freeze_discriminators(self, *, frozen: bool) -> None:
        """While the generators learn, the discriminators need no gradient."""
        for disc in (self.disc_a, self.disc_b):
            disc.requires_grad_(requires_grad=not frozen)


def new_discriminator(config: TrainConfig, channels: int) -> nn.Module:
    """Fresh, for pictures of so many channels."""
    width = config.disc_channels
    network = (
        PatchDiscriminator(channels, base_channels=width, num_layers=config.disc_layers)
        if config.discriminator == "patch"
        else PixelDiscriminator(channels, base_channels=width)
    )
    init_weights(network)
    return network


def generator_terms(
    players: Players, config: TrainConfig, real_a: Tensor, real_b: Tensor
) -> tuple[Tensor, Tensor, Terms]:
    """fake_a, fake_b, and the terms of the generators' objective (eq. 3 and section 5.2).

    `real_a` and `real_b` are (B,C,H,W) in [-1,1].
    """
    terms: Terms = {}
    with autocast(config, real_a.device):
        fake_b = players.generate("gen_ab", real_a)
        fake_a = players.generate("gen_ba", real_b)
        if config.lambda_a > 0 and config.cycle in ("both", "forward"):  # eq. 2
            rec_a = players.generate("gen_ba", fake_b)
            terms["cycle_a"] = config.lambda_a * l1(rec_a, real_a)
        if config.lambda_b > 0 and config.cycle in ("both", "backward"):
            rec_b = players.generate("gen_ab", fake_a)
            terms["cycle_b"] = config.lambda_b * l1(rec_b, real_b)
        if config.lambda_b * config.lambda_identity > 0:  # section 5.2
            idt_b = players.generate("gen_ab", real_b)
            terms["identity_b"] = config.lambda_b * config.lambda_identity * l1(idt_b, real_b)
        if config.lambda_a * config.lambda_identity > 0:
            idt_a = players.generate("gen_ba", real_a)
            terms["identity_a"] = config.lambda_a * config.lambda_identity * l1(idt_a, real_a)
        if config.lambda_gan > 0:  # eq. 1
            for name, disc, fake in (
                ("gan_ab", players.disc_b, fake_b),
                ("gan_ba", players.disc_a, fake_a),
            ):
                verdict = gan_loss(disc(fake), is_real=True, mode=config.gan_mode)
                terms[name] = config.lambda_gan * verdict
    return fake_a, fake_b, terms


def discriminator_term(
    disc: nn.Module, config: TrainConfig, real: Tensor, fake: Tensor, rng: torch.Generator
) -> Tensor:
    """Half the sum of a discriminator's losses on real and generated pictures (eq. 1).

    With wgangp the gradient penalty is inside the half, so that it keeps its proportion; `rng`
    draws where between real and generated it is measured.
    """
    with autocast(config, real.device):
        term = gan_loss(disc(real), is_real=True, mode=config.gan_mode)
        term = term + gan_loss(disc(fake), is_real=False, mode=config.gan_mode)
    if config.gan_mode == "wgangp":
        alpha = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
        term = term + config.lambda_penalty * gradient_penalty(disc, real, fake, alpha)
    return 0.5 * term


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """The context in which convolutions run in `config.precision`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
