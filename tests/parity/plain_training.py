"""Losses, image pool, schedule, one step of CycleGAN and one of pix2pix, plainly; see `plain.py`.

Written from the papers and from reference.md, section 1. Nothing is fused or batched: six generator
passes and six discriminator passes per step, one after the other, in the original's order.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from .plain import Arch, Params, patch_discriminator, resnet_generator

GanMode = Literal["lsgan", "vanilla", "wgangp"]
Network = Callable[[Params, Tensor], Tensor]
Losses = dict[str, Tensor]


# --- losses ---------------------------------------------------------------------------------


def gan_loss(logits: Tensor, *, is_real: bool, mode: GanMode) -> Tensor:
    """How far the judge's map is from "real" (or "fake"), the mean over batch and patches.

    lsgan: (D-1)^2 or D^2. vanilla: -log sigmoid(D) or -log(1 - sigmoid(D)), D a logit.
    wgangp: -D or D. The generator uses `is_real=True` on its fakes (non-saturating).
    """
    if mode == "lsgan":
        return ((logits - (1.0 if is_real else 0.0)) ** 2).mean()
    if mode == "vanilla":
        return F.softplus(-logits if is_real else logits).mean()
    return -logits.mean() if is_real else logits.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor
) -> Tensor:
    """Gulrajani et al. 2017, eq. 3, unweighted: the mean over the batch of (|grad D(x)| - 1)^2.

    x = alpha*real + (1-alpha)*fake with one alpha per picture, (B,1,1,1). D(x) is the *sum* over
    the patch map, as in the original's `cal_gradient_penalty`, and |.| the 2-norm over C, H, W.
    """
    mixed = (alpha * real + (1 - alpha) * fake).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    length = torch.sqrt((gradient**2).sum((1, 2, 3)))
    return ((length - 1) ** 2).mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference: the paper's norm, for cycle (eq. 2) and identity (sec. 5.2)."""
    return (x - y).abs().mean()


# --- image pool and schedule ----------------------------------------------------------------


class ImagePool:
    """A history of generated pictures (Shrivastava et al. 2017, as reference.md tells it).

    While not full: store and return the picture, drawing nothing. When full: u = uniform(0, 1);
    if u > 0.5, draw randint(0, size-1), return that slot's picture and put the new one there;
    else return the new one. Size 0 returns its input.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self.size, self.rng = size, rng
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H,W), detached, picture by picture."""
        if self.size == 0:
            return images.detach()
        return torch.stack([self._exchange(image.detach().clone()) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image)
            return image
        if self.rng.uniform(0, 1) > 0.5:
            slot = self.rng.randint(0, self.size - 1)
            old, self.images[slot] = self.images[slot], image
            return old
        return image


def linear_multiplier(epoch: int, num_epochs: int = 100, num_decay_epochs: int = 100) -> float:
    """Factor of the learning rate in `epoch`, counted from 1; never 0."""
    return 1.0 - max(0, epoch - num_epochs) / (num_decay_epochs + 1)


# --- one step -------------------------------------------------------------------------------


@dataclass(kw_only=True)
class PlainState:
    """Everything a step reads and changes; `make_state` builds one.

    Both pools may share one `random.Random`, as the original's do: pool_b then draws first.
    `penalty_rng` gives wgangp's alphas, `torch.rand(B,1,1,1)`, for disc_b first, then disc_a.
    """

    gen_ab: Params
    gen_ba: Params
    disc_a: Params
    disc_b: Params
    generator: Network
    discriminator: Network
    adam_gen: torch.optim.Adam
    adam_disc: torch.optim.Adam
    pool_a: ImagePool
    pool_b: ImagePool
    gan_mode: GanMode = "lsgan"
    lambda_a: float = 10.0
    lambda_b: float = 10.0
    lambda_identity: float = 0.5
    lambda_penalty: float = 10.0
    penalty_rng: torch.Generator = field(default_factory=torch.Generator)


def trainable(params: Params) -> list[Tensor]:
    """The tensors that an optimiser moves: all but batch norm's statistics."""
    is_statistic = ("running_mean", "running_var", "num_batches_tracked")
    return [tensor for key, tensor in params.items() if not key.endswith(is_statistic)]


def make_state(
    networks: dict[str, Params],
    *,
    generator: Network | Arch,
    discriminator: Network | Arch,
    pools: tuple[ImagePool, ImagePool] | None = None,
    lr: float = 2e-4,
    **settings: object,
) -> PlainState:
    """A fresh state from copies of the parameters `gen_ab`, `gen_ba`, `disc_a`, `disc_b`.

    `generator` and `discriminator` are functions (params, x), or the sizes of the residual
    generator and the PatchGAN; batch norm is then in training mode. `pools` are (pool_a, pool_b).
    """
    nets = {
        name: {key: tensor.detach().clone() for key, tensor in params.items()}
        for name, params in networks.items()
    }
    for params in nets.values():
        for tensor in trainable(params):
            tensor.requires_grad_(True)
    rng = random.Random(0)
    pool_a, pool_b = pools or (ImagePool(50, rng), ImagePool(50, rng))
    gens = trainable(nets["gen_ab"]) + trainable(nets["gen_ba"])
    discs = trainable(nets["disc_b"]) + trainable(nets["disc_a"])
    return PlainState(
        **nets,
        generator=_as_network(generator, resnet_generator),
        discriminator=_as_network(discriminator, patch_discriminator),
        adam_gen=torch.optim.Adam(gens, lr=lr, betas=(0.5, 0.999)),
        adam_disc=torch.optim.Adam(discs, lr=lr, betas=(0.5, 0.999)),
        pool_a=pool_a,
        pool_b=pool_b,
        **settings,
    )


def _as_network(network: Network | Arch, kind: Callable[..., Tensor]) -> Network:
    if isinstance(network, Arch):
        return lambda params, x: kind(params, x, network, training=True)
    return network


def plain_step(state: PlainState, real_a: Tensor, real_b: Tensor) -> Losses:
    """One step on pictures in [-1,1], (B,C,H,W); returns eight detached scalars, by their domain.

    gan_ab     L_GAN of disc_b on fake_b = gen_ab(real_a), unweighted; gan_ba: disc_a on fake_a
    cycle_a    lambda_a |gen_ba(fake_b) - real_a|_1; cycle_b: lambda_b |gen_ab(fake_a) - real_b|_1
    identity_a lambda_a lambda_identity |gen_ba(real_a) - real_a|_1 (the original calls it idt_B)
    identity_b lambda_b lambda_identity |gen_ab(real_b) - real_b|_1 (the original calls it idt_A)
    disc_a     0.5 (real + fake) of the judge of domain A (the original's D_B); disc_b: of domain B

    So the generators' objective is the plain sum of the first six. Both judges see the fakes made
    before the generators move.
    """
    fake_b = state.generator(state.gen_ab, real_a)
    rec_a = state.generator(state.gen_ba, fake_b)
    fake_a = state.generator(state.gen_ba, real_b)
    rec_b = state.generator(state.gen_ab, fake_a)

    _freeze(state, frozen=True)
    state.adam_gen.zero_grad()
    losses = _generator_losses(state, (real_a, real_b), (fake_a, fake_b), (rec_a, rec_b))
    sum(losses.values()).backward()
    state.adam_gen.step()

    _freeze(state, frozen=False)
    state.adam_disc.zero_grad()
    losses["disc_b"] = _judge(state, state.disc_b, real_b, state.pool_b.query(fake_b))
    losses["disc_b"].backward()
    losses["disc_a"] = _judge(state, state.disc_a, real_a, state.pool_a.query(fake_a))
    losses["disc_a"].backward()
    state.adam_disc.step()
    return {name: loss.detach() for name, loss in losses.items()}


def _freeze(state: PlainState, *, frozen: bool) -> None:
    for tensor in trainable(state.disc_a) + trainable(state.disc_b):
        tensor.requires_grad_(not frozen)


def _generator_losses(
    state: PlainState,
    reals: tuple[Tensor, Tensor],
    fakes: tuple[Tensor, Tensor],
    recs: tuple[Tensor, Tensor],
) -> Losses:
    """The six terms, each pair given as (a, b); the identity passes come first, ab before ba."""
    (real_a, real_b), (fake_a, fake_b), (rec_a, rec_b) = reals, fakes, recs
    identity_a = identity_b = torch.zeros((), device=real_a.device)
    if state.lambda_identity > 0:
        idt_b = state.generator(state.gen_ab, real_b)
        identity_b = state.lambda_b * state.lambda_identity * l1(idt_b, real_b)
        idt_a = state.generator(state.gen_ba, real_a)
        identity_a = state.lambda_a * state.lambda_identity * l1(idt_a, real_a)
    logits_b = state.discriminator(state.disc_b, fake_b)
    logits_a = state.discriminator(state.disc_a, fake_a)
    return {
        "gan_ab": gan_loss(logits_b, is_real=True, mode=state.gan_mode),
        "gan_ba": gan_loss(logits_a, is_real=True, mode=state.gan_mode),
        "cycle_a": state.lambda_a * l1(rec_a, real_a),
        "cycle_b": state.lambda_b * l1(rec_b, real_b),
        "identity_a": identity_a,
        "identity_b": identity_b,
    }


def _judge(state: PlainState, disc: Params, real: Tensor, fake: Tensor) -> Tensor:
    """0.5 (real + fake), and with wgangp 0.5 (real + fake + lambda_penalty * penalty).

    The half stands before Gulrajani's whole objective, so penalty and critic keep the paper's
    proportion; Adam does not feel a constant factor.
    """
    on_real = gan_loss(state.discriminator(disc, real), is_real=True, mode=state.gan_mode)
    on_fake = gan_loss(state.discriminator(disc, fake), is_real=False, mode=state.gan_mode)
    if state.gan_mode != "wgangp":
        return 0.5 * (on_real + on_fake)
    alpha = torch.rand(len(real), 1, 1, 1, generator=state.penalty_rng).to(real.device)
    penalty = gradient_penalty(lambda x: state.discriminator(disc, x), real, fake, alpha)
    return 0.5 * (on_real + on_fake + state.lambda_penalty * penalty)


# --- pix2pix --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class PlainPix2pix:
    """One generator from a source to a target domain, and the judge of its pairs.

    `adam_disc` is None without a judge. `alpha` (B,1,1,1) is where wgangp measures its penalty.
    """

    gen: Params
    disc: Params | None
    generator: Network
    discriminator: Network
    adam_gen: torch.optim.Adam
    adam_disc: torch.optim.Adam | None
    gan_mode: GanMode = "lsgan"
    lambda_gan: float = 1.0
    lambda_l1: float = 100.0
    lambda_penalty: float = 10.0


def make_pix2pix(
    gen: Params, disc: Params | None, generator: Network, discriminator: Network, **settings: object
) -> PlainPix2pix:
    """A fresh state from copies of the parameters; Adam as in CycleGAN."""
    gen = {key: tensor.detach().clone() for key, tensor in gen.items()}
    disc = disc and {key: tensor.detach().clone() for key, tensor in disc.items()}
    for tensor in [*trainable(gen), *trainable(disc or {})]:
        tensor.requires_grad_(True)
    adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
    return PlainPix2pix(
        gen=gen,
        disc=disc,
        generator=generator,
        discriminator=discriminator,
        adam_gen=torch.optim.Adam(trainable(gen), **adam),
        adam_disc=torch.optim.Adam(trainable(disc), **adam) if disc else None,
        **settings,
    )


def plain_pix2pix_step(
    state: PlainPix2pix, source: Tensor, target: Tensor, alpha: Tensor | None = None
) -> Losses:
    """One step on partners in [-1,1], (B,C,H,W) (Isola et al. 2017, eq. 1, 3, 4).

    gan    lambda_gan L_GAN of the judge on [source, fake]; l1: lambda_l1 |fake - target|_1
    disc   0.5 (real + fake) on [source, target] and [source, fake] of before the generator moves
    """

    def judge(picture: Tensor) -> Tensor:
        return state.discriminator(state.disc, torch.cat([source, picture], 1))

    fake = state.generator(state.gen, source)
    losses = {"l1": state.lambda_l1 * l1(fake, target)}
    state.adam_gen.zero_grad()
    if state.disc is not None:
        losses["gan"] = state.lambda_gan * gan_loss(judge(fake), is_real=True, mode=state.gan_mode)
    sum(losses.values()).backward()
    state.adam_gen.step()

    if state.disc is not None:
        state.adam_disc.zero_grad()  # of the generator's turn, too
        old = fake.detach()
        loss = gan_loss(judge(target), is_real=True, mode=state.gan_mode)
        loss = loss + gan_loss(judge(old), is_real=False, mode=state.gan_mode)
        if state.gan_mode == "wgangp":
            loss = loss + state.lambda_penalty * gradient_penalty(judge, target, old, alpha)
        losses["disc"] = 0.5 * loss
        losses["disc"].backward()
        state.adam_disc.step()
    return {name: loss.detach() for name, loss in losses.items()}
