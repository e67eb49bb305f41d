"""A contact sheet: test pictures beside what became of them, a row each, for the eye."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

from ..pictures.files import write_image
from ..pictures.rows import to_image

_GAP = 4
_TITLE = 16


class Sheet:
    """Collects rows of pictures and writes them as one."""

    num_rows = 8
    """Rows for each direction."""

    def __init__(self, cell: int = 256) -> None:
        """Nothing yet; a picture is fitted into `cell` pixels each way, a smaller one enlarged."""
        self.cell = cell
        self._blocks: dict[str, list[tuple[tuple[str, ...], list[Image.Image]]]] = {}

    @property
    def height(self) -> int:
        """How many rows there are."""
        return sum(map(len, self._blocks.values()))

    def add(self, direction: str, cells: Mapping[str, Tensor | Image.Image]) -> None:
        """Add a row of pictures, each with its column's title; tensors are (3,H,W) in [0,1]."""
        images: list[Image.Image] = []
        for picture in cells.values():
            image = picture if isinstance(picture, Image.Image) else to_image(picture)
            size = (self.cell, self.cell)
            images.append(ImageOps.contain(image, size, method=Image.Resampling.BICUBIC))
        self._blocks.setdefault(direction, []).append((tuple(cells), images))

    def write(self, path: Path) -> None:
        """Write the sheet, in the format of the file's ending; atomic.

        Raises:
            PictureError: it can't be written.
        """
        cell = self.cell
        columns = max(len(titles) for rows in self._blocks.values() for titles, _ in rows)
        width = columns * (cell + _GAP) - _GAP
        height = self.height * (cell + _GAP) + len(self._blocks) * _TITLE
        sheet = Image.new("RGB", (width, height), "white")
        pen = ImageDraw.Draw(sheet)
        top = 0
        for rows in self._blocks.values():
            for column, title in enumerate(rows[0][0]):
                pen.text((column * (cell + _GAP) + 2, top + 2), title, fill="black")
            top += _TITLE
            for _, images in rows:
                for column, image in enumerate(images):
                    sheet.paste(image.convert("RGB"), (column * (cell + _GAP), top))
                top += cell + _GAP
        write_image(path, sheet)
