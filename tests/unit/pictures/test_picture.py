"""Reading: every mode, depth, orientation and file type that artists have lying about."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps
from torch import Tensor

from cyclegan_core import read_picture
from cyclegan_core.pictures.files import READABLE, WRITABLE
from cyclegan_core.pictures.picture import read_flat, read_size

HEIGHT, WIDTH = 12, 18
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photo(mode: str = "RGB") -> Image.Image:
    """A smooth picture, different in every corner and channel, of any 8-bit mode."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    red, green, blue = rows * 20, columns * 14, 255 - rows * 10 - columns * 7
    alpha = np.where(columns < 9, 255, 100)
    image = Image.fromarray(np.stack([red, green, blue, alpha], -1).astype(np.uint8))
    return image if mode == "RGBA" else image.convert("RGB").convert(mode)


def as_tensor(image: Image.Image) -> Tensor:
    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1)) / 255


# --- modes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "suffix", "decoded", "notes"),
    [
        ("RGB", ".png", "RGB", ()),
        ("RGB", ".tif", "RGB", ()),
        ("RGB", ".bmp", "RGB", ()),
        ("RGB", ".webp", "RGB", ()),
        ("RGB", ".ppm", "RGB", ()),
        ("RGB", ".jp2", "RGB", ()),
        ("P", ".png", "RGB", ()),
        ("P", ".gif", "RGB", ()),
        ("CMYK", ".tif", "RGB", ()),
        ("YCbCr", ".tif", "RGB", ()),
        ("1", ".png", "L", ("grey",)),
        ("1", ".tif", "L", ("grey",)),
        ("L", ".png", "L", ("grey",)),
        ("L", ".bmp", "L", ("grey",)),
        ("L", ".gif", "RGB", ()),  # a palette may hold any colour
    ],
)
def test_opaque_pictures(mode: str, suffix: str, decoded: str, notes, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    # Pillow 12 and 13 write an uncompressed TIFF of YCbCr that they can't read themselves.
    options = {".webp": {"lossless": True}, ".tif": {"compression": "tiff_lzw"}}
    photo(mode).save(path, **options.get(suffix, {}))
    picture = read_picture(path)
    assert picture.pixels.dtype == torch.float32
    with Image.open(path) as image:
        assert torch.equal(picture.pixels, as_tensor(image.convert(decoded)))
    assert (picture.alpha, picture.icc_profile, picture.notes) == (None, None, notes)
    if mode in ("RGB", "P"):
        assert (picture.pixels - as_tensor(photo())).abs().mean() < 0.1
    assert read_size(path) == (WIDTH, HEIGHT)
    assert suffix in READABLE


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg(mode: str, tmp_path: Path) -> None:
    photo(mode).save(tmp_path / "x.jpg", quality=95)
    picture = read_picture(tmp_path / "x.jpg")
    expected = as_tensor(photo("L" if mode == "L" else "RGB"))
    assert picture.pixels.shape == expected.shape
    assert (picture.pixels - expected).abs().mean() < 0.02


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept_apart(mode: str, suffix: str, tmp_path: Path) -> None:
    original = photo("RGBA").convert(mode)
    original.save(tmp_path / f"x{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    picture = read_picture(tmp_path / f"x{suffix}")
    expected = as_tensor(original)
    assert torch.equal(picture.alpha, expected[-1:])
    assert torch.equal(picture.pixels, expected[:-1].expand_as(picture.pixels))
    is_grey = mode == "LA" and suffix != ".webp"  # which has no grey
    assert len(picture.pixels) == (1 if is_grey else 3)
    assert picture.notes == (("grey",) if is_grey else ())


def test_a_transparent_palette_entry_is_alpha(tmp_path: Path) -> None:
    image = Image.new("P", (WIDTH, HEIGHT))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((3, 1), 1)
    for suffix in (".png", ".gif"):
        image.save(tmp_path / f"x{suffix}", transparency=1)
        picture = read_picture(tmp_path / f"x{suffix}")
        assert picture.pixels[:, 0, 0].tolist() == [1.0, 0.0, 0.0]
        assert picture.alpha[0, 1, 3] == 0
        assert picture.alpha.sum() == WIDTH * HEIGHT - 1


def test_a_transparent_grey_level_is_alpha(tmp_path: Path) -> None:
    photo("L").save(tmp_path / "x.png", transparency=photo("L").getpixel((0, 0)))
    picture = read_picture(tmp_path / "x.png")
    assert picture.pixels.shape == (1, HEIGHT, WIDTH)
    assert picture.alpha[0, 0, 0] == 0
    assert picture.alpha.mean() > 0.5


# --- more than eight bits ----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey(suffix: str, tmp_path: Path) -> None:
    samples = np.array([[0, 1, 257], [32768, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(samples).save(tmp_path / f"x{suffix}")
    picture = read_picture(tmp_path / f"x{suffix}")
    expected = torch.from_numpy(samples.astype(np.float32) / 65535)[None]
    torch.testing.assert_close(picture.pixels, expected, rtol=0, atol=1e-7)
    assert picture.notes == ("grey", "16-bit")


@pytest.mark.parametrize(
    ("samples", "expected", "note"),
    [
        (np.array([[0, 65535, -5]], np.int32), [0.0, 1.0, 0.0], "16-bit, -5 to 0 is black"),
        (np.array([[0, 2**31 - 1]], np.int32), [0.0, 0.5], "32-bit"),
        (np.array([[0, 0.25, 1]], np.float32), [0.0, 0.25, 1.0], "float"),
        (np.array([[0, -1, 0.5]], np.float32), [0.0, 0.0, 0.5], "float, -1 to 0 is black"),
        (np.array([[0, 1, 4]], np.float32), [0.0, 0.25, 1.0], "float, 4 is white"),
    ],
)
def test_32_bit_and_float_tiff(samples, expected: list[float], note: str, tmp_path: Path) -> None:
    Image.fromarray(samples).save(tmp_path / "x.tif")
    picture = read_picture(tmp_path / "x.tif")
    assert picture.pixels[0, 0].tolist() == pytest.approx(expected, abs=1e-6)
    assert picture.notes == ("grey", note)
    flat = read_flat(tmp_path / "x.tif")
    assert flat.mode == "RGB"
    assert [flat.getpixel((x, 0))[0] for x in range(len(expected))] == [
        round(value * 255) for value in expected
    ]


def png_with_16_bits(path: Path, channels: int) -> None:
    """Pillow reads these but writes none."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    colour_type = {2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", 5, 3, 16, colour_type, 0, 0, 0)
    row = b"\0" + np.full((5, channels), 0x8040, ">u2").tobytes()
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(3 * row)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*parts) for parts in chunks))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_16_bit_colour_is_read_and_said(channels: int, tmp_path: Path) -> None:
    png_with_16_bits(tmp_path / "x.png", channels)
    picture = read_picture(tmp_path / "x.png")
    assert picture.pixels.unique().tolist() == pytest.approx([0x80 / 255])
    assert (picture.alpha is not None) == (channels in (2, 4))
    assert picture.notes == ("16-bit, read as 8",)


# --- orientation, frames, profiles -------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_exif_orientation(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"x{suffix}"
    photo().save(path, exif=exif, **({"quality": 100} if suffix in (".jpg", ".webp") else {}))
    picture = read_picture(path)
    labelled = photo()
    labelled.info["exif"] = exif.tobytes()
    upright = as_tensor(ImageOps.exif_transpose(labelled))
    if orientation >= 5:
        assert picture.pixels.shape == (3, WIDTH, HEIGHT)
    assert picture.pixels.shape == upright.shape
    assert (picture.pixels - upright).abs().mean() < 0.05
    assert read_size(path) == read_flat(path).size == picture.pixels.shape[:0:-1]


def test_orientation_6_turns_clockwise(tmp_path: Path) -> None:
    """Said without Pillow's own turning: what was the bottom left becomes the top left."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo().save(tmp_path / "x.png", exif=exif)
    upright = read_picture(tmp_path / "x.png").pixels
    assert torch.equal(upright, as_tensor(photo()).rot90(-1, (1, 2)))


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".png"])
def test_the_first_frame_is_taken_and_said(suffix: str, tmp_path: Path) -> None:
    frames = [photo(), ImageOps.invert(photo()), photo().rotate(180)]
    path = tmp_path / f"x{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    picture = read_picture(path)
    assert picture.notes == ("first of 3 frames",)
    assert (picture.pixels - as_tensor(photo())).abs().mean() < 0.1


def test_profiles_fit_the_pixels(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        photo().save(tmp_path / f"x{suffix}", icc_profile=SRGB)
        assert read_picture(tmp_path / f"x{suffix}").icc_profile == SRGB
    photo("CMYK").save(tmp_path / "cmyk.jpg", icc_profile=SRGB)
    assert read_picture(tmp_path / "cmyk.jpg").icc_profile is None


# --- without alpha, for training ---------------------------------------------------------------


def test_flat_pictures_show_the_background(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 1), (200, 100, 0, 51)).save(tmp_path / "x.png")
    assert read_flat(tmp_path / "x.png").getpixel((0, 0)) == (244, 224, 204)
    black = read_flat(tmp_path / "x.png", background=(0, 0, 0))
    assert black.getpixel((0, 0)) == (40, 20, 0)
    assert read_flat(tmp_path / "x.png", channels=1).mode == "L"


def test_writable_files_are_readable() -> None:
    assert WRITABLE < READABLE
