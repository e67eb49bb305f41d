"""Frames of a film with norm statistics that don't jump from one frame to the next.

`FilmSettings` says what there is to choose from. However the statistics come about, they are taken
and used in the pass that the memory allows: whole, in strips, or a thumbnail's.

shared: the measured frames are translated as they are, and the statistics that their norms found
are averaged. With those the norms are batch norms in eval mode, and the network is one that needs
no statistics: in strips it is one sweep, without stored maps.

smoothed: each norm blends what it finds in this frame, which the norms before it have normed with
their own blends, into what it used for the frame before; the first frame is its own.

Apart from statistics, a share of each result may be carried on to the next frame: see `motion`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ..config import FilmSettings
from ..layers import RuledNorm, fixed_norm
from ..progress import OnProgress, ignore
from ..validation import WorkSize
from .motion import Steady
from .translate import Translation, check_input, check_pictures, empty_result
from .work_size import translate_batch

_FRAMES = "frames"
"""The key of how many frames have been seen, beside those of the norms."""

_STEADY = "steady "
"""What the keys of the frame before begin with."""


def spread(frames: int, most: int) -> list[int]:
    """The numbers of at most `most` frames, evenly spread over a film; 0 means all of them."""
    count = min(frames, most or frames)
    return [(2 * i + 1) * frames // (2 * count) for i in range(count)]


@dataclass(slots=True)
class _Averages:
    """A `StatisticsRule`: the averages of each norm's statistics over the frames so far.

    A frame counts when `commit` is called: until then it may be done again, after a pass that ran
    out of memory or overflowed, and what that one left is forgotten.
    """

    weight: Callable[[int], float]
    """Of the nth frame (from 1) in the average; the first is all of it."""
    is_used: bool
    """Whether norms use the average; otherwise what they found."""
    frames: int = 0
    averages: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    """(2,C) each, mean and variance."""
    _now: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def __call__(self, name: str, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        average = torch.stack([mean, variance])
        if self.frames:
            before = self.averages[name].to(average)
            average = torch.lerp(before, average, self.weight(self.frames + 1))
        self._now[name] = average
        return (average[0], average[1]) if self.is_used else (mean, variance)

    def commit(self) -> None:
        """Count the frame that was translated last."""
        self.averages, self._now = self._now, {}
        self.frames += 1


class Film:
    """The frames of one film on their way through a network, in order."""

    def __init__(
        self,
        translation: Translation,
        settings: FilmSettings,
        *,
        work_size: WorkSize = 0,
        detail: float = 1.0,
    ) -> None:
        """`work_size` and `detail` are those of `CycleGAN.translate`."""
        self._translation, self._settings = translation, settings
        self._work_size: WorkSize = work_size
        self._detail = detail
        is_smoothed = settings.statistics == "smoothed"
        share = -math.expm1(-1 / settings.smoothing_frames)
        self._averages = _Averages(
            (lambda _: share) if is_smoothed else (lambda n: 1 / n), is_smoothed
        )
        self._steady = Steady(settings.steadiness) if settings.steadiness else None
        norms = translation.network.modules()
        self.has_statistics = any(isinstance(norm, nn.InstanceNorm2d) for norm in norms)
        """Whether the network has instance norms, without which nothing has to be measured."""
        self._is_frame = settings.statistics == "frame" or not self.has_statistics
        self._ruled: Translation | None = None
        self._fixed: Translation | None = None

    def to_measure(self, frames: int) -> list[int]:
        """Which of so many frames are to be measured before the first is translated, in order."""
        if self._is_frame or self._settings.statistics == "smoothed":
            return []
        return spread(frames, self._settings.measured_frames)

    def measure(self, frame: Tensor, on_progress: OnProgress = ignore) -> None:
        """Take the statistics of a frame (1,C,H,W) in [0,1] into the shared ones."""
        check_input(frame)
        self._translate_ruled(frame, on_progress)
        self._fixed = None

    def translate(self, frames: Tensor, on_progress: OnProgress = ignore) -> Tensor:
        """Translate the film's next frames, (B,C,H,W) in [0,1] -> (B,C',H,W) in [0,1].

        Raises:
            ValueError: they are no pictures, or shared statistics were never measured.
        """
        check_input(frames)
        result = self._painted(frames, on_progress)
        if self._steady is not None:
            device = next(self._translation.network.parameters()).device
            for i in range(len(frames)):
                one = slice(i, i + 1)
                result[one] = self._steady.blend(frames[one].to(device), result[one].to(device))
        return result

    def _painted(self, frames: Tensor, on_progress: OnProgress) -> Tensor:
        """The frames' translations, nothing of each carried on to the next."""
        if self._is_frame or len(frames) == 0:
            return self._translated(self._translation, frames, on_progress)
        if self._settings.statistics == "shared":
            return self._translated(self._with_fixed_norms(), frames, on_progress)
        total = len(frames)
        result = empty_result(frames, self._translation.channels[1])
        for done in range(total):

            def on_part(part: int, parts: int, done: int = done) -> None:
                on_progress(done * parts + part, total * parts)

            result[done] = self._translate_ruled(frames[done : done + 1], on_part)[0]
        return result

    def translate_all(self, frames: Tensor, on_progress: OnProgress = ignore) -> Tensor:
        """Measure and translate a film that is one batch (B,C,H,W); counts both."""
        check_pictures(frames)
        measured = self.to_measure(len(frames))
        total = len(measured) + len(frames)
        for done, number in enumerate(measured):

            def on_part(part: int, parts: int, done: int = done) -> None:
                on_progress(done * parts + part, total * parts)

            self.measure(frames[number : number + 1], on_part)

        def on_rest(part: int, parts: int) -> None:
            share = len(frames) * part
            on_progress(len(measured) * parts + share, total * parts)

        return self.translate(frames, on_rest if measured else on_progress)

    def state(self) -> dict[str, Tensor]:
        """All that was so far: with it another film goes on exactly as this one would."""
        averages = self._averages
        state = {**averages.averages, _FRAMES: torch.tensor(averages.frames)}
        before = self._steady.state() if self._steady is not None else {}
        return state | {_STEADY + name: part for name, part in before.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where `state` was taken, under the same settings."""
        found = dict(state)
        names = [name for name in found if name.startswith(_STEADY)]
        before = {name.removeprefix(_STEADY): found.pop(name) for name in names}
        if self._steady is not None:
            self._steady.load_state(before)
        self._averages.frames = int(found.pop(_FRAMES, torch.tensor(0)))
        self._averages.averages = found
        self._fixed = None

    def _translated(
        self, translation: Translation, frames: Tensor, on_progress: OnProgress
    ) -> Tensor:
        return translate_batch(translation, frames, self._work_size, self._detail, on_progress)

    def _translate_ruled(self, frame: Tensor, on_progress: OnProgress) -> Tensor:
        """Translate one frame (1,C,H,W), whose statistics count afterwards."""
        if self._ruled is None:
            network = _with_norms(
                self._translation.network, lambda norm, name: RuledNorm(norm, name, self._averages)
            )
            # A recorded or compiled pass would ask the rule once, and never again.
            settings = replace(self._translation.settings, speedup="none")
            self._ruled = replace(self._translation, network=network, settings=settings)
        result = self._translated(self._ruled, frame, on_progress)
        self._averages.commit()
        return result

    def _with_fixed_norms(self) -> Translation:
        """The translation with the shared statistics as they are now."""
        if self._fixed is None:
            if not self._averages.frames:
                raise ValueError("shared statistics need at least one measured frame.")
            weights = next(self._translation.network.parameters())
            dtype = torch.promote_types(weights.dtype, torch.float32)

            def fixed(norm: nn.InstanceNorm2d, name: str) -> nn.Module:
                mean, variance = self._averages.averages[name].to(weights.device, dtype)
                return fixed_norm(norm, mean, variance)

            network = _with_norms(self._translation.network, fixed)
            config = replace(self._translation.config, norm="batch", norm_affine=False)
            self._fixed = replace(self._translation, network=network, config=config)
        return self._fixed


def _with_norms(
    network: nn.Module, replacement: Callable[[nn.InstanceNorm2d, str], nn.Module]
) -> nn.Module:
    """A network of the same weights, in the same memory, with other modules for instance norms."""
    memo = {id(part): part for part in (*network.parameters(), *network.buffers())}
    other = copy.deepcopy(network, memo)
    norms = [(name, part) for name, part in other.named_modules()]
    for name, norm in norms:
        if isinstance(norm, nn.InstanceNorm2d):
            parent, _, last = name.rpartition(".")
            setattr(other.get_submodule(parent), last, replacement(norm, name))
    return other
