"""A resumable stream of training batches, decoded ahead in threads."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from ..validation import check_int
from .training_data import Sample, TrainingData


def decoding_threads() -> int:
    """As many as the machine has cores, up to 8: a large JPEG keeps a core busy for 0.3 s."""
    return min(8, os.cpu_count() or 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchConfig:
    """How samples are put together and decoded ahead."""

    batch_size: int = 1
    """Samples per batch, on each rank."""
    seed: int = 0
    """Which of the endless sequences of samples."""
    position: int = 0
    """Number of the first sample, counted over all ranks."""
    rank: int = 0
    """Which of the processes of a data-parallel training this is."""
    world_size: int = 1
    """Processes of the data-parallel training; they share each step's samples out in turn."""
    num_threads: int = field(default_factory=decoding_threads)
    """Threads that decode, by default one for each core and 8 at most; 0 decodes in the caller's
    thread when a batch is asked for."""
    prefetch: int = 4
    """Batches that are decoded ahead."""
    pin_memory: bool = False
    """Put batches into page-locked memory, from which a GPU copies while it computes."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "world_size"):
            check_int(name, getattr(self, name), least=1)
        for name in ("position", "rank", "num_threads", "prefetch"):
            check_int(name, getattr(self, name), least=0)
        if self.rank >= self.world_size:
            raise ValueError(
                f"rank must be below world_size; got {self.rank} and {self.world_size}."
            )


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures of both domains, (B,C,H,W) float32 in [0,1]."""

    real_a: Tensor
    real_b: Tensor
    paths_a: tuple[Path, ...]
    paths_b: tuple[Path, ...]


class Batches(Iterator[Batch]):
    """Endless batches from `TrainingData`; close it, or use it in a `with` statement.

    One step takes the next `world_size` × `batch_size` samples of the sequence, of which this
    rank takes every `world_size`-th: so 2 ranks with a batch of 1 see what 1 rank with a batch
    of 2 sees. The threads never change the result, only the time.
    """

    def __init__(
        self, data: TrainingData, config: BatchConfig | None = None, **settings: object
    ) -> None:
        """Nothing is decoded yet.

        Args:
            data: where the samples come from.
            config: the defaults of `BatchConfig` if not given.
            settings: fields of `BatchConfig` by name; they go before `config`.

        Raises:
            ValueError: a setting is out of range, or the samples don't fit into one batch.
        """
        self.config = replace(config or BatchConfig(), **settings)
        self.data = data
        self.position = self.config.position
        """Number of the next sample, counted over all ranks; to go on there, set it in `config`."""
        self._ahead: deque[list[Callable[[], Sample]]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False
        self.wait_seconds = 0.0
        """How long callers waited for pictures, the first of all included."""
        self._step = self.config.batch_size * self.config.world_size
        if self.config.batch_size > 1:
            for domain, sizes in zip("AB", data.sample_sizes, strict=True):
                if len(sizes) > 1:
                    raise ValueError(
                        f"batch_size must be 1 with preprocess {data.config.preprocess!r}, because "
                        f"domain {domain}'s pictures have {len(sizes)} different sizes; got "
                        f"{self.config.batch_size}. A mode that crops makes them equal."
                    )

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
            DatasetError: a picture was changed or lost since the start, or none is left.
        """
        if self._is_closed:
            raise ValueError("these batches are closed; make a new Batches.")
        started = time.monotonic()
        while len(self._ahead) <= self.config.prefetch:
            self._ahead.append(self._begin(self.position + self._step * len(self._ahead)))
        try:
            samples = [wait() for wait in self._ahead[0]]
        except BaseException:  # whatever it is, a batch half waited for is asked for anew
            self._forget()
            raise
        self._ahead.popleft()
        self.position += self._step
        batch = self._collate(samples)
        self.wait_seconds += time.monotonic() - started
        return batch

    def close(self) -> None:
        """Stop the threads. Harmless when repeated."""
        self._forget()
        self._is_closed = True

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self, position: int) -> list[Callable[[], Sample]]:
        """Start decoding the batch at `position`; call each item to wait for its sample."""
        first = position + self.config.rank
        numbers = range(first, first + self._step, self.config.world_size)
        jobs = [partial(self.data.sample, number, seed=self.config.seed) for number in numbers]
        if self.config.num_threads == 0:
            return list(jobs)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.config.num_threads, "cyclegan-data")
        return [self._pool.submit(job).result for job in jobs]

    def _forget(self) -> None:
        """Give up what is decoded ahead."""
        self._ahead.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _collate(self, samples: list[Sample]) -> Batch:
        """Put samples together, in page-locked memory if that is wanted."""
        with torch.inference_mode(mode=False):  # a host may have it on; such tensors can't train
            real_a = torch.stack([sample.a for sample in samples])
            real_b = torch.stack([sample.b for sample in samples])
            if self.config.pin_memory:
                real_a, real_b = real_a.pin_memory(), real_b.pin_memory()
        paths_a = tuple(sample.path_a for sample in samples)
        return Batch(real_a, real_b, paths_a, tuple(sample.path_b for sample in samples))
