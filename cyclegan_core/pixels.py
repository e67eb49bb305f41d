"""A network's border: channels, range and padding, of whole pictures and of strips.

Pictures are [0,1]; a network takes its config's `value_range` and gives [-1,1]. Colours are in
the order red, green, blue everywhere: `checkpoint` turns networks for blue-green-red ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

from .config import ModelConfig
from .device.precision import at_least_float32
from .errors import CycleGANError, NonFiniteError
from .pictures.rows import RowSink, RowSource

LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights, the ones Pillow uses for its mode "L"."""


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Grey (B,1,H,W) and RGB (B,3,H,W) into each other; anything else must fit already.

    Raises:
        CycleGANError: they are grey or RGB, and the model takes neither.
        ValueError: they are neither, and not what the model takes.
    """
    match images.shape[1], channels:
        case given, wanted if given == wanted:
            return images
        case 3, 1:
            return (images * images.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        case 1, 3:
            return images.expand(-1, 3, -1, -1)
        case ((1 | 3), wanted):
            raise CycleGANError(
                f"The model takes pictures of {wanted} channels, not grey or RGB ones; "
                "choose another model."
            )
        case given, wanted:
            raise ValueError(f"this model takes {wanted}-channel pictures; got {given} channels.")


def pad(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Grow (B,C,H,W) at the right and the bottom to a height and width; the caller crops again.

    Mirrors as long as there is something to mirror, then repeats the edge (a 1-pixel picture
    has nothing to mirror).
    """
    height, width = images.shape[-2:]
    down, right = size[0] - height, size[1] - width
    if down == 0 and right == 0:
        return images
    mirrored = (0, min(right, width - 1), 0, min(down, height - 1))
    images = F.pad(images, mirrored, mode="reflect")
    return F.pad(images, (0, right - mirrored[1], 0, down - mirrored[3]), mode="replicate")


def to_value_range(pixels: Tensor, config: ModelConfig, *, out: Tensor | None = None) -> Tensor:
    """[0,1] -> the config's `value_range`, in new memory or in `out`."""
    low, high = config.value_range
    return torch.mul(pixels, high - low, out=out).add_(low)


def to_unit_range(output: Tensor) -> Tensor:
    """A network's [-1,1] -> [0,1], float32 at least; what is not finite stays so."""
    return at_least_float32(output).add(1).div_(2).clamp_(0, 1)


def non_finite_error(precision: torch.dtype, *, is_picture: bool) -> CycleGANError:
    """The error for a result that is not finite: it names the picture, or else the weights."""
    if is_picture:
        return CycleGANError(
            "The picture holds NaN or infinite values, so it can't be translated; "
            "check where it came from."
        )
    return NonFiniteError(
        "The translation is not finite because the weights hold NaN or infinite values, "
        f"or overflow {str(precision).removeprefix('torch.')}; check where the model came from."
    )


class NetworkInput:
    """The rows of a picture as a network takes them, padded as `pad` does it."""

    def __init__(
        self, source: RowSource, config: ModelConfig, *, channels: int, like: Tensor
    ) -> None:
        """`channels` is the network's; rows get the dtype and device of `like`."""
        self._source, self._config, self._channels, self._like = source, config, channels, like
        _, height, width = source.size
        self.source_height = height
        self.height, self.width = config.padded_size(height, width)
        self._below = _appended(height, self.height)
        right = _appended(width, self.width)
        self._right = torch.tensor(right, device=like.device, dtype=torch.long)

    def read(self, top: int, bottom: int) -> Tensor:
        """(1,C,bottom-top,width) in the config's `value_range`."""
        height = self.source_height
        parts = [self._converted(top, min(bottom, height))] if top < height else []
        below = self._below[max(0, top - height) : max(0, bottom - height)]
        parts += [self._converted(row, row + 1) for row in below]
        rows = torch.cat(parts, 2) if len(parts) > 1 else parts[0]
        return torch.cat([rows, rows[..., self._right]], 3) if len(self._right) else rows

    def _converted(self, top: int, bottom: int) -> Tensor:
        rows = self._source.read(top, bottom)[None].to(self._like.device)
        wide = rows.to(torch.promote_types(self._like.dtype, torch.float32))
        pixels = to_channels(wide, self._channels)
        return to_value_range(pixels, self._config).to(self._like.dtype)

    def non_finite_error(self, strip: int) -> CycleGANError:
        """The error for a result that is not finite; reads the picture again to know why."""
        strips = (
            self._source.read(top, min(top + strip, self.source_height))
            for top in range(0, self.source_height, strip)
        )
        is_picture = not all(torch.isfinite(rows).all() for rows in strips)
        return non_finite_error(self._like.dtype, is_picture=is_picture)


class NetworkOutput:
    """Crops a network's rows to the picture, brings them to [0,1] and hands them on."""

    def __init__(self, sink: RowSink, height: int, width: int) -> None:
        self._sink, self._height, self._width = sink, height, width

    def write(self, top: int, rows: Tensor) -> bool:
        """Take (1,C,h,W) in [-1,1]; False, and nothing is written, if it is not finite."""
        rows = rows[0, :, : max(0, self._height - top), : self._width]
        if rows.shape[1] == 0:
            return True
        result = to_unit_range(rows)
        if not torch.isfinite(result).all():
            return False
        self._sink.write(top, result)
        return True


def _appended(size: int, padded: int) -> list[int]:
    """Which rows (or columns) `pad` appends: mirrored ones, then the last of these."""
    missing = padded - size
    mirrored = [size - 2 - i for i in range(min(missing, size - 1))]
    return mirrored + [mirrored[-1] if mirrored else 0] * (missing - len(mirrored))
