"""Picture files in and out: any mode, orientation and depth to (C,H,W) in [0,1], and back.

Between, Pillow holds the samples as bytes; only the strips that are read become floats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from ..device.precision import is_finite
from ..progress import ignore
from .colours import Colours, colours, to_srgb
from .files import opened, peculiarities, write_image
from .rows import BlendedRows, ImageRows, RowSink, RowSource, TensorRows, bytes_of, to_image


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

    def new_blend(self, channels: int, strength: float) -> tuple[ImageRows, RowSink]:
        """Rows for a result of so many channels, and where to write it so that it is blended over.

        A `strength` of 1 is the result alone, 0 the picture; grey over colours is coloured.
        """
        if strength == 1:
            result = self.new_result(channels)
            return result, result
        result = self.new_result(max(channels, self.rows.size[0]))
        return result, BlendedRows(self.rows, result, strength)

    def pixels(self) -> Tensor:
        """Read the whole picture: (C,H,W) float32 in [0,1]."""
        return self.rows.read(0, self.rows.size[1])

    def image(self) -> Image.Image:
        """The picture as Pillow's, of mode L or RGB, perhaps with alpha; not a copy."""
        return self.rows.image if isinstance(self.rows, ImageRows) else to_image(self.pixels())

    def write(self, path: Path, result: ImageRows) -> None:
        """Write a result with this picture's alpha, and its profile if that fits; atomic.

        Raises:
            PictureError: the folder or the file can't be written.
        """
        profile = self.icc_profile if result.size[0] == self.rows.size[0] else None
        write_image(path, result.image, alpha=self.alpha, icc_profile=profile)


def open_picture(
    path: Path | str, *, max_pixels: int | None = None, content: BinaryIO | None = None
) -> OpenPicture:
    """Decode a picture file into bytes.

    Honours the EXIF orientation and colour profiles (RGB becomes sRGB); keeps alpha apart; scales
    16-bit and float samples to [0,1];
    takes the first frame of an animation or multi-page file and says so.

    Args:
        path: the file.
        max_pixels: stands in for Pillow's limit of 179 million pixels.
        content: read instead of the file, whose name is then only what errors call it.

    Raises:
        PictureError: missing, not a picture, damaged, or too large.
    """
    with opened(path, max_pixels=max_pixels, content=content) as file:
        notes = peculiarities(file)
        profile: bytes | None = file.info.get("icc_profile")
        ImageOps.exif_transpose(file, in_place=True)
        if _is_deep(file):
            samples, depth, black = _decode_deep(file)
            deep = f"{depth}, {black}" if black else depth
            return OpenPicture(TensorRows(samples), None, profile, (*notes, "grey", deep))
        has_alpha = file.has_transparency_data
        is_grey = file.mode in ("1", "L", "LA", "La")
        mode = ("LA" if has_alpha else "L") if is_grey else ("RGBA" if has_alpha else "RGB")
        file.load()
        image, found = _converted(file, mode)
        if found.transform or file.mode in ("CMYK", "LAB"):  # it doesn't fit the RGB made from it
            profile = None
    notes += ["grey"] if is_grey else []
    notes += [found.note] if found.note else []
    alpha = image.getchannel("A") if has_alpha else None
    return OpenPicture(ImageRows(image), alpha, profile, tuple(notes))


def read_picture(path: str | Path) -> Picture:
    """Decode one picture file.

    Honours the EXIF orientation and colour profiles (RGB becomes sRGB); keeps alpha apart; scales
    16-bit and float samples to [0,1];
    takes the first frame of an animation or multi-page file and says so.

    Raises:
        PictureError: missing, not a picture, damaged, or far too large.
    """
    picture = open_picture(Path(path))
    alpha = bytes_of(picture.alpha).float().div(255) if picture.alpha else None
    return Picture(picture.pixels(), alpha, picture.icc_profile, picture.notes)


def read_flat(
    path: str | Path,
    *,
    channels: int = 3,
    background: tuple[int, int, int] = (255, 255, 255),
    on_loss: Callable[[str], object] = ignore,
) -> Image.Image:
    """Decode one picture file to 8 bits per sample without alpha, upright, in sRGB.

    The mode is "RGB" for 3 channels and "L" for 1; transparent parts show `background`. `on_loss`
    is told of samples that can't be shown.

    Raises:
        PictureError: missing, not a picture, damaged, or far too large.
    """
    with opened(Path(path)) as image:
        upright = ImageOps.exif_transpose(image)
        if _is_deep(upright):
            samples, _, black = _decode_deep(upright)
            upright = to_image(samples)
            if black:
                on_loss(black)
        elif upright.has_transparency_data:
            grey_too = upright.convert("LA") if upright.mode == "La" else upright
            layer, _ = _converted(grey_too, "RGBA")
            sheet = Image.new("RGBA", layer.size, (*background, 255))
            upright = Image.alpha_composite(sheet, layer)
        elif upright.mode not in ("1", "L"):
            upright, _ = _converted(upright, "RGB")
        return upright.convert("L" if channels == 1 else "RGB")


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What a file says of its picture before it is decoded."""

    size: tuple[int, int]
    """Width and height of the upright picture."""
    is_grey: bool
    colours: str
    """What is done about its colour profile, such as "Display P3 converted to sRGB"; or empty."""


def read_size(path: str | Path) -> tuple[int, int]:
    """Width and height of the upright picture, from the file's header; nothing is decoded.

    Raises:
        PictureError: missing, not a picture, or far too large.
    """
    return read_header(path).size


def read_header(path: str | Path) -> PictureHeader:
    """What `read_size` reads, and what a training's report tells of colours.

    Raises:
        PictureError: missing, not a picture, or far too large.
    """
    with opened(Path(path)) as image:
        is_grey = image.mode in ("1", "L", "LA", "La") or _is_deep(image)
        # The PNG reader's own getexif would decode the pixels to look behind them.
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        is_turned = orientation in (5, 6, 7, 8) and image.format != "TIFF"  # whose size is upright
        size = (image.height, image.width) if is_turned else image.size
        mode = "CMYK" if image.mode == "CMYK" else "RGB"
        note = "" if is_grey else colours(image.info.get("icc_profile"), mode).note
        return PictureHeader(size, is_grey, note)


def write_picture(
    path: str | Path,
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    icc_profile: bytes | None = None,
) -> None:
    """Write one picture as 8 bits per sample, rounded; atomic.

    Args:
        path: its ending says the format.
        pixels: (C,H,W) float in [0,1], to which it is clamped; C = 1 or 3. Or a batch (1,C,H,W)
            of that one picture.
        alpha: (1,H,W) or (1,1,H,W) float in [0,1]; kept where the format has it.
        icc_profile: the picture's colour profile.

    Raises:
        ValueError: `pixels` or `alpha` are no such picture.
        PictureError: the folder or the file can't be written.
    """
    image = _written_image("pixels", pixels, (1, 3))
    layer = None if alpha is None else _written_image("alpha", alpha, (1,))
    if layer is not None and layer.size != image.size:
        raise ValueError(
            f"alpha must have the size of pixels, {image.width}×{image.height}; got "
            f"{layer.width}×{layer.height}."
        )
    write_image(Path(path), image, alpha=layer, icc_profile=icc_profile)


def _written_image(name: str, pixels: Tensor, channels: tuple[int, ...]) -> Image.Image:
    """What a caller gives to be written, as a PIL image."""
    counts = " or ".join(map(str, channels))
    given = cast(object, pixels)  # whatever a caller has
    if not isinstance(given, Tensor) or not given.is_floating_point():
        kind = given.dtype if isinstance(given, Tensor) else type(given).__name__
        raise ValueError(f"{name} must be a float tensor (C,H,W) in [0,1]; got {kind}.")
    if pixels.ndim == 4 and len(pixels) > 1:
        raise ValueError(
            f"a file holds one picture, and {name} are a batch of {len(pixels)}; write each alone: "
            f"{name}[0], {name}[1] and so on."
        )
    picture = pixels[0] if pixels.ndim == 4 and len(pixels) else pixels
    if picture.ndim != 3 or picture.shape[0] not in channels or 0 in picture.shape:
        raise ValueError(f"{name} must be (C,H,W) with C = {counts}; got {tuple(pixels.shape)}.")
    return to_image(picture)


def _is_deep(image: Image.Image) -> bool:
    """Whether the samples have more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _converted(image: Image.Image, mode: str) -> tuple[Image.Image, Colours]:
    """The image in `mode` (L, LA, RGB or RGBA) and in sRGB, and what was done about its profile."""
    direct = image.mode == "CMYK" and mode == "RGB"
    profile: bytes | None = image.info.get("icc_profile")
    found = colours(profile, "CMYK" if direct else mode)
    if direct and found.transform is not None:
        return to_srgb(image, found), found
    if image.mode in ("CMYK", "LAB"):  # made into RGB by Pillow, which asks no profile
        return image.convert(mode), found
    changed = image if image.mode == mode else image.convert(mode)
    return to_srgb(changed, found), found


def _decode_deep(image: Image.Image) -> tuple[Tensor, str, str]:
    """Grey samples of more than 8 bits -> (1,H,W) float32 in [0,1], what they were, what is lost.

    Whole numbers are taken for 16 bits (Pillow's mode "I" also holds those) unless they are
    larger; floats for [0,1] unless they are larger, then their maximum is white. What is negative
    is black, which is what is lost.

    Raises:
        ValueError: a float is NaN or infinite.
    """
    samples = torch.from_numpy(np.array(image, dtype=np.float64))[None]
    if not is_finite(samples):
        raise ValueError("some of its samples are NaN or infinite")
    lowest, highest = (float(extreme) for extreme in torch.aminmax(samples))
    if image.mode == "F":
        white, note = (1.0, "float") if highest <= 1 else (highest, f"float, {highest:g} is white")
    else:
        white, note = (65535.0, "16-bit") if highest <= 65535 else (2.0**32 - 1, "32-bit")
    black = f"{lowest:g} to 0 is black" if lowest < 0 else ""
    return samples.div_(white).clamp_(0, 1).float(), note, black
