"""The sweeps of one picture through a resnet generator, as `stream` describes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from ..device.precision import HALVES
from ..networks import ResnetGenerator
from ..pictures.rows import RowSource
from ..pixels import NetworkInput, NetworkOutput
from ..progress import OnProgress
from .feature_maps import Store, StoredMap, map_memory
from .norm_statistics import Affine, Moments, fixed_affine
from .plan import StreamPlan, strip_rows
from .strip_layers import InPieces, Layer, Layers, Normalisation, Residual, Stage, push, tanh

Read = Callable[[int, int], Tensor]
"""(top, bottom) -> rows (1,C,bottom-top,W) of a picture or a map."""


@dataclass(slots=True)
class StripCounter:
    """Counts the strips of all sweeps of a translation, and reports each."""

    on_progress: OnProgress
    total: int = 0
    done: int = 0

    def add(self) -> None:
        """Count one more strip that is done."""
        self.done += 1
        self.on_progress(self.done, self.total)


@dataclass(frozen=True, slots=True)
class Strips:
    """What a sweep reads: a picture or a map, in strips."""

    height: int
    """Rows in all."""
    rows: int
    """Rows of a strip; the last one may have fewer."""
    read: Read

    @property
    def count(self) -> int:
        """How many strips there are."""
        return -(-self.height // self.rows)


@dataclass(frozen=True, slots=True)
class Maps:
    """What is stored of a picture, in one memory as large as `x` and `y` together."""

    x: StoredMap
    """At quarter size, in the first half of the memory: what goes into a block."""
    y: StoredMap
    """At quarter size, in the second half: what comes out of a block's convolutions."""
    half: StoredMap
    """At half size, in all of it, before the blocks and after them."""


class Sweeps:
    """One picture on its way through a network's layers."""

    def __init__(
        self,
        network: ResnetGenerator,
        config: ModelConfig,
        source: RowSource,
        plan: StreamPlan,
        counter: StripCounter,
    ) -> None:
        self._layers = Layers.of(network)
        weights = next(network.parameters())
        dtype = weights.dtype
        if plan.dtype in HALVES and dtype != torch.float64:
            dtype = plan.dtype  # autocast, too, leaves float64 alone
        self._like = torch.empty(0, dtype=dtype, device=weights.device)
        channels = self._layers.encoder[0].conv.in_channels
        self._input = NetworkInput(source, config, channels=channels, like=self._like)
        self._rows = strip_rows(config, self._input.width, dtype, plan.strip_bytes)
        self._picture = Strips(self._input.height, self._rows, self._input.read)
        # What the stages of all layers keep, as rows of a full-size map: six per block.
        kept = 6 * config.num_blocks + 10 + (8 if config.downsample == "blur" else 0)
        rows = strip_rows(config, self._input.width, dtype, plan.strip_bytes, kept_rows=kept)
        self._picture_at_once = Strips(self._input.height, rows, self._input.read)
        self._store: Store = plan.store
        self._counter = counter
        self.norms: dict[nn.Module, Affine] = {
            layer.norm: fixed_affine(layer.norm, self._like)
            for layer in self._layers.all
            if isinstance(layer.norm, nn.BatchNorm2d)
        }

    @property
    def strips_to_write(self) -> int:
        """How many strips `write_from` takes."""
        return self._picture.count

    @property
    def strips_at_once(self) -> int:
        """How many strips `write_at_once` takes."""
        return self._picture_at_once.count

    @property
    def strips_to_measure(self) -> int:
        """How many strips all sweeps of `measure` take."""
        encoder, decoder = 2 + self._layers.encoder[-1].is_pooled, 2
        half, quarter = (-(-self._input.height // size // self._rows) for size in (2, 4))
        inner = 2 * len(self._layers.blocks) + 1
        return (encoder + decoder) * self._picture.count + half + inner * quarter

    @contextmanager
    def maps(self) -> Generator[Maps]:
        """The stored maps."""
        height, width = self._input.height // 4, self._input.width // 4
        quarter = (self._layers.encoder[-1].conv.out_channels, height, width)
        half = (self._layers.encoder[1].conv.out_channels, 2 * height, 2 * width)
        start = quarter[0] * height * width
        with map_memory(2 * start, self._like, self._store) as memory:
            yield Maps(memory.map(quarter), memory.map(quarter, start=start), memory.map(half))

    def measure(self, maps: Maps) -> None:
        """Find the statistics of all instance norms; what the decoder's last takes stays stored."""
        # Encoder: no map of full size is stored, so the second sweep begins with the picture, too.
        # The third writes `x` over what it has read of `half`, which is ahead.
        first, second, third = self._layers.encoder
        self._measure(self._picture, [], first)
        if third.is_pooled:
            # The second's map is four times as large as `half`, until it is pooled: so another
            # sweep makes it, and one more the third's.
            self._measure(self._picture, self._normed(first), second)
            stages = [*self._normed(first), *self._normed(second), _kept_in(maps.half)]
            self._measure(self._picture, stages, third)
            self._sweep(self._at_half(maps.half.read), self._normed(third), maps.x.write)
            read = maps.x.read
        else:
            self._measure(self._picture, self._normed(first), second, into=maps.half)
            normed = self._normed_map(maps.half, second, keep=False)  # it is overwritten anyway
            self._measure(self._at_half(normed), [], third, into=maps.x)
            read = self._normed_map(maps.x, third, keep=True)

        # Blocks: `x` holds a block's input, `y` first the output of its first convolution, then,
        # row by row over that, of the second. The sum of both is made by who reads it next.
        for first, second in self._layers.blocks:
            self._measure(self._at_quarter(read), [], first, into=maps.y)
            normed = self._normed_map(maps.y, first, keep=False)
            self._measure(self._at_quarter(normed), [], second, into=maps.y)
            read = self._sum(maps.x, maps.y, second)

        # Decoder: the last block's output moves to `y`, as `half` is written from the beginning on,
        # two rows for one: there it never reaches what is not yet read.
        self._sweep(self._at_quarter(read), [], maps.y.write)
        first, second = self._layers.decoder
        self._measure(self._at_quarter(maps.y.read, finely=True), [], first, into=maps.half)
        normed = self._normed_map(maps.half, first, keep=True)
        self._measure(self._at_half(normed, finely=True), [], second)

    def write_from(self, maps: Maps, output: NetworkOutput) -> None:
        """From what `measure` stored to the result, in one sweep."""
        stages = [*self._normed(self._layers.decoder[1]), *self._last()]
        self._write(self._at_half(maps.half.read, finely=True), stages, output)

    def write_at_once(self, output: NetworkOutput) -> None:
        """From the picture to the result in one sweep; all norms are known."""
        rows = self._picture_at_once.rows // 4
        decoder = [stage for layer in self._layers.decoder for stage in self._normed(layer)]
        after: list[Stage] = [InPieces([*decoder, *self._last()], rows)]
        for first, second in reversed(self._layers.blocks):
            branch = [*self._normed(first), *self._normed(second, relu=False)]
            after = [InPieces([Residual(branch), *after], rows)]
        encoder = [stage for layer in self._layers.encoder for stage in self._normed(layer)]
        self._write(self._picture_at_once, [*encoder, *after], output)

    def _last(self) -> list[Stage]:
        """The stages of the layer that makes the picture."""
        return [*self._layers.last.stages(self._like.dtype), tanh]

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
        moments = Moments(layer.conv.out_channels, self._like.device)

        def take(top: int, rows: Tensor) -> None:
            moments.update(rows)
            if into is not None:
                into.write(top, rows)

        self._sweep(strips, [*before, *layer.stages(self._like.dtype)], take)
        affine = moments.affine(layer.norm, self._like)
        if not affine.is_finite:
            raise self._input.non_finite_error(self._rows)
        self.norms[layer.norm] = affine

    def _sweep(
        self, strips: Strips, stages: Sequence[Stage], take: Callable[[int, Tensor], None]
    ) -> None:
        """Send all strips through the stages; `take` gets (first row, rows) of what comes out."""
        done = 0
        for top in range(0, strips.height, strips.rows):
            bottom = min(top + strips.rows, strips.height)
            rows = push(stages, strips.read(top, bottom), last=bottom == strips.height)
            if rows is not None:
                take(done, rows)
                done += rows.shape[2]
            del rows  # before the next strip needs the memory
            self._counter.add()

    def _at_half(self, read: Read, *, finely: bool = False) -> Strips:
        """A map in strips as large as the picture's: now or, `finely`, once enlarged."""
        return Strips(self._input.height // 2, self._rows // 2 if finely else self._rows, read)

    def _at_quarter(self, read: Read, *, finely: bool = False) -> Strips:
        """The same at quarter size."""
        return Strips(self._input.height // 4, self._rows // 4 if finely else self._rows, read)

    def _normed(self, layer: Layer, *, relu: bool = True) -> list[Stage]:
        """The stages from a layer's input to its output after norm, ReLU and pooling."""
        norm = self._norm(layer, relu=relu)
        return [*layer.stages(self._like.dtype), norm, *layer.last_stages()]

    def _norm(self, layer: Layer, *, relu: bool) -> Normalisation:
        return Normalisation(None if layer.norm is None else self.norms[layer.norm], relu=relu)

    def _normed_map(self, stored: StoredMap, layer: Layer, *, keep: bool) -> Read:
        """A function that reads relu(norm(map)), which leaves that in the map if wanted."""
        norm = self._norm(layer, relu=True)

        def read(top: int, bottom: int) -> Tensor:
            rows = norm(stored.read(top, bottom), False)
            if keep:
                stored.write(top, rows)
            return rows

        return read

    def _sum(self, x: StoredMap, y: StoredMap, layer: Layer) -> Read:
        """A function that reads the output of a block, x + norm(y), which leaves that in `x`."""
        norm = self._norm(layer, relu=False)

        def read(top: int, bottom: int) -> Tensor:
            rows = x.read(top, bottom).add_(norm(y.read(top, bottom), False))
            x.write(top, rows)
            return rows

        return read


def _kept_in(stored: StoredMap) -> Stage:
    """A stage that stores the rows that pass."""
    done = 0

    def keep(rows: Tensor, last: bool) -> Tensor:  # noqa: FBT001 - a Stage
        nonlocal done
        stored.write(done, rows)
        done += rows.shape[2]
        return rows

    return keep
