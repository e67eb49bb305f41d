"""What the players minimise: the terms of a step, from networks, settings and a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..model import CycleGAN
from ..networks import PatchDiscriminator, PixelDiscriminator, init_weights
from .losses import gan_loss, gradient_penalty, l1

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
    lambda_idt_a = config.lambda_a * config.lambda_identity
    lambda_idt_b = config.lambda_b * config.lambda_identity
    together = can_batch(config, real_a, real_b)
    with autocast(config, real_a.device):
        with_b = real_b if together and lambda_idt_b > 0 else None
        with_a = real_a if together and lambda_idt_a > 0 else None
        fake_b, idt_b = _fake_and_identity(players, "gen_ab", real_a, with_b)
        fake_a, idt_a = _fake_and_identity(players, "gen_ba", real_b, with_a)
        if config.lambda_a > 0 and config.cycle in ("both", "forward"):  # eq. 2
            rec_a = players.generate("gen_ba", fake_b)
            terms["cycle_a"] = config.lambda_a * l1(rec_a, real_a)
        if config.lambda_b > 0 and config.cycle in ("both", "backward"):
            rec_b = players.generate("gen_ab", fake_a)
            terms["cycle_b"] = config.lambda_b * l1(rec_b, real_b)
        if lambda_idt_b > 0:  # section 5.2
            idt_b = players.generate("gen_ab", real_b) if idt_b is None else idt_b
            terms["identity_b"] = lambda_idt_b * l1(idt_b, real_b)
        if lambda_idt_a > 0:
            idt_a = players.generate("gen_ba", real_a) if idt_a is None else idt_a
            terms["identity_a"] = lambda_idt_a * l1(idt_a, real_a)
        if config.lambda_gan > 0:  # eq. 1
            for name, disc, fake in (
                ("gan_ab", players.disc_b, fake_b),
                ("gan_ba", players.disc_a, fake_a),
            ):
                verdict = gan_loss(disc(fake), is_real=True, mode=config.gan_mode)
                terms[name] = config.lambda_gan * verdict
    return fake_a, fake_b, terms


def _fake_and_identity(
    players: Players, name: str, source: Tensor, target: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """`source` translated, and in the same pass `target`, if it is given."""
    if target is None:
        return players.generate(name, source), None
    fake, identity = players.generate(name, torch.cat([source, target])).chunk(2)
    return fake, identity


def discriminator_term(
    disc: nn.Module, config: TrainConfig, real: Tensor, fake: Tensor, alpha: Tensor
) -> Tensor:
    """Half the sum of a discriminator's losses on real and generated pictures (eq. 1).

    With wgangp the gradient penalty is inside the half, so that it keeps its proportion; `alpha`,
    (B,1,1,1) in [0,1], says where between real and generated it is measured.
    """
    with autocast(config, real.device):
        if config.batch_passes and real.shape == fake.shape:  # its norm is always per picture
            on_real, on_fake = disc(torch.cat([real, fake])).chunk(2)
        else:
            on_real, on_fake = disc(real), disc(fake)
        term = gan_loss(on_real, is_real=True, mode=config.gan_mode)
        term = term + gan_loss(on_fake, is_real=False, mode=config.gan_mode)
    if config.gan_mode == "wgangp":
        alpha = alpha.to(real)
        term = term + config.lambda_penalty * gradient_penalty(disc, real, fake, alpha)
    return 0.5 * term


def can_batch(config: TrainConfig, x: Tensor, y: Tensor) -> bool:
    """Whether pictures can pass a generator together without knowing of each other."""
    return config.batch_passes and config.model.norm != "batch" and x.shape == y.shape


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """The context in which convolutions run in `config.precision`."""
    dtype = torch.float16 if config.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=config.precision != "fp32")
