"""A contact sheet: test pictures beside what became of them, a row each, for the eye."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from ..pictures.files import write_image
from ..pictures.rows import to_image

_CELL = 256
"""Pixels each way that a picture is fitted into; smaller ones are enlarged."""
_GAP = 4
_TITLE = 16


class Sheet:
    """Collects rows of pictures and writes them as one."""

    num_rows = 8
    """Rows for each direction."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[tuple[tuple[str, ...], list[Image.Image]]]] = {}

    def add(self, direction: str, cells: Mapping[str, Tensor]) -> None:
        """Add a row of pictures (3,H,W) in [0,1], each with the title of its column."""
        images: list[Image.Image] = []
        for pixels in cells.values():
            fitted = ImageOps.contain(
                to_image(pixels), (_CELL, _CELL), method=Image.Resampling.BICUBIC
            )
            images.append(fitted)
        self._blocks.setdefault(direction, []).append((tuple(cells), images))

    def write(self, path: Path) -> None:
        """Write the sheet, in the format of the file's ending; atomic.

        Raises:
            PictureError: it can't be written.
        """
        columns = max(len(titles) for rows in self._blocks.values() for titles, _ in rows)
        num_rows = sum(len(rows) for rows in self._blocks.values())
        width = columns * (_CELL + _GAP) - _GAP
        height = num_rows * (_CELL + _GAP) + len(self._blocks) * _TITLE
        sheet = Image.new("RGB", (width, height), "white")
        pen = ImageDraw.Draw(sheet)
        top = 0
        for rows in self._blocks.values():
            for column, title in enumerate(rows[0][0]):
                pen.text((column * (_CELL + _GAP) + 2, top + 2), title, fill="black")
            top += _TITLE
            for _, images in rows:
                for column, image in enumerate(images):
                    sheet.paste(image.convert("RGB"), (column * (_CELL + _GAP), top))
                top += _CELL + _GAP
        write_image(path, sheet)
