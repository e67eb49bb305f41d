"""Picture files as rows: Pillow holds the samples as bytes, and only strips become floats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .files import decode_deep, is_deep, opened, peculiarities, write_image
from .rows import RowSource, TensorRows

MAX_PIXELS = 2**31
"""Most pixels of a file that the user named: 46340×46340, 8.6 GB in Pillow's hands."""


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


@dataclass(frozen=True, slots=True)
class OpenPicture:
    """A picture file whose samples have not become floats."""

    rows: RowSource
    """Colours or grey, upright."""
    alpha: Image.Image | None
    """Mode L; None for a picture without transparency."""
    icc_profile: bytes | None
    """Colour profile, to be written with a result of the same channel count."""
    notes: tuple[str, ...]
    """What was unusual about the file, for people: "grey", "16-bit", "first of 5 frames", …"""

    def new_result(self, channels: int) -> ImageRows:
        """Black rows of the same size for a result to be written to."""
        _, height, width = self.rows.size
        return ImageRows(Image.new("L" if channels == 1 else "RGB", (width, height)))

    def pixels(self) -> Tensor:
        """All of it: (C,H,W) float32 in [0,1]."""
        return self.rows.read(0, self.rows.size[1])

    def write(self, path: Path, result: ImageRows) -> None:
        """Write a result with this picture's alpha, and its profile if that fits; atomic.

        Raises:
            PictureError: the folder or the file can't be written.
        """
        profile = self.icc_profile if result.size[0] == self.rows.size[0] else None
        write_image(path, result.image, alpha=self.alpha, icc_profile=profile)


def open_picture(path: Path, *, max_pixels: int | None = None) -> OpenPicture:
    """Decode a picture file into bytes.

    Honours the EXIF orientation; keeps alpha apart; scales 16-bit and float samples to [0,1];
    takes the first frame of an animation or multi-page file and says so.

    Args:
        path: the file.
        max_pixels: stands in for Pillow's limit of 179 million pixels.

    Raises:
        PictureError: missing, not a picture, damaged, or too large.
    """
    with opened(path, max_pixels=max_pixels) as file:
        notes = peculiarities(file)
        # A profile of a CMYK or Lab file doesn't fit the RGB pixels made from it.
        profile = file.info.get("icc_profile") if file.mode not in ("CMYK", "LAB") else None
        ImageOps.exif_transpose(file, in_place=True)
        if is_deep(file):
            samples, depth = decode_deep(file)
            return OpenPicture(TensorRows(samples), None, profile, (*notes, "grey", depth))
        has_alpha = file.has_transparency_data
        is_grey = file.mode in ("1", "L", "LA", "La")
        mode = ("LA" if has_alpha else "L") if is_grey else ("RGBA" if has_alpha else "RGB")
        file.load()
        image = file if file.mode == mode else file.convert(mode)
    notes += ["grey"] if is_grey else []
    alpha = image.getchannel("A") if has_alpha else None
    return OpenPicture(ImageRows(image), alpha, profile, tuple(notes))


def to_image(pixels: Tensor) -> Image.Image:
    """(C,H,W) in [0,1] with C = 1, 2 (grey + alpha), 3 or 4 -> an 8-bit PIL image."""
    samples = pixels.detach().float().clamp(0, 1).mul_(255).round_().byte()
    array = samples.movedim(0, -1).cpu().numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def bytes_of(image: Image.Image) -> Tensor:
    """An 8-bit PIL image -> (C,H,W) uint8."""
    array = np.array(image)
    return torch.from_numpy(array if array.ndim == 3 else array[..., None]).movedim(-1, 0)
