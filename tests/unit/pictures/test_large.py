"""Pictures that stay bytes until a strip of them is needed, beyond Pillow's limit for strangers."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core import PictureError, read_picture, write_picture
from cyclegan_core.pictures import files as picture_files
from cyclegan_core.pictures.files import MAX_PIXELS, opened
from cyclegan_core.pictures.picture import OpenPicture, open_picture
from cyclegan_core.pictures.rows import ImageRows

from ..commands import Shell, draw, save


@pytest.fixture
def shell(capsys) -> Shell:
    return Shell(capsys)


def announce(path: Path, width: int, height: int) -> Path:
    """A PNG that says it is so large, with one row of pixels."""
    parts = b""
    row = zlib.compress(b"\0" * (1 + width // 8))
    for name, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", row),
        (b"IEND", b""),
    ):
        crc = zlib.crc32(name + data)
        parts += struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


# --- limits ------------------------------------------------------------------------------------


def test_a_named_file_may_be_larger_than_pillow_allows(tmp_path: Path) -> None:
    path = announce(tmp_path / "x.png", 30_000, 30_000)
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(PictureError, match="too large to open safely"), opened(path):
        pass
    with opened(path, max_pixels=MAX_PIXELS) as image:
        assert image.size == (30_000, 30_000)
    assert before == Image.MAX_IMAGE_PIXELS


def test_there_is_a_ceiling_for_named_files_too(tmp_path: Path) -> None:
    path = announce(tmp_path / "x.png", 2**16, 2**15 + 1)
    with pytest.raises(
        PictureError,
        match=rf"x\.png is too large to open safely: 2147549184 pixels, .* most {MAX_PIXELS} are",
    ):
        open_picture(path, max_pixels=MAX_PIXELS)


def test_the_command_takes_them(shell, tmp_path: Path, monkeypatch) -> None:
    """Pillow's limit is lowered, so that a small picture is a large one."""
    save(tmp_path / "m.safetensors")
    source = draw(tmp_path / "x.png", size=(40, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(PictureError, match="too large"):
        read_picture(source)
    done = shell("translate", source, "-o", tmp_path / "y.png", "-m", tmp_path / "m.safetensors")
    assert done.code == 0, done.err
    monkeypatch.undo()
    assert read_picture(tmp_path / "y.png").pixels.shape == (3, 30, 40)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".gif", ".bmp"])
def test_formats_that_pillow_checks_again_when_it_decodes(suffix, tmp_path, monkeypatch) -> None:
    source = draw(tmp_path / f"x{suffix}", size=(40, 30))
    expected = open_picture(source).pixels()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert torch.equal(open_picture(source, max_pixels=MAX_PIXELS).pixels(), expected)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_beyond_32_bit_offsets(channels: int, tmp_path: Path, monkeypatch) -> None:
    """As if it were so large; one of 65536×65600 was written and read once."""
    monkeypatch.setattr(picture_files, "_CLASSIC_TIFF", 100)
    pixels = torch.arange(channels * 9 * 13).view(channels, 9, 13) % 256 / 255
    write_picture(tmp_path / "x.tif", pixels)
    assert (tmp_path / "x.tif").read_bytes()[:4] == b"II+\0"
    assert torch.equal(read_picture(tmp_path / "x.tif").pixels, pixels)


# --- rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA"])
def test_rows_are_the_picture(mode: str, tmp_path: Path) -> None:
    path = draw(tmp_path / "x.png", mode)
    rows, whole = open_picture(path).rows, read_picture(path)
    assert rows.size == tuple(whole.pixels.shape)
    for top, bottom in ((0, 9), (0, 1), (4, 7), (8, 9)):
        assert torch.equal(rows.read(top, bottom), whole.pixels[:, top:bottom])
    assert rows.read(0, 2).dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 3])
def test_written_rows_are_rounded_like_whole_pictures(channels: int, tmp_path: Path) -> None:
    pixels = torch.rand(channels, 9, 13, generator=torch.Generator().manual_seed(1)) * 1.2 - 0.1
    picture = OpenPicture(ImageRows(Image.new("L", (13, 9))), None, None, ())
    result = picture.new_result(channels)
    for top in range(0, 9, 4):
        result.write(top, pixels[:, top : top + 4])
    picture.write(tmp_path / "rows.png", result)
    write_picture(tmp_path / "whole.png", pixels)
    assert (tmp_path / "rows.png").read_bytes() == (tmp_path / "whole.png").read_bytes()


# --- the command -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGBA", "RGB"])
@pytest.mark.parametrize(("precision", "levels"), [("fp32", 1), ("bf16", 4)])
def test_every_way_gives_the_same_file(
    mode: str, precision: str, levels: int, shell, tmp_path: Path
) -> None:
    """To a level of 1/255, where float rounding falls to either side of a half.

    In bf16 a feature map's does so, too, and what follows multiplies it; that the whole pass in
    bf16 differs from the one in float32 makes eight levels with these weights.
    """
    save(tmp_path / "m.safetensors")
    source = draw(tmp_path / "x.png", mode, size=(120, 95))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    results = {}
    for memory in ("whole", "auto", "streamed", "thumbnail"):
        out = tmp_path / f"{memory}.png"
        options = ("--memory", memory, "--scratch", scratch, "--precision", precision)
        done = shell("translate", source, "-o", out, "-m", tmp_path / "m.safetensors", *options)
        assert done.code == 0, done.err
        results[memory] = read_picture(out)
    assert torch.equal(results["auto"].pixels, results["whole"].pixels)
    for picture in results.values():
        difference = (picture.pixels - results["whole"].pixels).abs().max()
        assert difference <= (levels + 0.001) / 255
        assert (picture.alpha is not None) == (mode == "RGBA")
    assert list(scratch.iterdir()) == []


def test_a_scratch_folder_that_is_none_is_said(shell, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors")
    source = draw(tmp_path / "x.png")
    command = ("translate", source, "-o", tmp_path / "y.png", "-m", tmp_path / "m.safetensors")
    done = shell(*command, "--scratch", tmp_path / "nowhere")
    assert done.code == 2
    assert "nowhere" in done.err
    assert done.err.count("\n") == 1


def test_a_picture_of_no_numbers_is_named(shell, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors")
    source = tmp_path / "x.tif"
    Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(source)
    done = shell("translate", source, "-o", tmp_path / "y.png", "-m", tmp_path / "m.safetensors")
    assert done.code == 1
    assert done.err.startswith(f"failed: {source} is damaged or incomplete (some of its samples")
