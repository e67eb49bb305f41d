"""How pictures can go through a network: plans, best first, chosen by the memory there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import torch

from ..config import Memory, ModelConfig, Speedup
from ..device.memory import free_bytes
from ..device.precision import HALVES
from ..errors import CycleGANError
from ..streaming.plan import StreamPlan, stored_bytes

CHUNK_PIXELS = 2**21
"""Most pixels per pass on an accelerator: more is not faster."""

STRIP_BYTES = 2**29
"""Most working memory of a strip."""

_LEAST_STRIP_BYTES = 2**24
_SAFE_SHARE = {"cpu": 0.6, "cuda": 0.9}
"""Which part of the free memory may be used: a system that runs out of its own kills processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a translation may use beyond the weights and the two pictures."""

    free_bytes: int | None = None
    """On the weights' device; None asks the device. A host that manages its memory knows better."""
    free_host_bytes: int | None = None
    """In the machine's memory; None asks the system."""
    scratch: Path | None = None
    """A folder on a disk for stored maps that fit into neither; None never uses the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslateSettings:
    """How a translation is done; `CycleGAN.translate` explains each.

    Raises:
        ValueError: one of them is not a choice.
    """

    memory: Memory = "auto"
    dtype: torch.dtype | None = None
    limits: Limits = field(default_factory=Limits)
    speedup: Speedup = "none"

    def __post_init__(self) -> None:
        for name, choices in (("memory", get_args(Memory)), ("speedup", get_args(Speedup))):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
        if self.dtype not in (None, torch.float32, *HALVES):
            raise ValueError(
                "dtype must be float32, bfloat16 or float16 of torch, such as torch.bfloat16; "
                f"got {self.dtype!r}."
            )

    @property
    def half(self) -> torch.dtype | None:
        """The half precision wanted, if any."""
        return self.dtype if self.dtype in HALVES else None


@dataclass(frozen=True, slots=True)
class Plan:
    """One way to take pictures through a network."""

    chunk: int = 1
    """Pictures at a time; of small ones on an accelerator."""
    strips: StreamPlan | None = None
    """How strips go; None for whole pictures."""

    def __str__(self) -> str:
        if self.strips is None:
            return f"{self.chunk} at a time" if self.chunk > 1 else "in one pass"
        store = self.strips.store
        place = "a file" if isinstance(store, Path) else f"{store} memory"
        return f"in strips of {self.strips.strip_bytes // 2**20} MB with maps in {place}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Pictures of one size and the network for them: all that decides how they can go."""

    config: ModelConfig
    settings: TranslateSettings
    device: torch.device
    """Where the weights are."""
    dtype: torch.dtype = torch.float32
    """The weights' precision."""
    height: int
    width: int
    pictures: int = 1
    pending_bytes: int = 0
    """Bytes of results on the CPU, whose pages a system counts as free until they are written."""

    def plans(self) -> Iterator[Plan]:
        """What to try, best first; nothing that certainly does not fit.

        Raises:
            CycleGANError: strips were asked for, and a U-Net can't go in strips.
        """
        memory, limits = self.settings.memory, self.settings.limits
        is_unet = self.config.generator == "unet"
        if is_unet and memory in ("streamed", "thumbnail"):
            needed = whole_pass_bytes(self.config, self.height, self.width) / 1e9
            raise CycleGANError(
                "A U-Net can't translate in strips, because its inner layers see the whole "
                f"picture; choose memory 'whole', which needs about {needed:.1f} GB for "
                f"{self.width}×{self.height}, or a model with a resnet generator."
            )

        # Whole pictures: as many at a time as fit and as make sense, then one by one. A CPU is
        # busy with a single one.
        room = self._room_on(self.device, limits.free_bytes)
        needed = self._whole_bytes
        if self._is_whole or (memory == "auto" and needed <= room):
            chunk = min(CHUNK_PIXELS // max(1, self.height * self.width), self.pictures)
            if chunk * needed > room:
                chunk = int(room // needed)
            if chunk > 1 and self.device.type != "cpu":
                yield Plan(chunk)
            yield Plan()
        if self._is_whole:
            return

        # Strips: large ones are a little faster, so they may take a quarter of the room, and where
        # that turns out to be too much, a sixteenth of it.
        large = int(max(_LEAST_STRIP_BYTES, min(STRIP_BYTES, room // 4)))
        small = max(_LEAST_STRIP_BYTES, large // 16)
        sizes = sorted({large, small}, reverse=True)
        strips = [StreamPlan(dtype=self.settings.half, strip_bytes=size) for size in sizes]
        for how in strips:
            if self._stored_bytes + how.strip_bytes <= room:
                yield Plan(strips=how)
        if not self._stored_bytes:
            return

        # Maps that the device can't hold: in the machine's memory, which a CPU's is already,
        # and last on a disk.
        host_room = self._room_on(torch.device("cpu"), limits.free_host_bytes)
        for how in strips:
            if self.device.type != "cpu" and self._stored_bytes <= host_room:
                yield Plan(strips=replace(how, store="host"))
        for how in strips:
            if limits.scratch is not None:
                yield Plan(strips=replace(how, store=limits.scratch))

    def too_large(self) -> str:
        """The sentence for pictures that no plan was small enough for."""
        if self._is_whole:
            return self._too_large_for_one_pass()
        room = self._room_on(self.device, self.settings.limits.free_bytes)
        maps, least = self._stored_bytes, _LEAST_STRIP_BYTES
        what = (
            f"A picture of {self.width}×{self.height} needs {_figure(maps + least)} of memory "
            "beside itself"
        )
        advice = "make it smaller, or close other programs"
        if room < maps + least:
            what += f" and its result, and {_figure(room)} can be used"
            fitting = self._scaled((room - least) / max(1, maps), 4)
            advice = f"about {fitting} would fit" if fitting else advice
        else:
            what += " and its result, and that could not be had"
        if self.config.generator == "resnet" and maps and self.settings.limits.scratch is None:
            advice += "; the command's --scratch allows any size"
        return f"{what}; {advice}."

    def wanted_bytes(self) -> int:
        """What has to be free on the device so that the first of the plans is the same again."""
        plan = next(self.plans(), None)
        if plan is None:
            return _LEAST_STRIP_BYTES  # whatever is freed, it is not enough
        if plan.strips is None:
            needed = plan.chunk * self._whole_bytes
        else:
            on_device = plan.strips.store == "device"
            needed = plan.strips.strip_bytes + (self._stored_bytes if on_device else 0)
        return math.ceil(needed / _safe_share(self.device))

    @property
    def _is_whole(self) -> bool:
        """Whether one pass is all there is, as for a U-Net: its bottleneck sees the picture."""
        memory = self.settings.memory
        return memory == "whole" or (memory == "auto" and self.config.generator == "unet")

    @property
    def _precision(self) -> torch.dtype:
        """The dtype of the feature maps."""
        return self.settings.half or self.dtype

    @property
    def _whole_bytes(self) -> int:
        """Bytes of one picture's whole pass."""
        return whole_pass_bytes(self.config, self.height, self.width, self._precision)

    @property
    def _stored_bytes(self) -> int:
        """Bytes of feature maps that strips leave behind; a thumbnail's leave none."""
        if self.settings.memory == "thumbnail":
            return 0
        return stored_bytes(self.config, self.height, self.width, self._precision)

    def _room_on(self, device: torch.device, free: int | None) -> float:
        """Bytes that may be used on a device; infinite where there is no way to tell."""
        known = free_bytes(device) if free is None else free
        if known is None:
            return math.inf
        if free is None and device.type == "cpu":
            known = max(0, known - self.pending_bytes)
        return _safe_share(device) * known

    def _too_large_for_one_pass(self) -> str:
        """The sentence for one pass that was tried and ran out of memory."""
        needed = self._whole_bytes
        # What is free by now counts as well: the limits were wrong, or are those of another time.
        rooms = (
            self._room_on(self.device, free) for free in (self.settings.limits.free_bytes, None)
        )
        room = min(rooms)
        is_known = room < needed
        share = room / needed if is_known else 0.5  # it ran out all the same, so: half of it
        fitting = self._scaled(share, self.config.size_multiple)
        size = f"about {fitting} {'would' if is_known else 'may'} fit"
        other = "choose memory 'auto' or 'streamed', which take it in strips"
        if self.config.generator == "unet":
            other = "choose a model with a resnet generator, which can take it in strips"
        return (
            f"A picture of {self.width}×{self.height} needs {_figure(needed)} of memory in one "
            "pass beside itself and its result, and "
            f"{f'{_figure(room)} can be used' if is_known else 'that could not be had'}; "
            f"{size if fitting else 'make it smaller'}, or {other}."
        )

    def _scaled(self, share: float, multiple: int) -> str:
        """The size with this share of the pixels, in whole multiples; empty if that is none."""
        scale = max(0.0, share) ** 0.5
        columns, rows = (
            int(scale * side) // multiple * multiple for side in (self.width, self.height)
        )
        return f"{columns}×{rows}" if scale < 1 and min(rows, columns) > 0 else ""


def whole_pass_bytes(
    config: ModelConfig, height: int, width: int, dtype: torch.dtype | None = None
) -> int:
    """Peak bytes of one picture's whole pass, beyond the weights, the picture and its result.

    Measured on the CPU for 16 to 64 base channels, as bytes per pixel: three and a half feature
    maps of full size in float32; in half precision the norms' float32 copies take most of it.
    That is where norms make new maps; a CPU, whose norms work in place, takes about half. Blurring
    before every second pixel is taken needs three maps of twice the channels (counted).
    """
    is_blurred = config.downsample == "blur"
    if config.generator == "unet":
        per_pixel = 7 * config.base_channels + 24
    elif dtype in HALVES:
        per_pixel = (20 if is_blurred else 8) * config.base_channels + 170
    else:
        per_pixel = (24 if is_blurred else 14) * config.base_channels + 24
    rows, columns = config.padded_size(height, width)
    return rows * columns * per_pixel * (2 if dtype == torch.float64 else 1)


def wanted_bytes(
    config: ModelConfig, settings: TranslateSettings, size: torch.Size, device: torch.device
) -> int:
    """What a host should try to free on a device for a batch of pictures, beyond the weights.

    Args:
        config: the network's, whose weights are float32.
        settings: those of the translation, whose `limits.free_bytes` is what the host could have
            free on the device at most.
        size: of the pictures, (B,H,W).
        device: where they are translated.

    Raises:
        CycleGANError: strips were asked for, and a U-Net can't go in strips.
    """
    pictures, height, width = size
    work = Workload(
        config=config,
        settings=settings,
        device=device,
        height=height,
        width=width,
        pictures=pictures,
    )
    return work.wanted_bytes()


def _safe_share(device: torch.device) -> float:
    return _SAFE_SHARE.get(device.type, 0.8)


def _figure(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
