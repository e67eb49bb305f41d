"""The sweeps of one picture through a resnet generator, as `streaming` describes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..networks import ResnetGenerator
from ..pictures.rows import RowSource
from ..pixels import NetworkInput, NetworkOutput
from .feature_maps import Store, StoredMap, stored_maps
from .layers import Layer, Layers
from .norm_statistics import Affine, Moments, fixed_affine
from .plan import StreamPlan, strip_rows
from .strip_layers import InPieces, Normalisation, Residual, Stage, push, tanh

OnProgress = Callable[[int, int], None]
"""Called as (strips done, strips in all) after each strip; it cancels the work by raising."""

Read = Callable[[int, int], Tensor]
"""(top, bottom) -> rows (1,C,bottom-top,W) of a picture or a map."""


@dataclass(slots=True)
class Steps:
    """Counts strips, of one or more schedules, and tells."""

    on_progress: OnProgress
    total: int = 0
    done: int = 0

    def step(self) -> None:
        """A strip more is done."""
        self.done += 1
        self.on_progress(self.done, self.total)


@dataclass(frozen=True, slots=True)
class Strips:
    """What a sweep reads: a picture or a map, in strips."""

    height: int
    rows: int
    read: Read


class Schedule:
    """One picture on its way through a network's layers."""

    def __init__(
        self,
        network: ResnetGenerator,
        config: ModelConfig,
        source: RowSource,
        plan: StreamPlan,
        steps: Steps,
    ) -> None:
        self._layers = Layers.of(network)
        weights = next(network.parameters())
        dtype = weights.dtype
        if plan.dtype in (torch.bfloat16, torch.float16) and dtype != torch.float64:
            dtype = plan.dtype  # autocast, too, leaves float64 alone
        self._like = torch.empty(0, dtype=dtype, device=weights.device)
        channels = self._layers.encoder[0].conv.in_channels
        self._input = NetworkInput(source, config, channels=channels, like=self._like)
        self._rows = strip_rows(config, self._input.width, dtype, plan.strip_bytes)
        self._picture = Strips(self._input.height, self._rows, self._input.read)
        # What the stages of all layers keep, as rows of a full-size map: six per block.
        kept = 6 * config.num_blocks + 10
        rows = strip_rows(config, self._input.width, dtype, plan.strip_bytes, kept_rows=kept)
        self._picture_at_once = Strips(self._input.height, rows, self._input.read)
        self._store: Store = plan.store
        self._steps = steps
        self.norms: dict[nn.Module, Affine] = {
            layer.norm: fixed_affine(layer.norm, self._like)
            for layer in self._layers.all
            if isinstance(layer.norm, nn.BatchNorm2d)
        }

    @property
    def strips_per_sweep(self) -> int:
        """Strips of a sweep of `measure` over the picture, or of `write_from`."""
        return -(-self._input.height // self._rows)

    @property
    def strips_at_once(self) -> int:
        """Strips of `write_at_once`."""
        return -(-self._input.height // self._picture_at_once.rows)

    @property
    def strips_to_measure(self) -> int:
        """Strips of all sweeps of `measure`."""
        outer = len(self._layers.encoder) + len(self._layers.decoder)
        inner = 2 * len(self._layers.blocks)
        return outer * self.strips_per_sweep + inner * -(-self._input.height // 4 // self._rows)

    def maps(self) -> AbstractContextManager[list[StoredMap]]:
        """The two stored maps, `x` and `y`."""
        size = (self._input.height // 4, self._input.width // 4)
        return stored_maps(2, (self._layers.encoder[-1].channels, *size), self._like, self._store)

    def measure(self, x: StoredMap, y: StoredMap) -> None:
        """Find the statistics of all instance norms; the last block's output stays in `x`."""
        first, second, third = self._layers.encoder
        self._measure(self._picture, [], first)
        self._measure(self._picture, self._normed(first), second)
        stages = [*self._normed(first), *self._normed(second)]
        self._measure(self._picture, stages, third, into=x)
        read = self._normed_map(x, third, keep=True)
        for first, second in self._layers.blocks:
            self._measure(self._at_quarter(read), [], first, into=y)
            normed = self._normed_map(y, first, keep=False)  # it is overwritten anyway
            self._measure(self._at_quarter(normed), [], second, into=y)
            read = self._sum(x, y, second)
        first, second = self._layers.decoder
        self._measure(self._at_quarter(read, finely=True), [], first)
        self._measure(self._at_quarter(x.read, finely=True), self._normed(first), second)

    def write_from(self, x: StoredMap, output: NetworkOutput) -> None:
        """From the last block's output in `x` to the result, in one sweep."""
        strips = self._at_quarter(x.read, finely=True)
        self._write(strips, self._decoder(), output)

    def write_at_once(self, output: NetworkOutput) -> None:
        """From the picture to the result in one sweep; all norms are known."""
        rows = self._picture_at_once.rows // 4
        after: list[Stage] = [InPieces(self._decoder(), rows)]
        for first, second in reversed(self._layers.blocks):
            branch = [*self._normed(first), *self._normed(second, relu=False)]
            after = [InPieces([Residual(branch), *after], rows)]
        encoder = [stage for layer in self._layers.encoder for stage in self._normed(layer)]
        self._write(self._picture_at_once, [*encoder, *after], output)

    def _decoder(self) -> list[Stage]:
        normed = [stage for layer in self._layers.decoder for stage in self._normed(layer)]
        return [*normed, *self._raw(self._layers.last), tanh]

    def _write(self, strips: Strips, stages: list[Stage], output: NetworkOutput) -> None:
        def write(top: int, rows: Tensor) -> None:
            if not output.write(top, rows):
                raise self._input.non_finite_error(self._rows)

        self._sweep(strips, stages, write)

    def _measure(
        self, strips: Strips, before: list[Stage], layer: Layer, *, into: StoredMap | None = None
    ) -> None:
        """Find the statistics of the layer's output, and store that if wanted."""
        assert isinstance(layer.norm, nn.InstanceNorm2d)
        moments = Moments(layer.channels)

        def take(top: int, rows: Tensor) -> None:
            moments.update(rows)
            if into is not None:
                into.write(top, rows)

        self._sweep(strips, [*before, *self._raw(layer)], take)
        affine = moments.affine(layer.norm, self._like)
        if not affine.is_finite:
            raise self._input.non_finite_error(self._rows)
        self.norms[layer.norm] = affine

    def _sweep(
        self, strips: Strips, stages: Sequence[Stage], take: Callable[[int, Tensor], None]
    ) -> None:
        done = 0
        for top in range(0, strips.height, strips.rows):
            bottom = min(top + strips.rows, strips.height)
            rows = push(stages, strips.read(top, bottom), last=bottom == strips.height)
            if rows is not None:
                take(done, rows)
                done += rows.shape[2]
            del rows  # before the next strip needs the memory
            self._steps.step()

    def _at_quarter(self, read: Read, *, finely: bool = False) -> Strips:
        """A map in strips that are as large as the picture's; `finely` if they'll get so."""
        return Strips(self._input.height // 4, self._rows // 4 if finely else self._rows, read)

    def _raw(self, layer: Layer) -> list[Stage]:
        return layer.stages(self._like.dtype)

    def _normed(self, layer: Layer, *, relu: bool = True) -> list[Stage]:
        return [*self._raw(layer), self._norm(layer, relu=relu)]

    def _norm(self, layer: Layer, *, relu: bool) -> Normalisation:
        return Normalisation(None if layer.norm is None else self.norms[layer.norm], relu=relu)

    def _normed_map(self, stored: StoredMap, layer: Layer, *, keep: bool) -> Read:
        """Reads relu(norm(map)), and leaves that in the map if wanted."""
        norm = self._norm(layer, relu=True)

        def read(top: int, bottom: int) -> Tensor:
            rows = norm(stored.read(top, bottom), False)
            if keep:
                stored.write(top, rows)
            return rows

        return read

    def _sum(self, x: StoredMap, y: StoredMap, layer: Layer) -> Read:
        """Reads the output of a block, x + norm(y), and leaves that in `x`."""
        norm = self._norm(layer, relu=False)

        def read(top: int, bottom: int) -> Tensor:
            rows = x.read(top, bottom).add_(norm(y.read(top, bottom), False))
            x.write(top, rows)
            return rows

        return read
