"""The trainer: one step in the paper's order, the loop, and the state that makes resume exact."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data.loader import BatchConfig, Batches
from ..data.training_data import TrainingData
from ..data.unpaired_folders import UnpairedFolders
from ..device.distributed import rank_0_says, rank_and_world_size
from ..device.graphs import compiled
from ..device.memory import free_bytes
from ..discriminators.feature_discriminator import least_side
from ..errors import TrainingDivergedError
from ..model import CycleGAN
from ..progress import ignore
from . import state_file
from .divergence import lowered_scale, problem
from .losses import AnyLosses, as_losses, term_names
from .optimiser import lr_multiplier
from .state import Snapshot, TrainState, copy_weights, seeded
from .step import draw_inputs
from .step_graph import StepGraph, find_obstacle

log = logging.getLogger(__name__)

_BATCHES_AT_A_TIME = 5
"""At least so many lie in memory while one is trained on."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is known after a step."""

    step: int
    """Finished steps."""
    num_steps: int
    """Steps of the whole training."""
    losses: AnyLosses
    """The step's terms, on the device: looking at them waits for it, unlike `Trainer.history`."""
    lr: float
    """The generators' learning rate in this step."""


OnStep = Callable[[StepReport], None]
"""Called after each complete step; it ends the training by raising, and nothing is lost."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A step that the host knows nothing about yet."""

    before: Snapshot
    names: str
    """What its pictures are called, if that is known."""
    row: Tensor
    """What `check_finite` made of it, on the device."""


class Trainer:
    """Trains a CycleGAN (Zhu et al. 2017), or pix2pix (Isola et al. 2017), as the originals do.

    Owns copies of everything: a start model is never changed. After each step it can be saved,
    and a trainer that loads the state goes on bit for bit (on the CPU). Under `torch.distributed`
    it averages gradients over the ranks, so R ranks with batch B are one rank with batch R × B,
    except that each rank keeps its own image pools, dropout, and batch-norm statistics.

    Example:
        >>> from cyclegan_core import TrainConfig, Trainer, UnpairedFolders, save_model
        >>> data = UnpairedFolders("photos", "paintings")
        >>> trainer = Trainer(TrainConfig(max_steps=20_000), data, device="cuda")
        >>> save_model(trainer.run(), "monet.safetensors")

    Nothing is written meanwhile; a `RunFolder` keeps samples, losses and what to go on from.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        *,
        device: str | torch.device = "cpu",
        model: CycleGAN | None = None,
    ) -> None:
        """Fresh networks drawn from `config.seed`, or copies of `model`'s generators.

        Args:
            config: the settings; with `model`, its architecture replaces `config.model`'s.
            data: `UnpairedFolders`, or `PairedFolders` for objective pix2pix.
            device: where to train.
            model: a model to start from (fine-tuning); a direction it lacks starts fresh.
        """
        if model is not None:
            if config.warmup_steps > 0:
                raise ValueError(
                    "warmup_steps must be 0 with a model to start from, whose generators know "
                    f"what to do; got {config.warmup_steps}."
                )
            image_size = config.model.image_size
            config = replace(config, model=replace(model.config, image_size=image_size))
        check_data(config, data)
        self.data = data
        self.rank, self.world_size = rank_and_world_size()
        self.state = TrainState.create(config, torch.device(device), self.rank, start=model)
        """All that steps move; what follows only drives it."""
        crops = data.config.crops
        obstacle = find_obstacle(config, crops=crops, world_size=self.world_size)
        self.graph = StepGraph(self.state, obstacle)
        self.unread: list[Unread] = []
        """The latest steps, up to `read_every`, which the device may not even have finished."""
        self.wait_share = 0.0
        """Part of the time in `run` that was spent waiting for pictures, from 0 to 1."""
        self._is_stopped = False
        self._names = ""
        """What the pictures of the next step are called, for the sentence about a divergence."""

    @property
    def config(self) -> TrainConfig:
        """The settings, with the architecture of the start model if there was one."""
        return self.state.config

    @property
    def device(self) -> torch.device:
        """Where it trains."""
        return self.state.device

    @property
    def model(self) -> CycleGAN:
        """The generators as the last step left them; `export` gives the result of a training."""
        return self.state.model

    @property
    def step(self) -> int:
        """Finished steps."""
        return self.state.step

    @property
    def position(self) -> int:
        """Samples taken so far, over all ranks."""
        return self.state.position

    @property
    def history(self) -> list[Tensor]:
        """The terms of every step that was read, float32, one for each of `term_names`."""
        return self.state.history

    @property
    def term_names(self) -> tuple[str, ...]:
        """The terms that steps have, in the order of `history`."""
        return term_names(self.config)

    def train_step(self, real_a: Tensor, real_b: Tensor) -> AnyLosses:
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
            self.state.step_rngs() as rngs,
            compiled(wanted=self.config.compile),
        ):
            before = self.state.snapshot()
            self.state.set_learning_rates(self.lr_multiplier(self.step))
            try:
                row = self.graph.run(draw_inputs(self.state, real_a, real_b, *rngs))
            except BaseException:  # out of memory, say: what was drawn was not used
                self.state.rewind(before)
                raise
        self.unread.append(Unread(before, self._names, row))
        self.state.step, self._names = self.step + 1, ""
        if len(self.unread) >= self.read_every or self.step >= self.config.max_steps:
            self.read()
        return as_losses(self.config, row[: len(self.term_names)])

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
        if not self.unread:
            return
        with torch.inference_mode(mode=False):
            unread, self.unread = self.unread, []
            table = torch.stack([each.row for each in unread]).cpu()
            for each, row in zip(unread, table, strict=True):
                step = each.before.step + 1
                what = problem(row, self.term_names, is_scaled=self.state.loss_scale.active)
                if what is not None:
                    # This step and those after it have changed nothing; they are forgotten.
                    self.state.rewind(each.before)
                    self.state.diverged.fill_(False)
                    of = f" (the batch was {each.names})" if each.names else ""
                    raise TrainingDivergedError(f"Step {step}: {what}{of}.")
                scale = lowered_scale(row, self.term_names)
                if scale is not None:
                    log.info("Step %d overflowed fp16 and is left out; scale %g.", step, scale)
                self.history.append(row[: len(self.term_names)])

    def run(self, *, on_step: OnStep = ignore) -> CycleGAN:
        """Train until `max_steps`, `stop`, or until this run (a step at least) took `max_minutes`.

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
            is_over = rank_0_says(self._is_stopped, self.device)
            while self.step < self.config.max_steps and not is_over:
                batch = next(batches)
                self._names = ", ".join(path.name for path in (*batch.paths_a, *batch.paths_b))
                losses = self.train_step(batch.real_a, batch.real_b)
                self.state.position = batches.position
                self.wait_share = batches.wait_seconds / (time.monotonic() - started)
                lr = self.learning_rate(self.step)
                on_step(StepReport(self.step, self.config.max_steps, losses, lr))
                is_over = self._is_over(started)
        return self.export()

    def export(self) -> CycleGAN:
        """A copy on the CPU in eval mode: the averaged generators, or the last without EMA.

        Raises:
            TrainingDivergedError: see `read`.
        """
        self.read()
        with torch.inference_mode(mode=False), seeded(0, torch.device("cpu")):
            model = CycleGAN(self.config.model, directions=self.config.trained_directions)
            copy_weights(self.state.trained, model)
            model.training_info = {
                "objective": self.config.objective,
                "steps": self.step,
                "seed": self.config.seed,
                "data": self.data.digest,
                "torch": torch.__version__,
            }
            if self.step < self.config.warmup_steps:  # until then it has only learned to copy
                model.training_info["warmup_steps"] = self.config.warmup_steps
        return model.eval()

    def save_state(self, path: str | Path) -> None:
        """Write everything that the training consists of as one file, atomically.

        Under `torch.distributed` all ranks call this together, and rank 0 writes.

        Raises:
            TrainingDivergedError: see `read`; nothing is written.
        """
        self.read()
        state_file.save(self.state, self.data, Path(path))

    def load_state(self, path: str | Path) -> None:
        """Go on where `save_state` was called.

        Settings that may change (learning rates, weights of terms, lengths, intervals) are those
        of this trainer, and each change is logged. With another number of ranks than it was saved
        by, each takes more or fewer pictures, so that a step has as many as before; image pools and
        random numbers go with the pictures.

        Raises:
            CheckpointError: the file is not such a state, is damaged, or was made with other
                networks, pools or seed, or by ranks whose pictures these can't share.
        """
        with torch.inference_mode(mode=False):
            state_file.load(self.state, self.data, Path(path), self.world_size)
        self.unread = []
        self.graph.forget()  # what Adam keeps are other tensors now

    def release(self) -> None:
        """Give the device's memory back, whoever still holds a reference; the trainer is over."""
        self.state.release()
        self.graph.forget()

    def learning_rate(self, step: int) -> float:
        """The generators' learning rate in step number `step`, from 1."""
        return self.config.lr * self.lr_multiplier(step - 1)

    def lr_multiplier(self, step: int) -> float:
        """The factor of both learning rates in the step that follows `step` finished ones."""
        steps_per_epoch = max(1, len(self.data) // (self.config.batch_size * self.world_size))
        return lr_multiplier(self.config, step, steps_per_epoch)

    def stop(self) -> None:
        """Have `run` end before its next step, as if that were the last one.

        Under `torch.distributed` rank 0's word counts, and the next step is the first one before
        which the ranks agree.
        """
        self._is_stopped = True

    def _is_over(self, started: float) -> bool:
        """Whether rank 0 was stopped or its clock says so, at a step that waits anyway."""
        if not self.is_time_to_agree:
            return False
        minutes = self.config.max_minutes
        is_time_over = minutes is not None and time.monotonic() - started >= 60 * minutes
        return rank_0_says(self._is_stopped or is_time_over, self.device)

    @property
    def is_time_to_agree(self) -> bool:
        """Whether ranks may talk to each other without waiting for the device; alone, always."""
        return self.world_size == 1 or not self.unread


def check_data(config: TrainConfig, data: TrainingData) -> None:
    """Check that the pictures fit the networks, before any harm is done.

    Raises:
        ValueError: channels or sizes do not fit, or pairs are needed.
    """
    if config.objective == "pix2pix" and isinstance(data, UnpairedFolders):
        raise ValueError("objective pix2pix learns from pairs; open the folders as PairedFolders.")
    for name in ("channels_a", "channels_b"):
        pictures, networks = getattr(data.config, name), getattr(config.model, name)
        if pictures != networks:
            raise ValueError(
                f"{name} is {pictures} for the pictures and {networks} for the model; "
                "set both to the same."
            )
    if data.config.crops:
        _check_sides(config, {data.config.crop_size}, "crop_size must be")
        _check_batch(config, data.config.crop_size)
        return
    sizes = frozenset[tuple[int, int]]().union(*data.sample_sizes)
    _check_sides(config, {side for size in sizes for side in size}, "the sides of pictures must be")
    if config.gan_mode == "wgangp" and len(sizes) > 1:
        raise ValueError(
            "gan_mode wgangp mixes real with generated pictures, so all must have one size; "
            f"got {len(sizes)} sizes with preprocess {data.config.preprocess!r}, so choose one "
            "that crops."
        )


def _check_sides(config: TrainConfig, sides: set[int], what: str) -> None:
    """Every one of `sides` must pass the networks; `what` begins the sentence if not."""
    multiple, least = config.model.size_multiple, config.model.min_size
    if config.discriminator in ("patch", "patch_features"):
        # Two last layers of stride 1 take a pixel each, and instance norm needs 2 pixels.
        least = max(least, 3 * 2**config.disc_layers)
    if config.discriminator in ("features", "patch_features"):
        least = max(least, least_side(config.feature_taps))
    for side in sorted(sides):
        if side % multiple or side < least:
            raise ValueError(
                f"{what} a multiple of {multiple} and at least {least} for these networks; "
                f"got {side}."
            )


def _check_batch(config: TrainConfig, side: int) -> None:
    """The batches must fit the memory, or they would be decoded until the machine stands still."""
    channels = config.model.channels_a + config.model.channels_b
    needed = 4 * _BATCHES_AT_A_TIME * config.batch_size * channels * side**2
    free = free_bytes(torch.device("cpu"))
    if free is not None and needed > free:
        raise ValueError(
            f"batch_size must be smaller: {config.batch_size} pictures of {side} pixels take "
            f"{needed / 1e9:.1f} GB, decoded ahead, and {free / 1e9:.1f} GB are free."
        )
