"""Captions over columns of pictures, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..config import Direction, ModelConfig

_INK = "#333333"
_MARGIN = 4
"""Pixels above, below and beside a caption."""


def caption_height(column_width: int) -> int:
    """Pixels that the captions add above columns of this width."""
    return _font_size(column_width) + 2 * _MARGIN


def with_captions(grid: Tensor, captions: Sequence[str], widths: Sequence[int]) -> Tensor:
    """The grid (3,H,W) in [0,1] with a white line of captions above it.

    Args:
        grid: pictures side by side, a row below the other.
        captions: one for each column; what doesn't fit above its column is cut and ends in "…".
        widths: of the columns, in pixels.
    """
    narrowest = min(widths)
    line = Image.new("RGB", (grid.shape[2], caption_height(narrowest)), "white")
    draw = ImageDraw.Draw(line)
    font = ImageFont.load_default(_font_size(narrowest))
    left = 0
    for caption, width in zip(captions, widths, strict=True):
        text, room = caption, width - 2 * _MARGIN
        while len(text) > 1 and draw.textlength(text, font) > room:
            text = f"{text.removesuffix('…')[:-1]}…"
        draw.text((left + width / 2, line.height / 2), text, _INK, font, anchor="mm")
        left += width
    pixels = torch.from_numpy(np.array(line)).movedim(-1, 0).to(grid.dtype) / 255
    return torch.cat([pixels, grid], dim=1)


def drawable_domains(config: ModelConfig, direction: Direction) -> tuple[str, str]:
    """The names of what is taken and of what is made, or A and B for those that can't be drawn."""
    a, b = map(_drawable, config.domains(direction), direction.upper().split("_TO_"))
    return a, b


def _drawable(name: str, otherwise: str) -> str:
    """The name, or `otherwise` if Pillow's own font lacks one of its letters."""
    try:
        name.encode("latin-1")
    except UnicodeEncodeError:
        return otherwise
    return name


def _font_size(column_width: int) -> int:
    return min(28, max(8, column_width // 8))
