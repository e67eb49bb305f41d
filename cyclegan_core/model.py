"""The model: two generators, and what people do with them - translate, and go there and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor, nn

from .config import ARROWS, DIRECTIONS, GENERATOR_NAMES, Direction, ModelConfig, opposite
from .device.memory import Limits
from .errors import MissingDirectionError
from .fitting import eval_mode, to_channels
from .hub.mixin import HubModel
from .networks import build_generator, init_weights
from .pictures.rows import RowSink, RowSource
from .translation.plan import Memory
from .translation.speedups import Speedup, forget
from .translation.translate import OnProgress, Translation


def ignore(done: int, total: int) -> None:
    """The callback of those who don't watch."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A round trip; every tensor is (B,C,H,W) in [0,1]."""

    fake: Tensor
    """The translation."""
    rec: Tensor
    """The translation translated back: the same domain as the input."""
    error: Tensor
    """|rec - images| per pixel and channel; its mean is the cycle error."""


class CycleGAN(nn.Module, HubModel):
    """One or two generators that translate between picture domains A and B (Zhu et al. 2017)."""

    gen_ab: nn.Module | None
    gen_ba: nn.Module | None

    def __init__(
        self, config: ModelConfig | None = None, *, directions: Sequence[Direction] = DIRECTIONS
    ) -> None:
        """Fresh weights from N(0, 0.02).

        Args:
            config: the architecture; the paper's 9-block network by default.
            directions: which generators exist; at least one.

        Raises:
            ValueError: `directions` is empty or holds something else than a direction.
        """
        super().__init__()
        if not directions or not set(directions) <= set(DIRECTIONS):
            raise ValueError(f"directions must name one or both of {DIRECTIONS}; got {directions}.")
        self.config = config or ModelConfig()
        self.training_info: dict[str, Any] = {}
        for direction in DIRECTIONS:
            network = None
            if direction in directions:
                network = build_generator(self.config, direction)
                init_weights(network)
            setattr(self, GENERATOR_NAMES[direction], network)

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions this model can translate, A to B first."""
        return tuple(d for d in DIRECTIONS if getattr(self, GENERATOR_NAMES[d]) is not None)

    def generator(self, direction: Direction) -> nn.Module:
        """The network that translates in `direction`.

        Raises:
            ValueError: no such direction.
            MissingDirectionError: this model translates the other way only.
        """
        if direction not in DIRECTIONS:
            raise ValueError(f"direction must be one of {DIRECTIONS}; got {direction!r}.")
        network: nn.Module | None = getattr(self, GENERATOR_NAMES[direction])
        if network is None:
            (only,) = self.directions
            source, target = self.config.domains(only)
            names = "" if {source, target} == {"A", "B"} else f" ({source} → {target})"
            raise MissingDirectionError(
                f"This model only translates {ARROWS[only]}{names}, not {ARROWS[direction]}; "
                "choose the other direction, or load a second file for it."
            )
        return network

    def _apply(  # torch's own signature
        self,
        fn: Callable[[Tensor], Tensor],
        recurse: bool = True,  # noqa: FBT001, FBT002
    ) -> CycleGAN:
        """What `to` and its like do; what was recorded for the weights' old place goes first."""
        for direction in self.directions:
            forget(self.generator(direction))
        return super()._apply(fn, recurse)

    def check_round_trip(self) -> None:
        """Make sure that `reconstruct` can work.

        Raises:
            MissingDirectionError: there is one generator only.
        """
        if len(self.directions) == 1:
            (only,) = self.directions
            raise MissingDirectionError(
                f"A round trip needs both directions, and this model only translates "
                f"{ARROWS[only]}; load a second file for {ARROWS[opposite(only)]}."
            )

    def translate(  # noqa: PLR0913 - what, how, and within which limits
        self,
        images: Tensor,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
        limits: Limits | None = None,
        speedup: Speedup = "none",
    ) -> Tensor:
        """Translate pictures from one domain to the other.

        Args:
            images: (B,C,H,W) float in [0,1], any H and W from 1 up, on any device. C is the
                model's own channel count; grey and RGB are converted into each other.
            direction: "a_to_b" or "b_to_a".
            memory: "whole" (each picture in one pass), "streamed" (the same result to float
                rounding, in strips: 8 times smaller; resnets only), "thumbnail" (an
                approximation with the statistics of a reduced copy), or "auto": whole where it
                fits, else streamed.
            dtype: bfloat16 or float16 for the convolutions; None or float32 for the precision
                of the weights, which `load_model` makes float32. Norm statistics are float32
                at least, and what is not finite in half precision is done again without it.
            on_progress: called after each picture or strip.
            limits: what the translation may use; by default what is free.
            speedup: "none", or for many pictures of one size, whole ones: "compile" (torch.compile,
                which takes a minute at first), or "graph" (a CUDA graph, recorded at the first
                picture; elsewhere a warning says that there is none). Either keeps its result, and
                the graph its memory, with the model until the weights move.

        Returns:
            (B,C',H,W) in [0,1], with the dtype and device of `images`; C' is the target domain's.

        Raises:
            ValueError: an argument is wrong.
            MissingDirectionError: there is no generator for `direction`.
            CycleGANError: a result is not finite even in float32, or needs more memory than
                there is in any way that `memory` allows, or torch.compile can't work here.
        """
        network = self.generator(direction)
        _check_arguments(images, memory, dtype, speedup)
        channels = self.config.channels(direction)
        result = _empty_result(images, channels[1])
        work = Translation(
            network, self.config, channels, memory, dtype, limits or Limits(), speedup
        )
        with torch.no_grad(), eval_mode(network):
            work.batch(images, result, on_progress)
        return result

    def translate_rows(  # noqa: PLR0913 - those of `translate`, and where to
        self,
        source: RowSource,
        sink: RowSink,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
        limits: Limits | None = None,
        speedup: Speedup = "none",
    ) -> None:
        """Translate one picture that need not be a tensor; the arguments are those of `translate`.

        Strips are read from `source`, several times, and written to `sink` once from the top
        down, so that neither has to hold floats.
        """
        network = self.generator(direction)
        _check_settings(memory, dtype, speedup)
        channels = self.config.channels(direction)
        work = Translation(
            network, self.config, channels, memory, dtype, limits or Limits(), speedup
        )
        with torch.no_grad(), eval_mode(network):
            work.rows(source, sink, on_progress)

    def reconstruct(  # noqa: PLR0913 - those of `translate`
        self,
        images: Tensor,
        direction: Direction = "a_to_b",
        *,
        memory: Memory = "auto",
        dtype: torch.dtype | None = None,
        on_progress: OnProgress = ignore,
        limits: Limits | None = None,
        speedup: Speedup = "none",
    ) -> Reconstruction:
        """Translate in `direction` and back again; the arguments are those of `translate`.

        `on_progress` counts the way there and the way back.

        Raises:
            MissingDirectionError: a round trip needs both generators.
        """
        self.check_round_trip()
        _check_arguments(images, memory, dtype, speedup)

        def on_way_there(done: int, total: int) -> None:
            on_progress(done, 2 * total)

        def on_way_back(done: int, total: int) -> None:
            on_progress(total + done, 2 * total)

        settings: dict[str, Any] = {
            "memory": memory,
            "dtype": dtype,
            "limits": limits,
            "speedup": speedup,
        }
        fake = self.translate(images, direction, on_progress=on_way_there, **settings)
        rec = self.translate(fake, opposite(direction), on_progress=on_way_back, **settings)
        error = (rec - to_channels(images.detach(), rec.shape[1])).abs()
        return Reconstruction(fake, rec, error)


def _empty_result(images: Tensor, channels: int) -> Tensor:
    """(B,`channels`,H,W) that lies in memory like `images`, so that no one has to copy it."""
    last = images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    shape = (len(images), channels, *images.shape[-2:])
    return torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=layout)


def _check_arguments(images: Tensor, memory: str, dtype: torch.dtype | None, speedup: str) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            "images must be a float tensor (B,C,H,W) in [0,1]; got "
            f"{tuple(images.shape)} of {images.dtype}."
        )
    if 0 in images.shape[1:]:
        raise ValueError(f"images must have at least one pixel; got {tuple(images.shape)}.")
    _check_settings(memory, dtype, speedup)


def _check_settings(memory: str, dtype: torch.dtype | None, speedup: str) -> None:
    if memory not in get_args(Memory):
        raise ValueError(f"memory must be one of {', '.join(get_args(Memory))}; got {memory!r}.")
    if dtype not in (None, torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"dtype must be float32, bfloat16 or float16; got {dtype}.")
    if speedup not in get_args(Speedup):
        raise ValueError(f"speedup must be one of {', '.join(get_args(Speedup))}; got {speedup!r}.")
