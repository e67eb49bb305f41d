"""One training step in the paper's order: the terms, their gradients, and how the weights move.

It has two halves. The host draws all random numbers and puts them into `Inputs`; the device then
computes the step from these tensors alone, in `device_step`, in which no Python decision changes
from step to step and nothing is read back: so it can run ahead, and be recorded as a CUDA graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from ..device.distributed import average_gradients
from ..device.precision import at_least_float32
from ..networks import ResnetBlock
from .divergence import judge
from .ema import follow, share_of_new
from .image_pool import ImagePool
from .objective import Players, Terms, discriminator_term, generator_terms
from .optimiser import move, set_rate, total_norm

if TYPE_CHECKING:
    from .trainer import Trainer


class Inputs(NamedTuple):
    """All that differs from one step to the next; tensors on the device."""

    real_a: Tensor
    """(B,C,H,W) in [-1,1]."""
    real_b: Tensor
    exchange_a: Tensor
    """(2,B) int64: what `ImagePool.decide` decided for the fakes of domain A."""
    exchange_b: Tensor
    alpha_a: Tensor
    """(B,1,1,1) in [0,1]: where between real and generated wgangp measures its penalty."""
    alpha_b: Tensor
    share: Tensor
    """A number: what the new weights count for in their average."""


def prepare(trainer: Trainer) -> None:
    """Bring the networks into the form in which they train fastest, as the settings want it."""
    config = trainer.config
    is_quick = trainer.device.type in ("cpu", "cuda") and config.precision != "fp32"
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


def host_step(trainer: Trainer, real_a: Tensor, real_b: Tensor, rng: torch.Generator) -> Inputs:
    """Draw a step's random numbers in the original's order, and set the learning rates.

    Pictures are (B,C,H,W) in [0,1]; page-locked memory is copied while the host goes on.
    """
    config, count = trainer.config, len(real_a)
    multiplier = trainer.lr_multiplier(trainer.step)
    lr_disc = config.lr if config.lr_discriminator is None else config.lr_discriminator
    set_rate(trainer.opt_gen, config.lr * multiplier)
    set_rate(trainer.opt_disc, lr_disc * multiplier)

    nothing = torch.zeros(2, count, dtype=torch.int64)
    has_judges = config.lambda_gan > 0
    # disc_b is taught first, so its pool and its penalty draw first.
    exchange_b = trainer.pool_b.decide(count) if has_judges else nothing
    exchange_a = trainer.pool_a.decide(count) if has_judges else nothing
    alphas = torch.zeros(2, count, 1, 1, 1)
    if has_judges and config.gan_mode == "wgangp":
        alphas = torch.rand(alphas.shape, generator=rng)
    share = torch.tensor(share_of_new(config.ema_decay, step=trainer.step))

    def on_device(tensor: Tensor) -> Tensor:
        return tensor.to(trainer.device, non_blocking=True)

    return Inputs(
        real_a=on_device(real_a) * 2 - 1,
        real_b=on_device(real_b) * 2 - 1,
        exchange_a=on_device(exchange_a),
        exchange_b=on_device(exchange_b),
        alpha_a=on_device(alphas[1]),
        alpha_b=on_device(alphas[0]),
        share=on_device(share),
    )


def device_step(trainer: Trainer, inputs: Inputs) -> Tensor:
    """The step; its row as in `readings.judge`. What is not finite changes nothing."""
    statistics = [(buffer, buffer.clone()) for buffer in trainer.model.buffers()]
    (fake_a, fake_b), terms = _play(trainer, inputs)
    norms = [_finish_gradients(trainer, each) for each in (trainer.opt_gen, trainer.opt_disc)]
    row, skip = judge(trainer, terms, norms)
    sound = ~trainer.diverged
    for buffer, before in statistics:
        buffer.copy_(torch.where(sound, buffer, before))
    for pool, fakes, exchange in _pools(trainer, fake_a, fake_b, inputs):
        pool.keep(fakes, exchange, sound=sound)
    move(trainer.opt_gen, skip=skip)
    move(trainer.opt_disc, skip=skip)
    if trainer.config.ema_decay > 0:
        follow(trainer.ema, trainer.model, torch.where(skip, 0.0, inputs.share))
    return row


def _pools(
    trainer: Trainer, fake_a: Tensor, fake_b: Tensor, inputs: Inputs
) -> list[tuple[ImagePool, Tensor, Tensor]]:
    """Each pool with what is offered to it; none if nobody looks at them."""
    if trainer.config.lambda_gan == 0:
        return []
    return [
        (trainer.pool_b, fake_b, inputs.exchange_b),
        (trainer.pool_a, fake_a, inputs.exchange_a),
    ]


def _play(trainer: Trainer, inputs: Inputs) -> tuple[tuple[Tensor, Tensor], Terms]:
    """The fakes and the terms of a step; their gradients are left in the networks."""
    players = Players(trainer.model, trainer.disc_a, trainer.disc_b)
    trainer.model.train()
    players.freeze_discriminators(frozen=True)
    trainer.opt_gen.zero_grad()
    fake_a, fake_b, terms = _teach_generators(trainer, players, inputs.real_a, inputs.real_b)

    # The discriminators see fakes made before the generators move.
    players.freeze_discriminators(frozen=False)
    trainer.opt_disc.zero_grad()
    judges = (
        ("disc_b", trainer.disc_b, inputs.real_b, inputs.alpha_b),
        ("disc_a", trainer.disc_a, inputs.real_a, inputs.alpha_a),
    )
    pools = _pools(trainer, fake_a, fake_b, inputs)
    for (name, disc, real, alpha), (pool, fakes, exchange) in zip(judges, pools, strict=False):
        pooled = pool.show(fakes, exchange)
        terms[name] = _teach_discriminator(trainer, disc, real, pooled, alpha)
    return (fake_a, fake_b), terms


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
        _backward(trainer, torch.stack(list(part.values())).sum())
        fakes_a.append(at_least_float32(fake_a.detach()))
        fakes_b.append(at_least_float32(fake_b.detach()))
        for name, term in part.items():
            terms[name] = terms.get(name, 0) + term.detach()
    return torch.cat(fakes_a), torch.cat(fakes_b), terms


def _teach_discriminator(
    trainer: Trainer, disc: nn.Module, real: Tensor, fake: Tensor, alpha: Tensor
) -> Tensor:
    """The term of a discriminator."""
    total = torch.zeros((), device=real.device)
    parts = (_parts(trainer, each) for each in (real, fake, alpha))
    for part_real, part_fake, part_alpha in zip(*parts, strict=True):
        term = discriminator_term(disc, trainer.config, part_real, part_fake, part_alpha)
        term = term * (len(part_real) / len(real))
        _backward(trainer, term)
        total = total + term.detach()
    return total


def _parts(trainer: Trainer, batch: Tensor) -> tuple[Tensor, ...]:
    return batch.chunk(trainer.config.accumulate)


def _backward(trainer: Trainer, loss: Tensor) -> None:
    trainer.loss_scale.scale(loss).backward()


def _finish_gradients(trainer: Trainer, optimizer: torch.optim.Adam) -> Tensor:
    """Average a player's gradients over the ranks, unscale and clip them; their norm before."""
    parameters: list[nn.Parameter] = optimizer.param_groups[0]["params"]
    average_gradients(parameters)
    trainer.loss_scale.unscale(parameters)
    norm = total_norm(parameters)
    if trainer.config.grad_clip is not None:
        nn.utils.clip_grads_with_norm_(parameters, trainer.config.grad_clip, norm)
    return norm
