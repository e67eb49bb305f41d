"""Pictures as strips of rows: what streaming reads from and writes to."""

from __future__ import annotations

from typing import Protocol

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
