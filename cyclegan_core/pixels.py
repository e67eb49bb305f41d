"""Between a picture's rows and a network: channels, range and padding, strip by strip."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import ModelConfig
from .device.precision import at_least_float32
from .errors import CycleGANError, NonFiniteError
from .fitting import to_channels
from .pictures.rows import RowSink, RowSource


def non_finite_error(precision: torch.dtype, *, is_picture: bool) -> CycleGANError:
    """Whose fault a result is that is not finite: the picture's, or that of the weights."""
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
    """The rows of a picture as a network takes them, padded as `fitting.pad` does it."""

    def __init__(
        self, source: RowSource, config: ModelConfig, *, channels: int, like: Tensor
    ) -> None:
        """`channels` is the network's; rows get the dtype and device of `like`."""
        self._source, self._config, self._channels, self._like = source, config, channels, like
        _, height, width = source.size
        self._below = _added(height, config)
        self._right = torch.tensor(_added(width, config), device=like.device, dtype=torch.long)
        self.source_height = height
        self.source_width = width
        self.height = height + len(self._below)
        self.width = width + len(self._right)

    def read(self, top: int, bottom: int) -> Tensor:
        """(1,C,bottom-top,width) in the config's `value_range`."""
        height = self.source_height
        parts = [self._converted(top, min(bottom, height))] if top < height else []
        below = self._below[max(0, top - height) : max(0, bottom - height)]
        parts += [self._converted(row, row + 1) for row in below]
        rows = torch.cat(parts, 2) if len(parts) > 1 else parts[0]
        return torch.cat([rows, rows[..., self._right]], 3) if len(self._right) else rows

    def _converted(self, top: int, bottom: int) -> Tensor:
        low, high = self._config.value_range
        rows = self._source.read(top, bottom)[None].to(self._like.device)
        wide = torch.promote_types(self._like.dtype, torch.float32)
        return (
            to_channels(rows.to(wide), self._channels)
            .mul(high - low)
            .add_(low)
            .to(self._like.dtype)
        )

    def non_finite_error(self, strip: int) -> CycleGANError:
        """Whose fault a result is that is not finite; reads the picture again."""
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
        result = at_least_float32(rows).add(1).div_(2).clamp_(0, 1)
        if not torch.isfinite(result).all():
            return False
        self._sink.write(top, result)
        return True


def _added(size: int, config: ModelConfig) -> list[int]:
    """Which rows (or columns) `fitting.pad` appends: mirrored ones, then the last of these."""
    multiple = config.size_multiple
    missing = max(-(-size // multiple) * multiple, config.min_size) - size
    mirrored = [size - 2 - i for i in range(min(missing, size - 1))]
    return mirrored + [mirrored[-1] if mirrored else 0] * (missing - len(mirrored))
