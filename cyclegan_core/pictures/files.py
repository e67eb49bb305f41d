"""Finding, opening and writing picture files: what goes wrong, what is unusual, atomically."""

from __future__ import annotations

import errno
import os
import struct
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, ImageFile, TiffImagePlugin, TiffTags

from ..errors import PictureError, reason
from ..files import check_file, make_folder, partial_file

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
"""Pillow's names of what is written. It could look them up, but would import all its formats."""

WRITABLE = frozenset(_FORMATS)
"""Endings that are kept for a result; any other becomes .png."""

READABLE = WRITABLE | {".jpe", ".jfif", ".gif", ".ppm", ".pgm", ".pnm", ".tga", ".jp2", ".avif"}
"""File endings that are taken for pictures when a folder is searched."""

PAINTED = "painted"
"""The folder for results where none is named: inside the folder that holds the pictures."""

FileId = tuple[int, int]
"""What two names of one file have in common: its device and its number there."""

_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, RuntimeError)
"""What Pillow's decoders raise for damaged files (found by changing bytes at random)."""

_WITHOUT_ALPHA = frozenset([".jpg", ".jpeg", ".bmp"])

_CLASSIC_TIFF = 2**31
"""Bytes of samples above which a TIFF is written with offsets of 64 bits instead of 32."""

MAX_PIXELS = 2**31
"""Most pixels of a file that the user named: 46340×46340, 8.6 GB in Pillow's hands."""

_lifting = threading.Lock()


def file_id(path: Path) -> FileId | None:
    """What tells a file or folder from all others; None if there is nothing to be seen."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def find_pictures(
    folder: Path,
    *,
    leave_out: FileId | None = None,
    on_error: Callable[[OSError], None] | None = None,
) -> Iterator[Path]:
    """Files with the ending of a picture, below `folder` too; each folder's own, sorted, first.

    Hidden files and folders don't count. Links are followed, but no folder is entered twice, so
    a circle of links ends.

    Args:
        folder: where to search.
        leave_out: the `file_id` of a folder that is not entered.
        on_error: told of each folder that can't be read; those are passed over.
    """
    entered = {leave_out}
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=on_error):
        here = Path(parent)
        known_as = file_id(here)
        if known_as in entered:
            folders.clear()
            continue
        entered.add(known_as)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if is_picture_name(name):
                yield here / name


def is_picture_name(name: str) -> bool:
    """Whether a file of this name counts as a picture: by its ending, and not hidden."""
    return not name.startswith(".") and Path(name).suffix.lower() in READABLE


@contextmanager
def opened(
    path: Path | str, *, max_pixels: int | None = None, content: BinaryIO | None = None
) -> Generator[ImageFile.ImageFile]:
    """Open a picture file; what goes wrong with it in the block becomes a `PictureError`.

    `max_pixels` stands in for Pillow's limit of 179 million pixels, which is meant for files
    from strangers. `content` is read instead of a file, and `path` is then only what it is called.
    """
    lifted = nullcontext() if max_pixels is None else _without_limit()
    try:
        if content is None:
            check_file(Path(path))
        with lifted, Image.open(path if content is None else content) as image:
            if max_pixels is not None:
                _check_size(image, max_pixels)
            yield image
    except FileNotFoundError:
        raise PictureError(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise PictureError(f"{path} is a folder; name a picture file.") from None
    except Image.UnidentifiedImageError:
        raise PictureError(
            f"{path} is not a picture that can be read here; save it as PNG or JPEG."
        ) from None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path} is too large to open safely: {error}") from None
    except MemoryError:
        raise PictureError(f"{path} is damaged, or needs more memory than there is.") from None
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.strerror:  # the system's words, not a decoder's
            raise PictureError(f"{path} can't be read: {error.strerror}.") from None
        raise PictureError(f"{path} is damaged or incomplete ({error}).") from None


@contextmanager
def _without_limit() -> Generator[None]:
    """Lift Pillow's limit, which is the module's: checked at opening, for TIFF also at decoding."""
    with _lifting:
        usual = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def _check_size(image: Image.Image, max_pixels: int) -> None:
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise Image.DecompressionBombError(
            f"{pixels} pixels, where at most {max_pixels} are opened."
        )


def peculiarities(image: ImageFile.ImageFile) -> list[str]:
    """What a file holds beyond the picture that is taken from it; before it is decoded."""
    frames = getattr(image, "n_frames", 1)
    notes = [f"first of {frames} frames"] if frames > 1 else []
    # Pillow keeps 16 bits of grey only; "RGB;16B" is how it calls such a file's storage.
    # By number: before Pillow 11 the parts of a tile have no names.
    if image.mode in ("RGB", "RGBA") and any(";16" in str(tile[3]) for tile in image.tile):
        notes.append("16-bit, read as 8")
    return notes


def write_image(
    path: Path,
    image: Image.Image,
    *,
    alpha: Image.Image | None = None,
    icc_profile: bytes | None = None,
) -> None:
    """Write an image of mode L or RGB in the format that the file's ending names; atomic.

    A link stays a link, and what it leads to is replaced; missing folders are made.
    `alpha` (mode L) is kept where the format has it, and `image` may have it then.

    Raises:
        PictureError: the ending is unknown, or the folder or the file can't be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise PictureError(f"{path} can't be written: use one of {', '.join(sorted(WRITABLE))}.")
    if alpha is not None and suffix not in _WITHOUT_ALPHA:
        image.putalpha(alpha)
    options: dict[str, Any] = {"icc_profile": icc_profile} if icc_profile else {}
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": 95, "subsampling": 0}
    elif suffix == ".webp":
        options |= {"quality": 95}
    elif suffix in (".tif", ".tiff"):
        options |= _tiff_options(image)
    try:
        make_folder(path.parent)
        with partial_file(path) as partial:
            image.save(partial, _FORMATS[suffix], **options)
    except (OSError, ValueError, struct.error) as error:
        if not isinstance(error, OSError) or error.errno is None:  # Pillow's own refusal
            advice = "choose another format, such as .png"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "free some space or choose another folder"
        else:
            advice = "choose another folder or name"
        raise PictureError(f"{path} can't be written: {reason(error)}; {advice}.") from None


def _tiff_options(image: Image.Image) -> dict[str, Any]:
    """LZW; beyond 32-bit offsets no compression, as Pillow compresses classic TIFFs only."""
    row = image.width * len(image.getbands())
    if row * image.height < _CLASSIC_TIFF:
        return {"compression": "tiff_lzw"}
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.ROWSPERSTRIP] = max(1, 2**26 // row)  # a strip's length has 32 bits
    tags.tagtype[TiffImagePlugin.STRIPOFFSETS] = TiffTags.LONG8
    tags[TiffImagePlugin.STRIPOFFSETS] = 0  # Pillow's to fill in, with the type set here
    return {"compression": "raw", "big_tiff": True, "tiffinfo": tags}
