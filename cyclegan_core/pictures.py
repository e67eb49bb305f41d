"""Picture files in and out: any mode, orientation and depth to (C,H,W) in [0,1], and back."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageFile, ImageOps
from torch import Tensor

from .errors import PictureError

WRITABLE = frozenset([".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"])
"""Endings that are kept for a result; any other becomes .png."""

READABLE = WRITABLE | {".jpe", ".jfif", ".gif", ".ppm", ".pgm", ".pnm", ".tga", ".jp2", ".avif"}
"""File endings that are taken for pictures when a folder is searched."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, RuntimeError)
"""What Pillow's decoders raise for damaged files (found by changing bytes at random)."""

_WITHOUT_ALPHA = frozenset([".jpg", ".jpeg", ".bmp"])


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
    with _opened(Path(path)) as image:
        peculiarities = _peculiarities(image)
        # A profile of a CMYK or Lab file doesn't fit the RGB pixels made from it.
        profile = image.info.get("icc_profile") if image.mode not in ("CMYK", "LAB") else None
        pixels, alpha, notes = _decode(ImageOps.exif_transpose(image))
    return Picture(pixels, alpha, profile, (*peculiarities, *notes))


def read_flat(
    path: str | Path, *, channels: int = 3, background: tuple[int, int, int] = (255, 255, 255)
) -> Image.Image:
    """Decode one picture file to 8 bits per sample without alpha, upright.

    The mode is "RGB" for 3 channels and "L" for 1; transparent parts show `background`.

    Raises:
        PictureError: missing, not a picture, damaged, or far too large.
    """
    with _opened(Path(path)) as image:
        upright = ImageOps.exif_transpose(image)
        if _is_deep(upright):
            upright = to_image(_decode_deep(upright)[0])
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
    with _opened(Path(path)) as image:
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
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise PictureError(f"{path} can't be written: use one of {', '.join(sorted(WRITABLE))}.")
    if alpha is not None and suffix not in _WITHOUT_ALPHA:
        pixels = torch.cat([pixels, alpha.to(pixels)])
    image = to_image(pixels)
    options: dict[str, Any] = {"icc_profile": icc_profile} if icc_profile else {}
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": 95, "subsampling": 0}
    elif suffix == ".webp":
        options |= {"quality": 95}
    elif suffix in (".tif", ".tiff"):
        options |= {"compression": "tiff_lzw"}
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(temporary, **options)
        temporary.replace(path)
    except (OSError, ValueError, struct.error) as error:  # the latter: too large for the format
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PictureError(f"{path} can't be written: {reason}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def to_image(pixels: Tensor) -> Image.Image:
    """(C,H,W) in [0,1] with C = 1, 2 (grey + alpha), 3 or 4 -> an 8-bit PIL image."""
    array = pixels.detach().float().clamp(0, 1).mul(255).round().byte().movedim(0, -1).cpu().numpy()
    if array.shape[-1] == 1:
        array = array[..., 0]
    return Image.fromarray(array)


@contextmanager
def _opened(path: Path) -> Generator[ImageFile.ImageFile]:
    """Open a picture file; what goes wrong with it in the block becomes a `PictureError`."""
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise PictureError(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise PictureError(f"{path} is a folder; name a picture file.") from None
    except Image.UnidentifiedImageError:
        raise PictureError(f"{path} is not a picture that Pillow can read.") from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path} is too large to open safely: {error}") from None
    except MemoryError:
        raise PictureError(f"{path} is damaged, or needs more memory than there is.") from None
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.strerror:  # the system's words, not a decoder's
            raise PictureError(f"{path} can't be read: {error.strerror}.") from None
        raise PictureError(f"{path} is damaged or incomplete ({error}).") from None


def _peculiarities(image: ImageFile.ImageFile) -> list[str]:
    """What a file holds beyond the picture that is taken from it; before it is decoded."""
    frames = getattr(image, "n_frames", 1)
    notes = [f"first of {frames} frames"] if frames > 1 else []
    # Pillow keeps 16 bits of grey only; "RGB;16B" is how it calls such a file's storage.
    if image.mode in ("RGB", "RGBA") and any(";16" in str(tile.args) for tile in image.tile):
        notes.append("16-bit, read as 8")
    return notes


def _is_deep(image: Image.Image) -> bool:
    """Whether the samples have more than 8 bits."""
    return image.mode.startswith("I") or image.mode == "F"


def _decode(image: Image.Image) -> tuple[Tensor, Tensor | None, list[str]]:
    """PIL image of any mode -> colour or grey (C,H,W), alpha (1,H,W) or None, notes."""
    if _is_deep(image):
        return _decode_deep(image)
    has_alpha = image.has_transparency_data
    is_grey = image.mode in ("1", "L", "LA", "La")
    mode = ("LA" if has_alpha else "L") if is_grey else ("RGBA" if has_alpha else "RGB")
    array = np.array(image.convert(mode))
    if array.ndim == 2:
        array = array[..., None]
    samples = torch.from_numpy(array).movedim(-1, 0).float().div(255)
    notes = ["grey"] if is_grey else []
    return (samples[:-1], samples[-1:], notes) if has_alpha else (samples, None, notes)


def _decode_deep(image: Image.Image) -> tuple[Tensor, None, list[str]]:
    """Grey samples of more than 8 bits -> (1,H,W) in [0,1].

    Whole numbers are taken for 16 bits (Pillow's mode "I" also holds those) unless they are
    larger; floats for [0,1] unless they are larger, then their maximum is white.
    """
    samples = torch.from_numpy(np.array(image, dtype=np.float64))[None]
    highest = float(samples.max())
    if image.mode == "F":
        white, note = (1.0, "float") if highest <= 1 else (highest, f"float, {highest:g} is white")
    else:
        white, note = (65535.0, "16-bit") if highest <= 65535 else (2.0**32 - 1, "32-bit")
    return samples.div(white).clamp(0, 1).float(), None, ["grey", note]
