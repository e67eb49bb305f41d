"""A contact sheet: test pictures beside what became of them, a row each, for the eye."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw
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
        """Nothing yet.

        Args:
            cell: pixels that a picture is wide, made smaller or larger. Its height follows; one
                more than twice as high is narrower.
        """
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
            # As `ImageOps.contain`, which leaves nothing of a line of pixels.
            scale = min(self.cell / image.width, 2 * self.cell / image.height)
            size = [max(1, round(side * scale)) for side in image.size]
            images.append(image.resize((size[0], size[1]), Image.Resampling.BICUBIC))
        self._blocks.setdefault(direction, []).append((tuple(cells), images))

    def write(self, path: Path) -> None:
        """Write the sheet, in the format of the file's ending; atomic.

        Raises:
            PictureError: it can't be written.
        """
        all_rows = [images for rows in self._blocks.values() for _, images in rows]
        # Each row is as high as its highest picture, so that nothing but that stays white.
        heights = [max(image.height for image in images) + _GAP for images in all_rows]
        columns = max(map(len, all_rows))
        width = max(image.width for images in all_rows for image in images) + _GAP
        height = sum(heights) + len(self._blocks) * _TITLE - _GAP
        sheet = Image.new("RGB", (columns * width - _GAP, height), "white")
        pen = ImageDraw.Draw(sheet)
        top, below = 0, iter(heights)
        for rows in self._blocks.values():
            for column, title in enumerate(rows[0][0]):
                pen.text((column * width + 2, top + 2), title, fill="black")
            top += _TITLE
            for _, images in rows:
                for column, image in enumerate(images):
                    sheet.paste(image.convert("RGB"), (column * width, top))
                top += next(below)
        write_image(path, sheet)
