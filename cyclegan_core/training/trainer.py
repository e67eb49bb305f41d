"""The trainer: one step in the paper's order, the loop, and the state that makes resume exact."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data.loader import BatchConfig, Batches
from ..data.unpaired_folders import UnpairedFolders
from ..device.distributed import rank_0_says, rank_and_world_size
from ..device.graphs import compiled
from ..model import CycleGAN
from . import schedules
from . import state_file as train_state
from .checks import check_data
from .divergence import Unread, go_back, now, read
from .ema import copy_weights
from .image_pool import ImagePool
from .losses import Losses
from .objective import new_discriminator
from .optimiser import LossScale, new_adam
from .step import host_step, prepare
from .step_graph import StepGraph


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is known after a step."""

    step: int
    """Finished steps."""
    num_steps: int
    """Steps of the whole training."""
    losses: Losses
    """The step's terms, on the device: looking at them waits for it, unlike `Trainer.history`."""
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
        """The eight terms of every step that was read, (8,) float32 each."""
        self.unread: list[Unread] = []
        """The latest steps, up to `read_every`, which the device may not even have finished."""
        self.names = ""
        """What the pictures of the next step are called, for the sentence about a divergence."""
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
            prepare(self)
            self.opt_gen = new_adam(config, [self.model], self.device)
            self.opt_disc = new_adam(config, [self.disc_b, self.disc_a], self.device)
            self.loss_scale = LossScale(active=config.precision == "fp16", device=self.device)
            self.diverged = torch.tensor(False, device=self.device)
            """Whether an unread step was not finite; then nothing moves any more."""
        self.graph = StepGraph(self)
        self.wait_share = 0.0
        """Part of the time in `run` that was spent waiting for pictures, from 0 to 1."""

    def train_step(self, real_a: Tensor, real_b: Tensor) -> Losses:
        """One step on a batch, in the paper's order.

        Args:
            real_a: (B,C,H,W) float in [0,1], H and W multiples of `size_multiple`.
            real_b: the same of domain B.

        Raises:
            TrainingDivergedError: see `read`, which is called every `read_every` steps.
            CompilerError: torch.compile was asked for and can't work here.
        """
        with (
            torch.inference_mode(mode=False),
            torch.enable_grad(),
            self.step_rng() as rng,
            compiled(wanted=self.config.compile),
        ):
            before = now(self)
            try:
                row = self.graph.run(host_step(self, real_a, real_b, rng))
            except BaseException:  # out of memory, say: what was drawn was not used
                go_back(self, before)
                raise
        self.step, self.names = self.step + 1, ""
        self.unread.append(Unread(before, row))
        if len(self.unread) >= self.read_every or self.step >= self.config.max_steps:
            self.read()
        return Losses(*row[: len(Losses._fields)].unbind())

    @property
    def read_every(self) -> int:
        """Steps between readings; on the CPU there is nothing to wait for."""
        return self.config.read_every or (1 if self.device.type == "cpu" else 10)

    def read(self) -> None:
        """Wait for the device, and take what its steps left there into `history`.

        Under `torch.distributed` all ranks call this together.

        Raises:
            TrainingDivergedError: a term or its gradient is not finite; names the step, the term
                and in `run` the pictures. Everything is as it was before that step, and steps
                after it have not been.
        """
        with torch.inference_mode(mode=False):
            read(self)

    def run(self, *, on_step: OnStep = ignore) -> CycleGAN:
        """Train until `max_steps`, or until this run (of a step at least) took `max_minutes`.

        Whatever `on_step` raises ends the training after a complete step and comes out here.

        Returns:
            The trained model, see `export`.

        Raises:
            TrainingDivergedError: see `read`.
            DatasetError: a picture was lost.
        """
        settings = BatchConfig(
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            position=self.position,
            rank=self.rank,
            world_size=self.world_size,
            prefetch=max(4, self.read_every),  # they are taken at once while the device works
            pin_memory=self.device.type == "cuda",
        )
        started = time.monotonic()
        with torch.inference_mode(mode=False), Batches(self.data, settings) as batches:
            while self.step < self.config.max_steps:
                batch = next(batches)
                self.names = ", ".join(path.name for path in (*batch.paths_a, *batch.paths_b))
                losses = self.train_step(batch.real_a, batch.real_b)
                self.position = batches.position
                self.wait_share = batches.wait_seconds / (time.monotonic() - started)
                lr = self.learning_rate(self.step)
                on_step(StepReport(self.step, self.config.max_steps, losses, lr))
                if self._is_time_over(started):
                    break
        return self.export()

    def export(self) -> CycleGAN:
        """A copy on the CPU in eval mode: the averaged generators, or the last without EMA.

        Raises:
            TrainingDivergedError: see `read`.
        """
        self.read()
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

        Raises:
            TrainingDivergedError: see `read`; nothing is written.
        """
        self.read()
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
        self.graph.forget()  # the moments are other tensors now

    def release(self) -> None:
        """Give the device's memory back, whoever still holds a reference; the trainer is over."""
        for network in (self.model, self.ema, self.disc_a, self.disc_b):
            network.to("cpu")
        for optimizer in (self.opt_gen, self.opt_disc):
            optimizer.zero_grad()
            optimizer.state.clear()
        self.graph.forget()
        self.pool_a.images, self.pool_b.images = [], []

    @contextmanager
    def step_rng(self) -> Generator[torch.Generator]:
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
        return self.config.lr * self.lr_multiplier(step - 1)

    def lr_multiplier(self, step: int) -> float:
        """The factor of both learning rates in the step that follows `step` finished ones."""
        steps_per_epoch = max(1, len(self.data) // (self.config.batch_size * self.world_size))
        return schedules.lr_multiplier(self.config, step, steps_per_epoch)

    def _is_time_over(self, started: float) -> bool:
        """All ranks must agree, so rank 0's clock decides, at a step that waits anyway."""
        if self.config.max_minutes is None or not self.is_time_to_agree:
            return False
        over = time.monotonic() - started >= 60 * self.config.max_minutes
        return rank_0_says(over, self.device)

    @property
    def is_time_to_agree(self) -> bool:
        """Whether ranks may talk to each other without waiting for the device; alone, always."""
        return self.world_size == 1 or not self.unread


@contextmanager
def _seeded(seed: int, device: torch.device) -> Generator[None]:
    """Torch's own random numbers from `seed`, put back afterwards: the host's stay untouched."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
