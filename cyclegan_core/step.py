"""One training step in the paper's order: the terms, their gradients, and how the weights move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .ema import follow
from .networks import ResnetBlock
from .norms import at_least_float32
from .objective import Players, Terms, discriminator_term, generator_terms
from .optimisers import total_norm
from .ranks import average_gradients
from .training_checks import check_gradient, check_terms

if TYPE_CHECKING:
    from .trainer import Trainer


def prepare(trainer: Trainer) -> None:
    """Bring the networks into the form in which they train fastest, as the settings want it."""
    config = trainer.config
    is_quick = trainer.device.type == "cpu" and config.precision != "fp32"
    if config.channels_last == "on" or (config.channels_last == "auto" and is_quick):
        for network in (trainer.model, trainer.ema, trainer.disc_a, trainer.disc_b):
            network.to(memory_format=torch.channels_last)
    for module in trainer.model.modules():
        if isinstance(module, ResnetBlock):
            module.recompute = config.recompute
    if config.compile:
        for direction in trainer.model.directions:
            trainer.model.generator(direction).compile()
        trainer.disc_a.compile()
        trainer.disc_b.compile()


def play(trainer: Trainer, real_a: Tensor, real_b: Tensor) -> Terms:
    """The terms of a step on pictures in [-1,1]; their gradients are left in the networks.

    Raises:
        TrainingDivergedError: a term is not finite.
    """
    players = Players(trainer.model, trainer.disc_a, trainer.disc_b)
    trainer.model.train()
    with trainer.step_rng() as rng:
        players.freeze_discriminators(frozen=True)
        trainer.opt_gen.zero_grad()
        fake_a, fake_b, terms = _teach_generators(trainer, players, real_a, real_b)

        # The discriminators see fakes made before the generators move.
        players.freeze_discriminators(frozen=False)
        trainer.opt_disc.zero_grad()
        if trainer.config.lambda_gan > 0:
            for name, disc, pool, real, fake in (
                ("disc_b", trainer.disc_b, trainer.pool_b, real_b, fake_b),
                ("disc_a", trainer.disc_a, trainer.pool_a, real_a, fake_a),
            ):
                pooled = pool.query(fake)
                terms[name] = _teach_discriminator(trainer, name, disc, real, pooled, rng)
    return terms


def _teach_generators(
    trainer: Trainer, players: Players, real_a: Tensor, real_b: Tensor
) -> tuple[Tensor, Tensor, Terms]:
    """All fakes, at least float32 and without gradient, and the generators' terms."""
    config = trainer.config
    fakes_a: list[Tensor] = []
    fakes_b: list[Tensor] = []
    terms: Terms = {}
    for a, b in zip(_parts(trainer, real_a), _parts(trainer, real_b), strict=True):
        fake_a, fake_b, part = generator_terms(players, config, a, b)
        share = len(a) / len(real_a)
        part = {name: term * share for name, term in part.items()}
        check_terms(part, trainer.step + 1)
        _backward(trainer, torch.stack(list(part.values())).sum())
        fakes_a.append(at_least_float32(fake_a.detach()))
        fakes_b.append(at_least_float32(fake_b.detach()))
        _add(terms, part)
    return torch.cat(fakes_a), torch.cat(fakes_b), terms


def _teach_discriminator(
    trainer: Trainer,
    name: str,
    disc: nn.Module,
    real: Tensor,
    fake: Tensor,
    rng: torch.Generator,
) -> Tensor:
    """The term of a discriminator."""
    config = trainer.config
    alpha = torch.zeros(len(real), 1, 1, 1)
    if config.gan_mode == "wgangp":
        alpha = torch.rand(alpha.shape, generator=rng)
    terms: Terms = {}
    parts = (_parts(trainer, each) for each in (real, fake, alpha))
    for part_real, part_fake, part_alpha in zip(*parts, strict=True):
        term = discriminator_term(disc, config, part_real, part_fake, part_alpha)
        part = {name: term * (len(part_real) / len(real))}
        check_terms(part, trainer.step + 1)
        _backward(trainer, part[name])
        _add(terms, part)
    return terms[name]


def _parts(trainer: Trainer, batch: Tensor) -> tuple[Tensor, ...]:
    return batch.chunk(trainer.config.accumulate)


def _add(terms: Terms, part: Terms) -> None:
    """Add a part's terms to those of the parts before it."""
    for name, term in part.items():
        terms[name] = terms[name] + term.detach() if name in terms else term.detach()


def _backward(trainer: Trainer, loss: Tensor) -> None:
    (loss * trainer.loss_scale.factor).backward()


def move_weights(trainer: Trainer) -> None:
    """Average the gradients over the ranks, clip, step both optimisers, follow with the EMA.

    Raises:
        TrainingDivergedError: a gradient is not finite; no weight was changed.
    """
    config, number, scale = trainer.config, trainer.step + 1, trainer.loss_scale
    lr, lr_disc = config.lr, config.lr_discriminator
    learning = (
        ("generators", trainer.opt_gen, lr),
        ("discriminators", trainer.opt_disc, lr if lr_disc is None else lr_disc),
    )
    is_sound = True
    for who, optimizer, rate in learning:
        group = optimizer.param_groups[0]
        group["lr"] = rate * trainer.lr_multiplier(trainer.step)
        average_gradients(group["params"])
        scale.unscale(group["params"])
        norm = total_norm(group["params"])
        if scale.active:
            is_sound = is_sound and bool(torch.isfinite(norm))
        else:
            check_gradient(norm, who, number)
        if config.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(group["params"], config.grad_clip, norm)
    scale.note(overflow=not is_sound, step=number)
    if not is_sound:
        return
    for _, optimizer, _ in learning:  # only now that both are known to be finite
        optimizer.step()
    if config.ema_decay > 0:
        follow(trainer.ema, trainer.model, config.ema_decay, step=trainer.step)
