"""Pictures as strips of rows: what streaming reads from and writes to."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..device.precision import at_least_float32


class RowSource(Protocol):
    """A picture that gives strips of itself, in any order and as often as asked for."""

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        ...

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows `top` to `bottom` (exclusive): (C,bottom-top,W) in [0,1], float32 or wider.

        It may be a view, which the reader doesn't change, on any device.
        """
        ...


class RowSink(Protocol):
    """A picture that is written strip by strip."""

    def write(self, top: int, rows: Tensor) -> None:
        """Put `rows` (C,h,W) in [0,1], float32 or wider, at the rows from `top` on.

        The strips come from the top down, each row once.
        """
        ...


class TensorRows:
    """The rows of a (C,H,W) float tensor in [0,1]: any strides, precision and device."""

    def __init__(self, pixels: Tensor) -> None:
        """A view of `pixels`: what is written appears in them.

        Raises:
            ValueError: they are not a picture with at least one pixel.
        """
        if pixels.ndim != 3 or not pixels.is_floating_point() or 0 in pixels.shape:
            raise ValueError(
                "pixels must be a float tensor (C,H,W) with at least one pixel; got "
                f"{tuple(pixels.shape)} of {pixels.dtype}."
            )
        self.pixels = pixels.detach()

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.pixels.shape
        return channels, height, width

    def read(self, top: int, bottom: int) -> Tensor:
        """(C,bottom-top,W), float32 or wider; a view where nothing has to be widened."""
        return at_least_float32(self.pixels[:, top:bottom])

    def write(self, top: int, rows: Tensor) -> None:
        """Convert `rows` (C,h,W) to the pixels' precision and device."""
        self.pixels[:, top : top + rows.shape[1]] = rows


class ImageRows:
    """The rows of a Pillow image of mode L or RGB, or of the colours of LA or RGBA."""

    def __init__(self, image: Image.Image) -> None:
        """What is written appears in `image`."""
        self.image = image
        self._channels = 1 if image.mode in ("L", "LA") else 3

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels (without alpha), height and width."""
        return self._channels, self.image.height, self.image.width

    def read(self, top: int, bottom: int) -> Tensor:
        """(C,bottom-top,W) float32 in [0,1]."""
        is_whole = (top, bottom) == (0, self.image.height)
        # Cropping, too, has Pillow's limit; strips stay far below it.
        box = (0, top, self.image.width, bottom)
        samples = bytes_of(self.image if is_whole else self.image.crop(box))
        return samples[: self._channels].to(torch.float32).div_(255)

    def write(self, top: int, rows: Tensor) -> None:
        """Round `rows` (C,h,W) in [0,1] to bytes."""
        self.image.paste(to_image(rows), (0, top))


class BlendedRows:
    """A sink that blends what it is given over another picture, and passes it on."""

    def __init__(self, original: RowSource, sink: RowSink, strength: float) -> None:
        """See `write`.

        Args:
            original: of as many rows and columns as what is written; one of both may be grey.
            sink: takes the blend, which has the colours of either.
            strength: from 0, the original, to 1, what is written.
        """
        self._original, self._sink, self._strength = original, sink, strength

    def write(self, top: int, rows: Tensor) -> None:
        """Blend `rows` (C,h,W) in [0,1] over the same rows of the original."""
        original = self._original.read(top, top + rows.shape[1]).to(rows)
        self._sink.write(top, torch.lerp(original, rows, self._strength))


def to_image(pixels: Tensor) -> Image.Image:
    """(C,H,W) in [0,1] with C = 1, 2 (grey + alpha), 3 or 4 -> an 8-bit PIL image."""
    samples = pixels.detach().float().clamp(0, 1).mul_(255).round_().byte()
    array = samples.movedim(0, -1).cpu().numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def bytes_of(image: Image.Image) -> Tensor:
    """An 8-bit PIL image -> (C,H,W) uint8."""
    array = np.array(image)
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).movedim(-1, 0)
