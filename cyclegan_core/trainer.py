"""The trainer: one step in the paper's order, the loop, and the state that makes resume exact."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from . import train_state
from .batches import BatchConfig, Batches
from .config import TrainConfig
from .data import UnpairedFolders
from .ema import copy_weights, follow
from .errors import TrainingDivergedError
from .image_pool import ImagePool
from .losses import Losses
from .model import CycleGAN
from .networks import at_least_float32
from .objective import Players, Terms, discriminator_term, generator_terms, new_discriminator
from .ranks import average_gradients, rank_0_says, rank_and_world_size
from .schedules import lr_multiplier
from .training_checks import check_data, check_terms, gradient_norm, statistics_kept


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is known after a step."""

    step: int
    """Finished steps."""
    num_steps: int
    """Steps of the whole training."""
    losses: Losses
    """The step's terms."""
    lr: float
    """The generators' learning rate in this step."""


OnStep = Callable[[StepReport], None]
"""Called after each complete step; it ends the training by raising, and nothing is lost."""


def ignore(report: StepReport) -> None:
    """The callback of those who don't watch."""


class Trainer:
    """Trains a CycleGAN (Zhu et al. 2017) in the original's order of things.

    Owns copies of everything: a start model is never changed. After each step it can be saved,
    and a trainer that loads the state goes on bit for bit (on the CPU). Under `torch.distributed`
    it averages gradients over the ranks, so R ranks with batch B are one rank with batch R × B,
    except that each rank keeps its own image pools, dropout, and batch-norm statistics.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: UnpairedFolders,
        *,
        device: str | torch.device = "cpu",
        model: CycleGAN | None = None,
    ) -> None:
        """Fresh networks drawn from `config.seed`, or copies of `model`'s generators.

        Args:
            config: the settings; with `model`, its architecture replaces `config.model`'s.
            data: the two folders.
            device: where to train.
            model: a model to start from (fine-tuning); a direction it lacks starts fresh.
        """
        if model is not None:
            image_size = config.model.image_size
            config = replace(config, model=replace(model.config, image_size=image_size))
        self.config = config
        check_data(config, data)
        self.data = data
        self.device = torch.device(device)
        self.step = 0
        self.position = 0
        """Samples taken so far, over all ranks."""
        self.history: list[Tensor] = []
        """The eight terms of every step, (8,) float32 each."""
        self.rank, self.world_size = rank_and_world_size()
        self.pool_rng = random.Random(f"{config.seed} pools {self.rank}")
        self.pool_a = ImagePool(config.pool_size, self.pool_rng)
        self.pool_b = ImagePool(config.pool_size, self.pool_rng)
        # A host may hold us in inference mode, where weights that can be trained can't be made.
        with torch.inference_mode(mode=False), _seeded(config.seed, self.device):
            self.model = CycleGAN(config.model)
            self.disc_a = new_discriminator(config, config.model.channels_a)
            self.disc_b = new_discriminator(config, config.model.channels_b)
            if model is not None:
                copy_weights(model, self.model)
            self.ema = CycleGAN(config.model)
            copy_weights(self.model, self.ema)
            for network in (self.model, self.ema, self.disc_a, self.disc_b):
                network.to(self.device)
            self.ema.eval().requires_grad_(requires_grad=False)
            self.opt_gen = self._new_optimizer([self.model])
            self.opt_disc = self._new_optimizer([self.disc_b, self.disc_a])

    def _new_optimizer(self, networks: Iterable[nn.Module]) -> torch.optim.Adam:
        """Its learning rate is set at every step."""
        parameters = [p for network in networks for p in network.parameters()]
        betas = (self.config.beta1, self.config.beta2)
        return torch.optim.Adam(parameters, lr=self.config.lr, betas=betas)

    def train_step(self, real_a: Tensor, real_b: Tensor) -> Losses:
        """One step on a batch, in the paper's order.

        Args:
            real_a: (B,C,H,W) float in [0,1], H and W multiples of `size_multiple`.
            real_b: the same of domain B.

        Raises:
            TrainingDivergedError: a term or its gradient is not finite; no weight was changed.
        """
        with torch.inference_mode(mode=False), torch.enable_grad(), statistics_kept(self.model):
            terms = self._play(real_a.to(self.device, copy=True), real_b.to(self.device, copy=True))
            self._move_weights()
        zero = torch.zeros((), device=self.device)
        losses = Losses(*(terms.get(name, zero).detach() for name in Losses._fields))
        self.history.append(torch.stack(losses).cpu())
        self.step += 1
        return losses

    def _play(self, real_a: Tensor, real_b: Tensor) -> Terms:
        """The terms of a step, in the paper's order; their gradients are left in the networks."""
        self.model.train()
        with self._step_rng() as rng:
            real_a, real_b = real_a * 2 - 1, real_b * 2 - 1
            players = Players(self.model, self.disc_a, self.disc_b)
            players.freeze_discriminators(frozen=True)
            fake_a, fake_b, terms = generator_terms(players, self.config, real_a, real_b)
            check_terms(terms, self.step + 1)
            self.opt_gen.zero_grad()
            torch.stack(list(terms.values())).sum().backward()

            # The discriminators see fakes made before the generators move.
            players.freeze_discriminators(frozen=False)
            self.opt_disc.zero_grad()
            if self.config.lambda_gan > 0:
                for name, disc, pool, real, fake in (
                    ("disc_b", self.disc_b, self.pool_b, real_b, fake_b),
                    ("disc_a", self.disc_a, self.pool_a, real_a, fake_a),
                ):
                    pooled = pool.query(at_least_float32(fake))
                    terms[name] = discriminator_term(disc, self.config, real, pooled, rng)
                    check_terms({name: terms[name]}, self.step + 1)
                    terms[name].backward()
        return terms

    def _move_weights(self) -> None:
        """Average the gradients over the ranks, clip, step both optimisers, follow with the EMA."""
        lr, lr_disc = self.config.lr, self.config.lr_discriminator
        learning = (
            ("generators", self.opt_gen, lr),
            ("discriminators", self.opt_disc, lr if lr_disc is None else lr_disc),
        )
        for who, optimizer, rate in learning:
            group = optimizer.param_groups[0]
            group["lr"] = rate * self._multiplier(self.step)
            average_gradients(group["params"])
            norm = gradient_norm(group["params"], who, self.step + 1)
            if self.config.grad_clip is not None:
                nn.utils.clip_grads_with_norm_(group["params"], self.config.grad_clip, norm)
        for _, optimizer, _ in learning:  # only now that both are known to be finite
            optimizer.step()
        if self.config.ema_decay > 0:
            follow(self.ema, self.model, self.config.ema_decay, step=self.step)

    def run(self, *, on_step: OnStep = ignore) -> CycleGAN:
        """Train until `max_steps`, or until this run (of a step at least) took `max_minutes`.

        Whatever `on_step` raises ends the training after a complete step and comes out here.

        Returns:
            The trained model, see `export`.

        Raises:
            TrainingDivergedError: a term or its gradient is not finite; names the step, the term,
                the pictures.
            DatasetError: a picture was lost.
        """
        settings = BatchConfig(
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            position=self.position,
            rank=self.rank,
            world_size=self.world_size,
            pin_memory=self.device.type == "cuda",
        )
        started = time.monotonic()
        with torch.inference_mode(mode=False), Batches(self.data, settings) as batches:
            while self.step < self.config.max_steps:
                batch = next(batches)
                try:
                    losses = self.train_step(batch.real_a, batch.real_b)
                except TrainingDivergedError as error:
                    names = ", ".join(path.name for path in (*batch.paths_a, *batch.paths_b))
                    what = str(error).rstrip(".")
                    raise TrainingDivergedError(f"{what} (the batch was {names}).") from None
                self.position = batches.position
                lr = self.opt_gen.param_groups[0]["lr"]
                on_step(StepReport(self.step, self.config.max_steps, losses, lr))
                if self._is_time_over(started):
                    break
        return self.export()

    def export(self) -> CycleGAN:
        """A copy on the CPU in eval mode: the averaged generators, or the last without EMA."""
        with torch.inference_mode(mode=False), _seeded(0, torch.device("cpu")):
            model = CycleGAN(self.config.model)
            copy_weights(self.ema if self.config.ema_decay > 0 else self.model, model)
            model.training_info = {
                "steps": self.step,
                "seed": self.config.seed,
                "data": self.data.digest,
                "torch": torch.__version__,
            }
        return model.eval()

    def save_state(self, path: str | Path) -> None:
        """Write everything that the training consists of as one file, atomically.

        Under `torch.distributed` all ranks call this together, and rank 0 writes.
        """
        train_state.save(self, Path(path))

    def load_state(self, path: str | Path) -> None:
        """Go on where `save_state` was called.

        Settings that may change (learning rates, weights of terms, lengths, intervals) are those
        of this trainer, and each change is logged.

        Raises:
            CheckpointError: the file is not such a state, is damaged, or was made with other
                networks, pools or seed.
        """
        with torch.inference_mode(mode=False):
            train_state.load(self, Path(path))

    def release(self) -> None:
        """Give the device's memory back, whoever still holds a reference; the trainer is over."""
        for network in (self.model, self.ema, self.disc_a, self.disc_b):
            network.to("cpu")
        for optimizer in (self.opt_gen, self.opt_disc):
            optimizer.zero_grad()
            optimizer.state.clear()
        self.pool_a.images, self.pool_b.images = [], []

    @contextmanager
    def _step_rng(self) -> Generator[torch.Generator]:
        """Random numbers that depend on seed, step and rank alone, so they need not be saved."""
        seed = random.Random(f"{self.config.seed} step {self.step} {self.rank}").getrandbits(63)
        rng = torch.Generator().manual_seed(seed)
        if not self.config.model.dropout:
            yield rng
            return
        with _seeded(seed, self.device):
            yield rng

    def learning_rate(self, step: int) -> float:
        """The generators' learning rate in step number `step`, from 1."""
        return self.config.lr * self._multiplier(step - 1)

    def _multiplier(self, step: int) -> float:
        steps_per_epoch = max(1, len(self.data) // (self.config.batch_size * self.world_size))
        return lr_multiplier(self.config, step, steps_per_epoch)

    def _is_time_over(self, started: float) -> bool:
        """All ranks must agree, so rank 0's clock decides."""
        if self.config.max_minutes is None:
            return False
        over = time.monotonic() - started >= 60 * self.config.max_minutes
        return bool(rank_0_says(torch.tensor(over, dtype=torch.uint8, device=self.device)))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Generator[None]:
    """Torch's own random numbers from `seed`, put back afterwards: the host's stay untouched."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
