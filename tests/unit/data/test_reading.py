"""`UnpairedFolders`: how pictures of all kinds become samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core.data.unpaired_folders import UnpairedFolders

from ..folders import SMALL, WHOLE, fill, noise


@pytest.fixture
def dirs(tmp_path):
    """5 pictures of A, 8 of B."""
    return fill(tmp_path / "a", 5, seed=1), fill(tmp_path / "b", 8, seed=2)


def read_as(tmp_path, image, **settings):
    """Save with the keywords in `save_`; the pixels of the sample in bytes, (H,W,C)."""
    save = {key[5:]: settings.pop(key) for key in list(settings) if key.startswith("save_")}
    a = tmp_path / "a"
    a.mkdir()
    for number in range(2):
        image.save(a / f"{number}{save.get('suffix', '.png')}", **save.get("options", {}))
    folders = UnpairedFolders(a, fill(tmp_path / "b", 2), **WHOLE, **settings)
    sample = folders.sample(0).a
    assert sample.dtype == torch.float32
    return sample.mul(255).round().byte().movedim(0, -1).numpy()


def test_transparency_shows_the_background(tmp_path):
    image = noise(3).convert("RGBA")
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, (0, 0, 12, 20))
    image.putalpha(alpha)
    pixels = read_as(tmp_path, image, background=(10, 20, 30))
    assert np.array_equal(pixels[:, :12], np.asarray(image)[:, :12, :3])
    assert (pixels[:, 12:] == (10, 20, 30)).all()


def test_half_transparent_grey_is_mixed_with_white(tmp_path):
    pixels = read_as(tmp_path, Image.new("LA", (8, 8), (100, 51)))
    assert np.abs(pixels.astype(int) - (0.2 * 100 + 0.8 * 255)).max() <= 1
    assert pixels.shape == (8, 8, 3)


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((0, 0), 0)
    options = {"save_options": {"transparency": 0}}
    pixels = read_as(tmp_path, image, background=(1, 2, 3), **options)
    assert tuple(pixels[0, 0]) == (1, 2, 3)
    assert tuple(pixels[1, 1]) == (200, 100, 50)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_is_pillows_rgb(tmp_path, suffix):
    pixels = read_as(tmp_path, noise(4).convert("CMYK"), save_suffix=suffix)
    with Image.open(tmp_path / "a" / f"0{suffix}") as stored:
        assert np.array_equal(pixels, np.asarray(stored.convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    pixels = read_as(tmp_path, Image.fromarray(ramp), channels_a=1)
    assert np.array_equal(pixels[..., 0], np.round(ramp / 65535 * 255).astype(np.uint8))


def test_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise(5, (24, 16))
    pixels = read_as(tmp_path, image, save_options={"exif": exif})
    assert np.array_equal(pixels, np.asarray(image.transpose(Image.Transpose.ROTATE_270)))


def test_header_size_is_upright_without_decoding(tmp_path, dirs):
    exif = Image.Exif()
    exif[0x0112] = 8
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        noise(5, (24, 16)).save(dirs[0] / f"turned{suffix}", exif=exif)
    folders = UnpairedFolders(*dirs, **WHOLE)
    assert folders.sample_sizes == ({(20, 24), (24, 16)}, {(20, 24)})
    for number in range(20):
        sample = folders.sample(number)
        assert tuple(sample.a.shape[1:]) in folders.sample_sizes[0]


def test_grey_files_become_rgb_and_rgb_becomes_grey(tmp_path):
    image = noise(6).convert("L")
    pixels = read_as(tmp_path, image)
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    folders = UnpairedFolders(tmp_path / "a", tmp_path / "b", **WHOLE, channels_a=1, channels_b=1)
    sample = folders.sample(0)
    assert sample.a.shape == sample.b.shape == (1, 20, 24)
    with Image.open(sample.path_b) as image_b:
        expected = torch.from_numpy(np.array(image_b.convert("L"))).float() / 255
    assert torch.equal(sample.b[0], expected)


def test_a_sample_is_a_crop_of_pillows_picture_bit_for_bit(tmp_path):
    """From the file on, in the original's mode, with nothing of ours in between."""
    for domain in "ab":
        (tmp_path / domain).mkdir()
        for number in range(2):
            noise(ord(domain) + number, (31, 26)).save(tmp_path / domain / f"{number}.jpg")
    folders = UnpairedFolders(tmp_path / "a", tmp_path / "b", **SMALL, preprocess="square_and_crop")
    for k in range(20):
        sample = folders.sample(k)
        for path, pixels in ((sample.path_a, sample.a), (sample.path_b, sample.b)):
            with Image.open(path) as stored:
                square = stored.convert("RGB").resize((20, 20), Image.Resampling.BICUBIC)
            crops = [
                torch.from_numpy(np.array(square.crop((x, y, x + 16, y + 16)))).movedim(-1, 0) / 255
                for x in range(5)
                for y in range(5)
            ]
            assert any(torch.equal(pixels, c) or torch.equal(pixels.flip(-1), c) for c in crops)
