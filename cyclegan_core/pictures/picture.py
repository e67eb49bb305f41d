"""Picture files in and out: any mode, orientation and depth to (C,H,W) in [0,1], and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from .files import decode_deep, is_deep, opened, write_image
from .picture_rows import bytes_of, open_picture, to_image


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture."""

    pixels: Tensor
    """(3,H,W), or (1,H,W) for a grey picture, float32 in [0,1], upright."""
    alpha: Tensor | None = None
    """(1,H,W) float32 in [0,1], 1 = opaque; None for a picture without transparency."""
    icc_profile: bytes | None = None
    """Colour profile, to be written with a result of the same channel count."""
    notes: tuple[str, ...] = field(default=())
    """What was unusual about the file, for people: "grey", "16-bit", "first of 5 frames", …"""


def read_picture(path: str | Path) -> Picture:
    """Decode one picture file.

    Honours the EXIF orientation; keeps alpha apart; scales 16-bit and float samples to [0,1];
    takes the first frame of an animation or multi-page file and says so.

    Raises:
        PictureError: missing, not a picture, damaged, or far too large.
    """
    picture = open_picture(Path(path))
    alpha = bytes_of(picture.alpha).float().div(255) if picture.alpha else None
    return Picture(picture.pixels(), alpha, picture.icc_profile, picture.notes)


def read_flat(
    path: str | Path, *, channels: int = 3, background: tuple[int, int, int] = (255, 255, 255)
) -> Image.Image:
    """Decode one picture file to 8 bits per sample without alpha, upright.

    The mode is "RGB" for 3 channels and "L" for 1; transparent parts show `background`.

    Raises:
        PictureError: missing, not a picture, damaged, or far too large.
    """
    with opened(Path(path)) as image:
        upright = ImageOps.exif_transpose(image)
        if is_deep(upright):
            upright = to_image(decode_deep(upright)[0])
        elif upright.has_transparency_data:
            grey_too = upright.convert("LA") if upright.mode == "La" else upright
            layer = grey_too.convert("RGBA")
            sheet = Image.new("RGBA", layer.size, (*background, 255))
            upright = Image.alpha_composite(sheet, layer)
        return upright.convert("L" if channels == 1 else "RGB")


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of the upright picture, from the file's header; nothing is decoded.

    Raises:
        PictureError: missing, not a picture, or far too large.
    """
    with opened(Path(path)) as image:
        # The PNG reader's own getexif would decode the pixels to look behind them.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        if orientation in (5, 6, 7, 8) and image.format != "TIFF":  # whose size is upright already
            return image.height, image.width
        return image.size


def write_picture(
    path: str | Path,
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    icc_profile: bytes | None = None,
) -> None:
    """Write (C,H,W) in [0,1], C = 1 or 3, as 8 bits per sample, rounded; atomic.

    The format follows the file's ending; `alpha` (1,H,W) is kept where the format has it.

    Raises:
        PictureError: the folder or the file can't be written.
    """
    layer = None if alpha is None else to_image(alpha)
    write_image(Path(path), to_image(pixels), alpha=layer, icc_profile=icc_profile)
