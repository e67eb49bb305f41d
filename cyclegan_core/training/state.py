"""All that a training step moves: networks, optimisers, pools, counters."""

from __future__ import annotations

import logging
import random
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..device.distributed import rank_and_world_size
from ..discriminators.feature_network import BLOCKS, FeatureNetwork, load_feature_network
from ..layers import WinogradConv2d, has_winograd
from ..model import CycleGAN
from ..networks import ResnetBlock, init_residual_zero
from .image_pool import ImagePool
from .losses import build_discriminator
from .optimiser import LossScale, new_adam, set_rate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the host knows of a training between two steps, apart from what it has read."""

    step: int
    """Finished steps."""
    position: int
    """Samples taken."""
    pool_rngs: tuple[tuple[Any, ...], ...]
    """The state of the random numbers of each lane's pools."""
    counts: tuple[tuple[int, int], ...]
    """Slots in use of each lane's pool_a and pool_b."""


@dataclass(slots=True)
class Lane:
    """Pools and random numbers of one of the processes that a training began with.

    With fewer processes than that, each has several lanes and gives its pictures to them in turn,
    so that every lane sees the pictures that it would have seen.
    """

    number: int
    """Of all lanes, from 0: the rank that it began with."""
    pool_rng: random.Random
    """The random numbers of both pools."""
    pool_a: ImagePool
    pool_b: ImagePool

    @classmethod
    def create(cls, config: TrainConfig, number: int) -> Lane:
        """With empty pools."""
        size = config.pool_size if config.objective == "cyclegan" else 0
        rng = random.Random(f"{config.seed} pools {number}")
        return cls(number, rng, ImagePool(size, rng), ImagePool(size, rng))

    @property
    def pools(self) -> dict[str, ImagePool]:
        """Both pools by the names that they have in a state file."""
        return {"pool_a": self.pool_a, "pool_b": self.pool_b}


@dataclass(slots=True)
class TrainState:
    """What a step reads and moves, on one rank.

    `step.py` moves it, `state_file.py` writes and reads it; the data, the loop and the clock are
    the trainer's.
    """

    config: TrainConfig
    asked: TrainConfig
    """The settings as they were asked for, of `asked_ranks` ranks; `config` has the batch and the
    passes that make the same step with the ranks that there are."""
    asked_ranks: int
    device: torch.device
    rank: int
    """This process's number in a data-parallel training, from 0."""
    model: CycleGAN
    ema: CycleGAN
    """The average of `model` over the steps, in eval mode and without gradients."""
    disc_a: nn.Module | None
    """Tells real pictures of domain A from generated ones; None where there are none to tell."""
    disc_b: nn.Module | None
    """The same for domain B."""
    features: FeatureNetwork | None
    """What `feature_distance` looks through; None without that term."""
    opt_gen: torch.optim.Adam
    """Over the generators."""
    opt_disc: torch.optim.Adam | None
    """Over the discriminators, disc_b first; None without any."""
    loss_scale: LossScale
    lanes: list[Lane]
    """This rank's, one unless the training began with more processes."""
    diverged: Tensor
    """A boolean on the device: an unread step was not finite; then nothing moves any more."""
    step: int = 0
    """Finished steps."""
    position: int = 0
    """Samples taken so far, over all ranks."""
    history: list[Tensor] = field(default_factory=list[Tensor])
    """The terms of every step that was read, float32, one for each of `term_names`."""

    @classmethod
    def create(
        cls, config: TrainConfig, device: torch.device, rank: int, start: CycleGAN | None
    ) -> TrainState:
        """Fresh networks drawn from `config.seed`, with copies of the generators of `start`."""
        # A host may hold us in inference mode, where weights that can be trained can't be made.
        with torch.inference_mode(mode=False), seeded(config.seed, device):
            # The order in which networks are drawn is part of what the seed means.
            model = CycleGAN(config.model, directions=config.trained_directions)
            disc_a, disc_b = _new_discriminators(config)
            discs = [disc for disc in (disc_b, disc_a) if disc is not None]
            if start is not None:
                copy_weights(start, model)
            elif config.init == "residual_zero":
                init_residual_zero(model)
            if start is None and config.warmup_steps > 0:  # in which they stay the same
                model.generator("b_to_a").load_state_dict(model.generator("a_to_b").state_dict())
            ema = CycleGAN(config.model, directions=model.directions)
            copy_weights(model, ema)
            ema.eval().requires_grad_(requires_grad=False)

            # The form in which the networks train fastest, as the settings want it.
            if config.precision == "fp32":
                is_quick = config.winograd and device.type == "cpu" and has_winograd(model)
            else:
                is_quick = device.type in ("cpu", "cuda")
            is_last = config.channels_last == "on" or (config.channels_last == "auto" and is_quick)
            features = load_feature_network(len(BLOCKS)) if config.lambda_features > 0 else None
            frozen = [] if features is None else [features]
            for network in (model, ema, *discs, *frozen):
                network.to(device)
                if is_last:
                    network.to(memory_format=torch.channels_last)
            for module in model.modules():
                if isinstance(module, ResnetBlock):
                    module.recompute = config.recompute
                elif isinstance(module, WinogradConv2d):
                    module.winograd = config.winograd
            if config.compile:
                for direction in model.directions:
                    model.generator(direction).compile()
                for disc in discs:
                    disc.compile()

            return cls(
                config=config,
                asked=config,
                asked_ranks=rank_and_world_size()[1],
                device=device,
                rank=rank,
                model=model,
                ema=ema,
                disc_a=disc_a,
                disc_b=disc_b,
                features=features,
                opt_gen=new_adam(config, [model], device),
                opt_disc=new_adam(config, discs, device) if discs else None,
                loss_scale=LossScale(active=config.precision == "fp16", device=device),
                lanes=[Lane.create(config, rank)],
                diverged=torch.tensor(False, device=device),
            )

    @property
    def trained(self) -> CycleGAN:
        """The generators that a training gives: the averaged ones, or the last without EMA."""
        return self.ema if self.config.ema_decay > 0 else self.model

    @property
    def discs(self) -> dict[str, nn.Module]:
        """The discriminators that there are, in the order in which they learn."""
        found = {"disc_b": self.disc_b, "disc_a": self.disc_a}
        return {name: disc for name, disc in found.items() if disc is not None}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All networks by the names that they have in a state file."""
        found = {
            "model": self.model,
            "disc_a": self.disc_a,
            "disc_b": self.disc_b,
            "ema": self.ema,
        }
        return {name: network for name, network in found.items() if network is not None}

    @property
    def optimizers(self) -> dict[str, torch.optim.Adam]:
        """The optimisers by the names that they have in a state file."""
        found = {"opt_gen": self.opt_gen, "opt_disc": self.opt_disc}
        return {name: optimizer for name, optimizer in found.items() if optimizer is not None}

    @property
    def pool_a(self) -> ImagePool:
        """The first lane's."""
        return self.lanes[0].pool_a

    @property
    def pool_b(self) -> ImagePool:
        """The first lane's."""
        return self.lanes[0].pool_b

    @property
    def pool_rng(self) -> random.Random:
        """The first lane's."""
        return self.lanes[0].pool_rng

    def set_learning_rates(self, multiplier: float) -> None:
        """Give the optimisers their rates for the next step, `multiplier` times the settings'."""
        config = self.config
        lr_disc = config.lr if config.lr_discriminator is None else config.lr_discriminator
        set_rate(self.opt_gen, config.lr * multiplier)
        if self.opt_disc is not None:
            set_rate(self.opt_disc, lr_disc * multiplier)

    @contextmanager
    def step_rngs(self) -> Generator[list[torch.Generator]]:
        """Each lane's random numbers, by seed, step and lane alone: they need not be saved."""
        names = [f"{self.config.seed} step {self.step} {lane.number}" for lane in self.lanes]
        seeds = [random.Random(name).getrandbits(63) for name in names]
        rngs = [torch.Generator().manual_seed(seed) for seed in seeds]
        if not self.config.model.dropout:
            yield rngs
            return
        with seeded(seeds[0], self.device):
            yield rngs

    def snapshot(self) -> Snapshot:
        """What the host knows before the next step."""
        rngs = tuple(lane.pool_rng.getstate() for lane in self.lanes)
        counts = tuple((lane.pool_a.count, lane.pool_b.count) for lane in self.lanes)
        return Snapshot(self.step, self.position, rngs, counts)

    def rewind(self, snapshot: Snapshot) -> None:
        """Know what was known at `snapshot`; nothing on the device must have changed since."""
        self.step, self.position = snapshot.step, snapshot.position
        each = zip(self.lanes, snapshot.pool_rngs, snapshot.counts, strict=True)
        for lane, rng, (lane.pool_a.count, lane.pool_b.count) in each:
            lane.pool_rng.setstate(rng)

    def release(self) -> None:
        """Give the device's memory back, whoever still holds a reference; no step can follow."""
        for network in (*self.networks.values(), self.features):
            if network is not None:
                network.to("cpu")
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
            optimizer.state.clear()
        for lane in self.lanes:
            lane.pool_a.images = lane.pool_b.images = []


def _new_discriminators(config: TrainConfig) -> tuple[nn.Module | None, nn.Module | None]:
    """disc_a and disc_b, drawn in this order; None where no generator has to fool one."""
    model, trained = config.model, config.trained_directions
    if not config.has_discriminators:
        return None, None
    if config.objective == "pix2pix":  # they judge both pictures of a pair together
        both = model.channels_a + model.channels_b
        disc_a = build_discriminator(config, both) if "b_to_a" in trained else None
        return disc_a, build_discriminator(config, both) if "a_to_b" in trained else None
    disc_a = build_discriminator(config, model.channels_a)
    return disc_a, build_discriminator(config, model.channels_b)


@torch.no_grad()
def copy_weights(source: CycleGAN, target: CycleGAN) -> None:
    """Copy every generator that `source` has; what it lacks stays as it is and is named."""
    for direction in target.directions:
        if direction in source.directions:
            target.generator(direction).load_state_dict(source.generator(direction).state_dict())
        else:
            log.warning("The start model has no %s generator; that one starts fresh.", direction)


@contextmanager
def seeded(seed: int, device: torch.device) -> Generator[None]:
    """Torch's own random numbers from `seed`, put back afterwards: the host's stay untouched."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
