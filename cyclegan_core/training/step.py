"""One training step in the paper's order: the terms, their gradients, and how the weights move.

The host draws all random numbers and puts them into `Inputs`; the device then computes the step
from these tensors alone, in `train_step`, in which no Python decision changes from step to step
and nothing is read back: so it can run ahead, and be recorded as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..device.distributed import average_gradients
from ..device.precision import at_least_float32
from ..discriminators.augment import NUM_DRAWS
from ..layers import SpectralConv2d
from .divergence import check_finite
from .image_pool import ImagePool
from .losses import (
    Batch,
    Terms,
    discriminator_term,
    generator_terms,
    paired_terms,
    term_names,
    warmup_terms,
)
from .optimiser import copy_gradients, move, share_of_new, total_norm, update_average
from .state import Lane, TrainState


class Inputs(NamedTuple):
    """All that differs from one step to the next; tensors on the device."""

    real_a: Tensor
    """(B,C,H,W) in [-1,1]."""
    real_b: Tensor
    """The same of domain B."""
    source_a: Tensor
    """What fake_b is made from: real_a, with noise if `input_noise` asks for it."""
    source_b: Tensor
    """What fake_a is made from."""
    exchange_a: Tensor
    """(2,B) int64: what `ImagePool.decide` decided for the fakes of domain A."""
    exchange_b: Tensor
    """The same of domain B."""
    alpha_a: Tensor
    """(B,1,1,1) in [0,1]: where between real and generated wgangp measures its penalty."""
    alpha_b: Tensor
    """The same of domain B."""
    draws_a: Tensor
    """(B,3,NUM_DRAWS) in [0,1): augmentations of domain A's pictures, of the fake that is to fool,
    the real one, and the pooled fake."""
    draws_b: Tensor
    """The same of domain B."""
    moves_a: Tensor
    """(B,3) int64: rows, columns and mirror of domain A's pictures for the equivariance term."""
    moves_b: Tensor
    """The same of domain B."""
    share: Tensor
    """A number: what the new weights count for in their average."""


class Drawn(NamedTuple):
    """What a lane draws for its pictures of a step."""

    exchange_a: Tensor
    """(2,B) int64, see `Inputs`."""
    exchange_b: Tensor
    alphas: Tensor
    """(2,B,1,1,1): of B and of A."""
    draws: Tensor
    """(2,B,3,NUM_DRAWS): of A and of B."""
    moves: Tensor
    """(2,B,3) int64: of A and of B."""
    noise: list[Tensor]
    """(B,C,H,W) of A and of B; or nothing."""


def draw_inputs(
    state: TrainState, real_a: Tensor, real_b: Tensor, *rngs: torch.Generator
) -> Inputs:
    """Draw a step's random numbers, in the original's order, and bring all to the device.

    Pictures are (B,C,H,W) in [0,1], and go to the lanes in turn, each of which draws from its own
    of `rngs`; page-locked memory is copied while the host goes on.
    """
    if len(real_a) % len(state.lanes):
        raise ValueError(
            f"a batch must be a multiple of {len(state.lanes)}, of as many processes has this one "
            f"the image pools; got {len(real_a)}."
        )
    count = len(real_a) // len(state.lanes)
    shapes = real_a[:count].shape, real_b[:count].shape
    each = [_draw(state, lane, shapes, rng) for lane, rng in zip(state.lanes, rngs, strict=True)]
    alphas = _in_turn([drawn.alphas for drawn in each], dim=1)
    draws = _in_turn([drawn.draws for drawn in each], dim=1)
    moves = _in_turn([drawn.moves for drawn in each], dim=1)
    noise = [_in_turn(parts, dim=0) for parts in zip(*(d.noise for d in each), strict=True)]
    share = torch.tensor(share_of_new(state.config.ema_decay, step=state.step))

    def on_device(tensor: Tensor) -> Tensor:
        return tensor.to(state.device, non_blocking=True)

    real_a, real_b = on_device(real_a) * 2 - 1, on_device(real_b) * 2 - 1
    return Inputs(
        real_a=real_a,
        real_b=real_b,
        source_a=real_a + on_device(noise[0]) if noise else real_a,
        source_b=real_b + on_device(noise[1]) if noise else real_b,
        exchange_a=on_device(_in_turn([drawn.exchange_a for drawn in each], dim=1)),
        exchange_b=on_device(_in_turn([drawn.exchange_b for drawn in each], dim=1)),
        alpha_a=on_device(alphas[1]),
        alpha_b=on_device(alphas[0]),
        draws_a=on_device(draws[0]),
        draws_b=on_device(draws[1]),
        moves_a=on_device(moves[0]),
        moves_b=on_device(moves[1]),
        share=on_device(share),
    )


def _draw(
    state: TrainState, lane: Lane, shapes: tuple[torch.Size, torch.Size], rng: torch.Generator
) -> Drawn:
    """Draw what one lane needs for its pictures of A and B, which have these shapes."""
    config, count = state.config, shapes[0][0]
    nothing = torch.zeros(2, count, dtype=torch.int64)
    has_discriminators = is_judging(state)
    # disc_b learns first, so its pool and its penalty draw first.
    exchange_b = lane.pool_b.decide(count) if has_discriminators else nothing
    exchange_a = lane.pool_a.decide(count) if has_discriminators else nothing
    alphas = torch.zeros(2, count, 1, 1, 1)
    if has_discriminators and config.gan_mode == "wgangp":
        alphas = torch.rand(alphas.shape, generator=rng)
    draws = torch.zeros(2, count, 3, NUM_DRAWS)
    if config.augment_colour > 0 or config.augment_shift > 0:
        draws = torch.rand(draws.shape, generator=rng)
    noise: list[Tensor] = []
    if config.input_noise > 0:
        strength = config.input_noise * torch.rand(2, count, 1, 1, 1, generator=rng)
        pairs = zip(strength, shapes, strict=True)
        noise = [each * torch.randn(shape, generator=rng) for each, shape in pairs]
    moves = torch.zeros(2, count, 3, dtype=torch.int64)
    if config.lambda_equivariance > 0:
        grid = config.model.size_multiple
        shift = torch.randint(1, grid**2, (2, count), generator=rng)  # never none at all
        mirror = torch.randint(2, (2, count), generator=rng)
        moves = torch.stack([shift // grid, shift % grid, mirror], dim=-1)
    return Drawn(exchange_a, exchange_b, alphas, draws, moves, noise)


def _in_turn(parts: Sequence[Tensor], *, dim: int) -> Tensor:
    """The first of every part, then the second, and so on, along dimension `dim`."""
    if len(parts) == 1:
        return parts[0]
    return torch.stack(list(parts), dim=dim + 1).flatten(dim, dim + 1)


def _deal(
    pools: Sequence[ImagePool], images: Tensor, exchange: Tensor
) -> list[tuple[ImagePool, Tensor, Tensor]]:
    """Pools with their pictures and decisions: those of a batch go to them in turn."""
    step = len(pools)
    return [(pool, images[n::step], exchange[:, n::step]) for n, pool in enumerate(pools)]


def is_judging(state: TrainState) -> bool:
    """Whether discriminators take part in the step that follows."""
    return state.config.lambda_gan > 0 and state.step >= state.config.warmup_steps


def train_step(state: TrainState, inputs: Inputs) -> Tensor:
    """One step on the device alone; its row, see `check_finite`. What is not finite moves nothing.

    A batch goes through the networks in `config.accumulate` equal parts. In a warm-up step gen_ab
    gives back pictures of A and B in turn, and gen_ba, which began with the same weights, takes the
    same gradient. With pix2pix there may be one generator alone, and no discriminator.
    """
    config, model, disc_a, disc_b = state.config, state.model, state.disc_a, state.disc_b
    paired = partial(paired_terms, features=state.features)
    objective = paired if config.objective == "pix2pix" else generator_terms
    real_a, real_b, parts = inputs.real_a, inputs.real_b, config.accumulate
    is_warmup = state.step < config.warmup_steps
    identity = config.identity_every if state.step % config.identity_every == 0 else 0
    r1 = config.r1_every if state.step % config.r1_every == 0 else 0
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    terms: Terms = {}

    # Generators (eq. 3 and section 5.2); the discriminators need no gradient.
    model.train()
    for disc in state.discs.values():
        disc.requires_grad_(requires_grad=False)
    state.opt_gen.zero_grad()
    fakes_a: list[Tensor] = []
    fakes_b: list[Tensor] = []
    sources = inputs.source_a, inputs.source_b
    draws = inputs.draws_a, inputs.draws_b, inputs.moves_a, inputs.moves_b
    whole = Batch(real_a, real_b, *sources, *draws)
    for batch in map(Batch, *(each.chunk(parts) for each in whole)):
        if is_warmup:
            part = warmup_terms(model, config, batch, "a" if state.step % 2 == 0 else "b")
        else:
            fake_a, fake_b, part = objective(model, disc_a, disc_b, config, batch, identity)
            for fake, fakes in ((fake_a, fakes_a), (fake_b, fakes_b)):
                if fake is not None:
                    fakes.append(at_least_float32(fake.detach()))
        share = len(batch.real_a) / len(real_a)
        part = {name: term * share for name, term in part.items()}
        state.loss_scale.scale(torch.stack(list(part.values())).sum()).backward()
        for name, term in part.items():
            terms[name] = terms.get(name, 0) + term.detach()
    if is_warmup:
        copy_gradients(model.generator("a_to_b"), model.generator("b_to_a"))

    # Discriminators (eq. 1), on fakes made before the generators move, and on earlier ones.
    for disc in state.discs.values():
        disc.requires_grad_(requires_grad=True)
    if state.opt_disc is not None:
        state.opt_disc.zero_grad()
    at_b = (inputs.exchange_b, inputs.alpha_b, inputs.draws_b)
    at_a = (inputs.exchange_a, inputs.alpha_a, inputs.draws_a)
    if config.objective == "pix2pix":  # which judges a picture together with its source
        at_b, at_a = (*at_b, real_a), (*at_a, real_b)
    sides = {
        "disc_b": ([lane.pool_b for lane in state.lanes], real_b, fakes_b, *at_b),
        "disc_a": ([lane.pool_a for lane in state.lanes], real_a, fakes_a, *at_a),
    }
    judges = state.discs if is_judging(state) else {}
    for name, disc in judges.items():
        pools, real, fakes, exchange, *drawn = sides[name]
        dealt = _deal(pools, torch.cat(fakes), exchange)
        pooled = _in_turn([pool.show(images, part) for pool, images, part in dealt], dim=0)
        terms[name] = torch.zeros((), device=real.device)
        cut = (each.chunk(parts) for each in (real, pooled, *drawn))
        for part in zip(*cut, strict=True):
            term = discriminator_term(disc, config, *part, r1=r1) * (len(part[0]) / len(real))
            state.loss_scale.scale(term).backward()
            terms[name] = terms[name] + term.detach()

    # Gradients: the mean over the ranks, unscaled and clipped; `norms` are those before clipping.
    norms: list[Tensor] = []
    for optimizer in state.optimizers.values():
        parameters: list[nn.Parameter] = optimizer.param_groups[0]["params"]
        average_gradients(parameters)
        state.loss_scale.unscale(parameters)
        norms.append(total_norm(parameters))
        if config.grad_clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, config.grad_clip, norms[-1])
    row, skip = check_finite(terms, term_names(config), norms, state.loss_scale, state.diverged)

    # Batch norm's statistics, pools, weights and their average: only after a sound step.
    sound = ~state.diverged
    for buffer, before in statistics:
        buffer.copy_(torch.where(sound, buffer, before))
    for name in judges:
        pools, _, fakes, exchange, *_ = sides[name]
        for pool, images, part in _deal(pools, torch.cat(fakes), exchange):
            pool.keep(images, part, sound=sound)
    for optimizer in state.optimizers.values():
        move(optimizer, skip=skip)
    for layer in (layer for disc in state.discs.values() for layer in disc.modules()):
        if isinstance(layer, SpectralConv2d):
            layer.follow_weight(skip=skip)
    if config.ema_decay > 0:
        update_average(state.ema, model, torch.where(skip, 0.0, inputs.share))
    return row
