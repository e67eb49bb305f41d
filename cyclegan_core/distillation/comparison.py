"""How close a student is to its teacher on pictures held out, and how much smaller and faster."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..config import Direction
from ..errors import CheckpointError, CycleGANError
from ..evaluation.distances import perceptual_distance
from ..evaluation.extractors import LiteExtractor
from ..model import CycleGAN
from ..progress import OnProgress
from .self_ensemble import translate_views

_TIMED_SIDE = 512
"""Pixels each way of the picture that both networks are timed on."""

_REPEATS = 3
"""Of the timing; teacher and student take turns, and the quickest pass of each counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A student beside its teacher."""

    num_pictures: int
    """Pictures that were held out."""
    psnr: float
    """Mean PSNR of the student's translations to the teacher's, in decibels."""
    perceptual: float | None
    """Mean perceptual distance of the same, 0 for equal pictures; None without the extra eval."""
    parameters: tuple[int, int]
    """Numbers in the teacher's network and in the student's."""
    ms_per_megapixel: tuple[float, float]
    """Milliseconds per million pixels, teacher and student, timed in turns in one process."""
    precision: str
    """Number format of the convolutions while they were timed and compared."""
    device: str
    """Where both ran."""
    threads: int
    """Threads of the CPU that they could use."""

    @property
    def speedup(self) -> float:
        """How many times as fast as its teacher the student is."""
        teacher, student = self.ms_per_megapixel
        return teacher / student

    def to_dict(self) -> dict[str, Any]:
        """The numbers as JSON-ready values."""
        return asdict(self) | {
            "parameters": list(self.parameters),
            "ms_per_megapixel": list(self.ms_per_megapixel),
            "speedup": round(self.speedup, 2),
        }

    def __str__(self) -> str:
        before, after = self.parameters
        slow, fast = self.ms_per_megapixel
        look = "unknown without the extra eval"
        if self.perceptual is not None:
            look = f"{self.perceptual:.3f}"
        return (
            f"On {self.num_pictures} pictures held out: PSNR to the teacher {self.psnr:.2f} dB, "
            f"perceptual distance {look}.\n"
            f"{before / 1e6:.2f} → {after / 1e6:.2f} million parameters; {slow:.0f} → {fast:.0f} "
            f"ms per megapixel, {self.speedup:.1f} times as fast ({self.device}, "
            f"{self.precision}, threads: {self.threads})."
        )


def compare(  # noqa: PLR0913 - whom, on what, how
    teacher: CycleGAN,
    student: CycleGAN,
    direction: Direction,
    pictures: Iterable[Tensor],
    *,
    views: int,
    dtype: torch.dtype | None,
    on_progress: OnProgress,
) -> Comparison:
    """Compare two models on the device where both are.

    Args:
        teacher: the large one.
        student: the small one.
        direction: the way both translate.
        pictures: (C,H,W) in [0,1] each, of any size.
        views: whose median is the teacher's translation, see `translate_views`.
        dtype: of the convolutions, as for `CycleGAN.translate`.
        on_progress: called after each picture.
    """
    try:
        network = LiteExtractor(0)
    except CheckpointError:  # it is, and its weights are damaged
        raise
    except CycleGANError:  # the extra is not installed
        network = None
    device = next(student.parameters()).device
    psnrs: list[float] = []
    distances: list[float] = []
    pictures = list(pictures)
    for number, picture in enumerate(pictures, 1):
        batch = picture[None].to(device)
        wanted = translate_views(teacher, batch, direction, views=views, dtype=dtype)[0].cpu()
        given = student.translate(batch, direction, dtype=dtype)[0].cpu()
        error = float((wanted - given).square().mean(dtype=torch.float64))
        psnrs.append(-10 * math.log10(max(error, 1e-10)))
        if network is not None:
            rgb = wanted.expand(3, -1, -1), given.expand(3, -1, -1)
            distances.append(perceptual_distance(network, *rgb))
        on_progress(number, len(pictures))
    models = teacher, student
    counts = [sum(p.numel() for p in m.generator(direction).parameters()) for m in models]
    times = _milliseconds(models, direction, dtype)
    return Comparison(
        num_pictures=len(psnrs),
        psnr=sum(psnrs) / len(psnrs),
        perceptual=sum(distances) / len(distances) if distances else None,
        parameters=(counts[0], counts[1]),
        ms_per_megapixel=times,
        precision=str(dtype or torch.float32).removeprefix("torch."),
        device=str(device),
        threads=torch.get_num_threads(),
    )


def _milliseconds(
    models: tuple[CycleGAN, CycleGAN], direction: Direction, dtype: torch.dtype | None
) -> tuple[float, float]:
    """The quickest pass of each, per million pixels.

    They take turns, so that both are disturbed alike by whatever else runs.
    """
    device = next(models[0].parameters()).device
    channels = models[0].config.channels(direction)[0]
    picture = torch.full((1, channels, _TIMED_SIDE, _TIMED_SIDE), 0.5, device=device)
    quickest = [math.inf, math.inf]
    for _ in range(_REPEATS):
        for number, model in enumerate(models):
            started = time.perf_counter()
            model.translate(picture, direction, memory="whole", dtype=dtype).cpu()  # waits
            quickest[number] = min(quickest[number], time.perf_counter() - started)
    teacher, student = (1000 * seconds / (_TIMED_SIDE**2 / 1e6) for seconds in quickest)
    return teacher, student
