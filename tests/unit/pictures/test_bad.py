"""Files that are no pictures, or no longer: one sentence each, whatever the bytes."""

from __future__ import annotations

import io
import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cyclegan_core import PictureError, read_picture
from cyclegan_core.pictures.picture import read_flat, read_size

from .test_picture import photo

PILLOW_WARNS = "ignore::UserWarning"
"""Of odd metadata, in pictures that it reads nevertheless."""

READERS = [read_picture, read_flat, read_size]


@contextmanager
def as_ordinary_user(path: Path) -> Iterator[None]:
    """Root may read everything, so it becomes nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    path.chmod(path.stat().st_mode | 0o011)  # nobody may enter a temporary folder of root
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def encoded(kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    photo("P" if kind == "GIF" else "RGB").save(buffer, kind, **options)
    return buffer.getvalue()


WHOLE = {
    **{kind: encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")},
    "LZW": encoded("TIFF", compression="tiff_lzw"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not a picture that can be read here"),
        (b"My holiday\n", "is not a picture that can be read here"),
        (b"\x89PNG\r\n\x1a\n", "is not a picture that can be read here"),
        (b"BM" + b"\xff" * 200, "is not a picture|is damaged"),
    ],
)
def test_no_picture(read, content: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(PictureError, match=rf"x\.png ({expected})"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("read", READERS)
def test_paths_that_lead_to_no_file(read, tmp_path: Path) -> None:
    photo().save(tmp_path / "file.png")
    for path, expected in [
        (tmp_path / "no.png", "does not exist; check the path"),
        (tmp_path, "is a folder; name a picture file"),
        (tmp_path / "file.png" / "x.png", "can't be read: Not a directory"),
        (tmp_path / ("x" * 300 + ".png"), "can't be read: File name too long"),
    ]:
        with pytest.raises(PictureError, match=expected) as caught:
            read(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("read", [read_picture, read_flat])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers(read, value: float, tmp_path: Path) -> None:
    samples = np.full((8, 8), 0.5, np.float32)
    samples[3, 4] = value
    Image.fromarray(samples).save(tmp_path / "x.tif")
    with pytest.raises(PictureError, match=r"x\.tif is damaged .* NaN or infinite"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("read", READERS)
def test_a_file_without_permission(read) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.png")
        photo().save(path)
        path.chmod(0)
        with as_ordinary_user(path.parent), pytest.raises(PictureError, match="Permission denied"):
            read(path)


@pytest.mark.filterwarnings(PILLOW_WARNS)
@pytest.mark.parametrize("read", [read_picture, read_flat])
@pytest.mark.parametrize("kind", WHOLE)
def test_half_a_file(read, kind: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(WHOLE[kind][: len(WHOLE[kind]) // 2])
    with pytest.raises(PictureError, match=r"is damaged or incomplete|is not a picture"):
        read(tmp_path / "x")


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "x.png")
    for read in READERS:
        with pytest.raises(PictureError, match=r"x\.png is too large to open safely"):
            read(tmp_path / "x.png")


@st.composite
def damaged(draw) -> bytes:
    """A picture file, cut short or with some bytes changed; or any bytes at all."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(WHOLE[draw(st.sampled_from(sorted(WHOLE)))])
    for _ in range(draw(st.integers(0, 6))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)) | st.just(len(content)))])


@pytest.mark.filterwarnings(PILLOW_WARNS)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")  # of half the limit
@given(damaged())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_picture_or_a_picture_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.png")
        path.write_bytes(content)
        for read in READERS:
            with suppress(PictureError):
                read(path)


def test_a_size_beyond_all_memory(tmp_path: Path) -> None:
    """Found by fuzzing: Pillow raises MemoryError while it looks at such a header."""
    buffer = io.BytesIO()
    photo().save(buffer, "JPEG2000")
    content = buffer.getvalue()
    start = content.index(b"jp2h") - 4  # the box gets a length of eight bytes: 2^52
    content = content[:start] + struct.pack(">I4sQ", 1, b"jp2h", 2**52) + content[start + 8 :]
    (tmp_path / "x.jp2").write_bytes(content)
    for read in READERS:
        with pytest.raises(PictureError, match="is damaged, or needs more memory than there is"):
            read(tmp_path / "x.jp2")
