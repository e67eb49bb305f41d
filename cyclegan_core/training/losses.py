"""What is minimised: the terms from networks, settings and a batch.

CycleGAN's are those of Zhu et al. 2017, eq. 1-3 and section 5.2; pix2pix's those of Isola et al.
2017, eq. 4.

Everything here is a pure function of tensors and networks; terms are scalars of at least float32.
`step.py` says in which order the gradients are taken and how the weights move.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from ..config import Direction, TrainConfig
from ..device.precision import at_least_float32
from ..discriminators.augment import augment
from ..discriminators.feature_discriminator import FeatureDiscriminator
from ..discriminators.feature_network import FeatureNetwork, feature_distance
from ..model import CycleGAN
from ..networks import PatchDiscriminator, PixelDiscriminator, init_weights

GanMode = Literal["lsgan", "vanilla", "wgangp", "hinge"]


class Losses(NamedTuple):
    """One step's terms, as they enter the objectives (weights included); scalars on the device.

    The generators minimise the sum of the first six, the discriminators the sum of the last two.
    """

    gan_ab: Tensor
    """disc_b on fake_b = gen_ab(real_a)."""
    gan_ba: Tensor
    """disc_a on fake_a = gen_ba(real_b)."""
    cycle_a: Tensor
    """λ_A |gen_ba(fake_b) − real_a|₁, the forward cycle (eq. 2)."""
    cycle_b: Tensor
    """λ_B |gen_ab(fake_a) − real_b|₁, the backward cycle (eq. 2)."""
    identity_a: Tensor
    """λ_A λ_idt |gen_ba(real_a) − real_a|₁ (section 5.2)."""
    identity_b: Tensor
    """λ_B λ_idt |gen_ab(real_b) − real_b|₁ (section 5.2)."""
    disc_a: Tensor
    """Half the sum of disc_a's losses on real_a and on pooled fake_a."""
    disc_b: Tensor
    """Half the sum of disc_b's losses on real_b and on pooled fake_b."""


class EquivarianceLosses(NamedTuple):
    """The terms of `Losses`, and two more; of a training with a `lambda_equivariance`."""

    gan_ab: Tensor
    gan_ba: Tensor
    cycle_a: Tensor
    cycle_b: Tensor
    identity_a: Tensor
    identity_b: Tensor
    disc_a: Tensor
    disc_b: Tensor
    equivariance_ab: Tensor
    """λ |gen_ab(T real_a) − T fake_b|₁ for a small move T; the generators minimise it, too."""
    equivariance_ba: Tensor
    """The same of gen_ba."""


class PairedLosses(NamedTuple):
    """The same of pix2pix; None for what a training does not have, by its directions and weights.

    The generators minimise the sum of the first six, the discriminators the sum of the last two.
    """

    gan_ab: Tensor | None = None
    """disc_b on fake_b = gen_ab(real_a), given real_a."""
    gan_ba: Tensor | None = None
    """disc_a on fake_a = gen_ba(real_b), given real_b."""
    l1_a: Tensor | None = None
    """λ |gen_ba(real_b) − real_a|₁."""
    l1_b: Tensor | None = None
    """λ |gen_ab(real_a) − real_b|₁."""
    features_a: Tensor | None = None
    """λ `feature_distance` of gen_ba(real_b) to real_a."""
    features_b: Tensor | None = None
    """λ `feature_distance` of gen_ab(real_a) to real_b."""
    disc_a: Tensor | None = None
    """Half the sum of disc_a's losses on real_a and on fake_a, both given real_b."""
    disc_b: Tensor | None = None
    """Half the sum of disc_b's losses on real_b and on fake_b, both given real_a."""


AnyLosses = Losses | EquivarianceLosses | PairedLosses


def losses_kind(config: TrainConfig) -> type[AnyLosses]:
    """What steps of such a training return."""
    if config.objective == "pix2pix":
        return PairedLosses
    return EquivarianceLosses if config.lambda_equivariance > 0 else Losses


def term_names(config: TrainConfig) -> tuple[str, ...]:
    """The terms that steps of such a training have, in the order of their tables."""
    if config.objective == "cyclegan":
        # A term of weight 0 is 0: it may come back when the run goes on.
        return losses_kind(config)._fields
    there: set[str] = set()
    for direction in config.trained_directions:
        target = direction[-1]
        there |= {f"l1_{target}"} if config.lambda_l1 > 0 else set()
        there |= {f"features_{target}"} if config.lambda_features > 0 else set()
        if config.has_discriminators:
            there |= {"gan_ab" if target == "b" else "gan_ba", f"disc_{target}"}
    return tuple(name for name in PairedLosses._fields if name in there)


def as_losses(config: TrainConfig, terms: Tensor) -> AnyLosses:
    """The terms of a step by their names, from a tensor with one for each of `term_names`."""
    return losses_kind(config)(**dict(zip(term_names(config), terms.unbind(), strict=True)))


def by_name(losses: AnyLosses) -> dict[str, Tensor]:
    """The terms that there are."""
    return {name: term for name, term in losses._asdict().items() if term is not None}


class Batch(NamedTuple):
    """Real pictures of both domains, and the random numbers of their augmentation."""

    real_a: Tensor
    """(B,C,H,W) in [-1,1]."""
    real_b: Tensor
    """The same of domain B."""
    source_a: Tensor
    """What fake_b is made from: real_a, perhaps with noise."""
    source_b: Tensor
    """What fake_a is made from."""
    draws_a: Tensor
    """(B,3,NUM_DRAWS) in [0,1): for domain A's fake that is to fool, real, and pooled fake."""
    draws_b: Tensor
    """The same of domain B."""
    moves_a: Tensor
    """(B,3) int64: for `moved`, of source_a and fake_b."""
    moves_b: Tensor
    """The same of source_b and fake_a."""


Terms = dict[str, Tensor]
"""Names of fields of `AnyLosses` -> weighted scalars; a term that the settings
switch off is absent."""


_KEPT_BYTES = 2**25
"""From so many on glibc gives memory back at once (DEFAULT_MMAP_THRESHOLD_MAX, on 64 bits)."""


def build_discriminator(config: TrainConfig, channels: int) -> nn.Module:
    """A fresh discriminator of `config`'s kind, for pictures of `channels` channels.

    Raises:
        CheckpointError: the weights of the ImageNet features can't be read.
    """
    width = config.disc_channels
    if config.discriminator == "pixel":
        pixel = PixelDiscriminator(channels, base_channels=width)
        init_weights(pixel)
        return pixel
    patch = None
    if config.discriminator in ("patch", "patch_features"):
        layers, norm = config.disc_layers, config.disc_norm
        patch = PatchDiscriminator(channels, base_channels=width, num_layers=layers, norm=norm)
        if norm != "spectral":  # which has divided any scale out already
            init_weights(patch)
    if config.discriminator == "patch":
        return cast(nn.Module, patch)
    taps, width = config.feature_taps, config.feature_width
    return FeatureDiscriminator(taps, width=width, patch=patch, patch_weight=config.lambda_patch)


def generator_terms(
    model: CycleGAN,
    disc_a: nn.Module | None,
    disc_b: nn.Module | None,
    config: TrainConfig,
    batch: Batch,
    identity: int = 1,
) -> tuple[Tensor, Tensor, Terms]:
    """Compute fake_a, fake_b, and the terms of CycleGAN's generators (eq. 3, section 5.2).

    Args:
        model: both generators.
        disc_a: tells real pictures of domain A from generated ones.
        disc_b: the same for domain B.
        config: the settings.
        batch: the pictures, and what was drawn for them.
        identity: how many times the identity terms count in this step.
    """
    terms: Terms = {}
    real_a, real_b, source_a, source_b, draws_a, draws_b, moves_a, moves_b = batch
    lambda_idt_a = config.lambda_a * config.lambda_identity * identity
    lambda_idt_b = config.lambda_b * config.lambda_identity * identity

    def fake_and_identity(
        direction: Direction, source: Tensor, target: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """`source` translated, and in the same pass `target`, if it is given."""
        if target is None:
            return generate(model, direction, source), None
        fake, same = generate(model, direction, torch.cat([source, target])).chunk(2)
        return fake, same

    # Pictures can share a pass unless batch norm would let them know of each other.
    is_shared = (
        config.model.norm != "batch"
        and real_a.shape == real_b.shape
        and gains_by_sharing(config, real_a)
    )
    with autocast(config, real_a.device):
        with_b = real_b if is_shared and lambda_idt_b > 0 else None
        with_a = real_a if is_shared and lambda_idt_a > 0 else None
        fake_b, idt_b = fake_and_identity("a_to_b", source_a, with_b)
        fake_a, idt_a = fake_and_identity("b_to_a", source_b, with_a)
        if config.lambda_a > 0 and config.cycle in ("both", "forward"):  # eq. 2
            rec_a = generate(model, "b_to_a", fake_b)
            terms["cycle_a"] = config.lambda_a * l1(rec_a, real_a)
        if config.lambda_b > 0 and config.cycle in ("both", "backward"):
            rec_b = generate(model, "a_to_b", fake_a)
            terms["cycle_b"] = config.lambda_b * l1(rec_b, real_b)
        if lambda_idt_b > 0:  # section 5.2
            idt_b = generate(model, "a_to_b", real_b) if idt_b is None else idt_b
            terms["identity_b"] = lambda_idt_b * l1(idt_b, real_b)
        if lambda_idt_a > 0:
            idt_a = generate(model, "b_to_a", real_a) if idt_a is None else idt_a
            terms["identity_a"] = lambda_idt_a * l1(idt_a, real_a)
        if config.lambda_equivariance > 0:
            terms["equivariance_ab"] = equivariance_term(
                model, config, "a_to_b", source_a, fake_b, moves_a
            )
            terms["equivariance_ba"] = equivariance_term(
                model, config, "b_to_a", source_b, fake_a, moves_b
            )
        if config.lambda_gan > 0:  # eq. 1
            for name, disc, fake, draws in (
                ("gan_ab", disc_b, fake_b, draws_b),
                ("gan_ba", disc_a, fake_a, draws_a),
            ):
                if disc is not None:
                    terms[name] = adversarial_term(disc, config, fake, draws)
    return fake_a, fake_b, terms


def paired_terms(  # noqa: PLR0913 - as `generator_terms`, and what the looks are seen with
    model: CycleGAN,
    disc_a: nn.Module | None,
    disc_b: nn.Module | None,
    config: TrainConfig,
    batch: Batch,
    identity: int = 1,
    *,
    features: FeatureNetwork | None = None,
) -> tuple[Tensor | None, Tensor | None, Terms]:
    """Compute fake_a, fake_b, and the terms of pix2pix's generators (Isola et al. 2017, eq. 4).

    The arguments are those of `generator_terms`, of which `identity` has no meaning; without a
    discriminator there is the distance to the true partner alone, with `features` in these, too.
    The fake of a direction that is not trained is None.
    """
    terms: Terms = {}
    fakes: dict[Direction, Tensor] = {}
    real_a, real_b, source_a, source_b, draws_a, draws_b, *_ = batch
    with autocast(config, real_a.device):
        for direction, source, given, target, disc, draws, gan_name in (
            ("a_to_b", source_a, real_a, real_b, disc_b, draws_b, "gan_ab"),
            ("b_to_a", source_b, real_b, real_a, disc_a, draws_a, "gan_ba"),
        ):
            if direction not in config.trained_directions:
                continue
            fakes[direction] = fake = generate(model, direction, source)
            if config.lambda_l1 > 0:
                terms[f"l1_{direction[-1]}"] = config.lambda_l1 * l1(fake, target)
            if features is not None:
                looks = feature_distance(features, fake, target)
                terms[f"features_{direction[-1]}"] = config.lambda_features * looks
            if disc is not None:
                terms[gan_name] = adversarial_term(disc, config, fake, draws, given)
    return fakes.get("b_to_a"), fakes.get("a_to_b"), terms


def equivariance_term(
    model: CycleGAN,
    config: TrainConfig,
    direction: Direction,
    source: Tensor,
    fake: Tensor,
    moves: Tensor,
) -> Tensor:
    """How far a generator is from translating a moved picture as it moves the translation.

    That is the geometry consistency of Fu et al. 2019 ("Geometry-Consistent Generative Adversarial
    Networks for One-Sided Unsupervised Domain Mapping") for the smallest moves: patterns that hang
    on the grid of the strides break it, strokes that hang on the picture do not. The border, which
    padding changes, does not count.
    """
    grid = config.model.size_multiple
    of_moved = generate(model, direction, moved(source, moves, grid))
    move_of = moved(fake, moves, grid)
    top, left = (side // 8 for side in move_of.shape[-2:])
    inner = (..., slice(top, -top or None), slice(left, -left or None))
    return config.lambda_equivariance * l1(of_moved[inner], move_of[inner])


def moved(images: Tensor, moves: Tensor, grid: int) -> Tensor:
    """Windows into pictures, each of which begins elsewhere.

    Args:
        images: (B,C,H,W).
        moves: (B,3) int64: the row and the column of the first pixel, both below `grid`, and 1
            for a window that is mirrored.
        grid: how much smaller the windows are.

    Returns:
        (B,C,H - grid,W - grid).
    """
    channels, height, width = images.shape[1], *(side - grid for side in images.shape[-2:])
    rows = torch.arange(height, device=images.device) + moves[:, :1]
    columns = torch.arange(width, device=images.device) + moves[:, 1:2]
    columns = torch.where(moves[:, 2:] == 1, columns.flip(1), columns)
    images = images.gather(2, rows[:, None, :, None].expand(-1, channels, -1, width + grid))
    return images.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def adversarial_term(
    disc: nn.Module, config: TrainConfig, fake: Tensor, draws: Tensor, given: Tensor | None = None
) -> Tensor:
    """How far a generator is from fooling `disc` with `fake` (eq. 1), weighted.

    `draws` are those of the fake's domain in `Batch`; `given` is what `judge` wants.
    """
    seen = judge(disc, config, fake, draws[:, 0], given)
    losses = [w * fooling_loss(logits, mode=config.gan_mode) for w, logits in seen]
    return config.lambda_gan * torch.stack(losses).sum()


def warmup_terms(
    model: CycleGAN, config: TrainConfig, batch: Batch, turn: Literal["a", "b"]
) -> Terms:
    """Compute the term of a warm-up step: gen_ab gives back pictures of the domain in `turn`.

    gen_ba is the same network then, see `train_step`.
    """
    is_a = turn == "a"
    real, scale = (batch.real_a, config.lambda_a) if is_a else (batch.real_b, config.lambda_b)
    with autocast(config, real.device):
        same = generate(model, "a_to_b", real)
        return {f"identity_{turn}": scale * config.lambda_identity * l1(same, real)}


def discriminator_term(  # noqa: PLR0913 - who judges what, and what was drawn for it
    disc: nn.Module,
    config: TrainConfig,
    real: Tensor,
    fake: Tensor,
    alpha: Tensor,
    draws: Tensor,
    given: Tensor | None = None,
    *,
    r1: int = 1,
) -> Tensor:
    """Half the sum of a discriminator's losses on real and generated pictures (eq. 1).

    With wgangp the gradient penalty is inside the half, so that it keeps its proportion; `alpha`,
    (B,1,1,1) in [0,1], says where between real and generated it is measured. `draws`,
    (B,3,NUM_DRAWS) in [0,1), hold the augmentations of real and fake behind the generator's.
    `given`, the source of both for pix2pix, is what `judge` wants. The zero-centred penalty, too,
    is halved, as its source has it, and counts `r1` times.
    """
    on_real, on_fake = draws[:, 1], draws[:, 2]
    with autocast(config, real.device):
        if (
            config.batch_passes != "off" and real.shape == fake.shape
        ):  # its norm is always per picture
            twice = None if given is None else torch.cat([given, given])
            draws = torch.cat([on_real, on_fake])
            both = judge(disc, config, torch.cat([real, fake]), draws, twice)
            seen = [(weight, *logits.chunk(2)) for weight, logits in both]
        else:
            of_real = judge(disc, config, real, on_real, given)
            pair = of_real, judge(disc, config, fake, on_fake, given)
            seen = [(weight, x, y) for (weight, x), (_, y) in zip(*pair, strict=True)]
        losses = [
            weight
            * (
                gan_loss(of_real, is_real=True, mode=config.gan_mode)
                + gan_loss(of_fake, is_real=False, mode=config.gan_mode)
            )
            for weight, of_real, of_fake in seen
        ]
        term = torch.stack(losses).sum()
    if config.gan_mode == "wgangp":

        def critic(images: Tensor) -> Tensor:
            return disc(images if given is None else torch.cat([given, images], dim=1))

        alpha = alpha.to(real)
        term = term + config.lambda_penalty * gradient_penalty(critic, real, fake, alpha)
    if config.lambda_r1 * r1 > 0:

        def verdict(images: Tensor) -> Tensor:
            seen = judge(disc, config, images, on_real, given)
            return torch.stack([w * at_least_float32(x).mean((1, 2, 3)) for w, x in seen]).sum(0)

        term = term + config.lambda_r1 * r1 * zero_centred_penalty(verdict, real)
    return 0.5 * term


def generate(model: CycleGAN, direction: Direction, images: Tensor) -> Tensor:
    """Pictures in [-1,1] through a generator, whose input may want another range."""
    low, high = model.config.value_range
    if (low, high) != (-1.0, 1.0):
        images = (images + 1) * ((high - low) / 2) + low
    return model.generator(direction)(images)


def judge(
    disc: nn.Module,
    config: TrainConfig,
    images: Tensor,
    draws: Tensor,
    given: Tensor | None = None,
) -> list[tuple[float, Tensor]]:
    """Maps of logits (B,1,h,w), each with what it counts for, of pictures (B,C,H,W) in [-1,1].

    `draws`, (B,NUM_DRAWS) in [0,1), decide how the pictures are augmented. A conditional
    discriminator sees `given`, (B,C',H,W) in [-1,1], before them: what each was, or would have
    been, made from. It is augmented alike, so that both go on fitting each other.
    """
    colour, shift = config.augment_colour, config.augment_shift
    augmented = augment(images, draws, colour=colour, shift=shift)
    if given is not None:
        given = augment(given, draws, colour=colour, shift=shift)
        return [(1.0, disc(torch.cat([given, augmented], dim=1)))]
    if config.discriminator in ("patch", "pixel"):
        return [(1.0, disc(augmented))]
    weights = cast(FeatureDiscriminator, disc).weights
    return list(zip(weights, disc(images, augmented), strict=True))


def gains_by_sharing(config: TrainConfig, pictures: Tensor) -> bool:
    """Whether a generator shall take twice as many pictures as these, (B,C,H,W), in one pass.

    What decides was measured: glibc gives memory above 32 MB back to Linux after each use, which
    clears it anew for the next one. So two passes below that are faster than one above. It is no
    matter of timing, so that every run computes the same bits.
    """
    if config.batch_passes != "auto" or pictures.device.type != "cpu":
        return config.batch_passes != "off"
    size = 4 if config.precision == "fp32" else 2
    alone = size * len(pictures) * config.model.base_channels * pictures[0, 0].numel()
    return not alone < _KEPT_BYTES <= 2 * alone


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """The context in which convolutions run in `config.precision`."""
    dtype = torch.float16 if config.precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype, enabled=config.precision != "fp32")


def gan_loss(logits: Tensor, *, is_real: bool, mode: GanMode = "lsgan") -> Tensor:
    """How far logits (B,1,H,W) are from the verdict `is_real`.

    lsgan: least squares (Mao et al. 2017); vanilla: negative log likelihood (Goodfellow et al.
    2014); wgangp: the critic's mean (Arjovsky et al. 2017), which wants `gradient_penalty` too;
    hinge: how much is missing to a margin of 1 (Lim & Ye 2017), for discriminators.
    """
    logits = at_least_float32(logits)
    if mode == "lsgan":
        return (logits - float(is_real)).square().mean()
    if mode == "vanilla":
        target = torch.full_like(logits, float(is_real))
        return F.binary_cross_entropy_with_logits(logits, target)
    if mode == "hinge":
        return F.relu(1 - logits if is_real else 1 + logits).mean()
    return -logits.mean() if is_real else logits.mean()


def fooling_loss(logits: Tensor, *, mode: GanMode = "lsgan") -> Tensor:
    """How far logits (B,1,H,W) of generated pictures are from what the generator wants.

    The verdict "real"; with hinge without its margin, as with wgangp, or a generator that is ahead
    would learn nothing.
    """
    return gan_loss(logits, is_real=True, mode="wgangp" if mode == "hinge" else mode)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, alpha: Tensor
) -> Tensor:
    """Mean of (‖∇ critic(x)‖₂ − 1)² at x = α real + (1−α) fake (Gulrajani et al. 2017, eq. 3).

    Args:
        critic: (B,C,H,W) -> logits, of which the sum per picture is taken.
        real: (B,C,H,W).
        fake: like `real`.
        alpha: (B,1,1,1) in [0,1].
    """
    mixed = (alpha * real + (1 - alpha) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        at_least_float32(critic(mixed)).sum(), mixed, create_graph=True
    )
    return (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()


def zero_centred_penalty(verdict: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Mean of ‖∇ verdict(x)‖₂² at real pictures x: R1 of Mescheder et al. 2018, eq. 9.

    Args:
        verdict: (B,C,H,W) -> (B,), a number per picture: the mean of its logits.
        real: (B,C,H,W).
    """
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(verdict(real).sum(), real, create_graph=True)
    return gradient.flatten(1).square().sum(1).mean()


def l1(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute difference of two tensors of the same shape: cycle and identity terms."""
    return (at_least_float32(x) - at_least_float32(y)).abs().mean()
