"""Pictures of wide colour spaces are read as sRGB, and that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cyclegan_core import read_picture
from cyclegan_core.data.unpaired_folders import UnpairedFolders
from cyclegan_core.pictures.picture import read_flat, read_header

from . import profiles

WIDE = {
    "Display P3": profiles.profile(profiles.P3, "Display P3"),
    "Adobe RGB": profiles.profile(profiles.ADOBE, "Adobe RGB"),
}
PRIMARIES = {"Display P3": profiles.P3, "Adobe RGB": profiles.ADOBE}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PIXELS = np.random.default_rng(4).integers(0, 256, (9, 12, 3), dtype=np.uint8)


@pytest.mark.parametrize("space", WIDE)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_wide_colours_become_srgb(space: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    Image.fromarray(PIXELS).save(path, icc_profile=WIDE[space])
    picture = read_picture(path)
    expected = profiles.as_srgb(PIXELS / 255, PRIMARIES[space])
    found = picture.pixels.movedim(0, -1).numpy()
    # Profiles hold their numbers in 16 bits, and samples have 8.
    assert abs(found - expected).max() <= 2 / 255
    assert abs(found - PIXELS / 255).max() > 20 / 255
    assert picture.notes == (f"{space} converted to sRGB",)
    assert picture.icc_profile is None
    assert abs(np.asarray(read_flat(path)) / 255 - expected).max() <= 2 / 255
    assert read_header(path).colours == f"{space} converted to sRGB"


def test_alpha_and_palettes_of_wide_colours(tmp_path: Path) -> None:
    alpha = np.arange(108, dtype=np.uint8).reshape(9, 12, 1)
    image = Image.fromarray(np.concatenate([PIXELS, alpha], 2))
    image.save(tmp_path / "x.png", icc_profile=WIDE["Adobe RGB"])
    picture = read_picture(tmp_path / "x.png")
    assert picture.alpha is not None
    assert np.array_equal((picture.alpha.numpy() * 255).round()[0], alpha[..., 0])
    expected = profiles.as_srgb(PIXELS / 255, profiles.ADOBE)
    assert abs(picture.pixels.movedim(0, -1).numpy() - expected).max() <= 2 / 255
    palette = Image.fromarray(PIXELS).quantize(16)
    palette.save(tmp_path / "p.png", icc_profile=WIDE["Adobe RGB"])
    expected = profiles.as_srgb(np.asarray(palette.convert("RGB")) / 255, profiles.ADOBE)
    found = read_picture(tmp_path / "p.png").pixels.movedim(0, -1).numpy()
    assert abs(found - expected).max() <= 2 / 255


@pytest.mark.parametrize("content", [b"colours", WIDE["Display P3"][:200], bytes(128)])
def test_profiles_that_make_no_sense_are_kept_and_named(content: bytes, tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png", icc_profile=content)
    picture = read_picture(tmp_path / "x.png")
    assert np.array_equal((picture.pixels.movedim(0, -1).numpy() * 255).round(), PIXELS)
    assert picture.notes == ("its colour profile can't be read",)
    assert picture.icc_profile == content


@pytest.mark.parametrize("profile", [SRGB, profiles.profile(profiles.SRGB, "like it", 2.2)])
def test_srgb_stays_as_it_is(profile: bytes, tmp_path: Path) -> None:
    """Also under another name: a power of 2.2 differs visibly in the shadows only."""
    Image.fromarray(PIXELS).save(tmp_path / "x.png", icc_profile=profile)
    picture = read_picture(tmp_path / "x.png")
    if profile is SRGB:
        assert picture.notes == ()
        assert picture.icc_profile == SRGB
        assert np.array_equal((picture.pixels.movedim(0, -1).numpy() * 255).round(), PIXELS)
    else:
        assert abs(picture.pixels.movedim(0, -1).numpy() - PIXELS / 255).max() < 0.05


def test_a_profile_of_print_is_used_for_its_own_samples(tmp_path: Path) -> None:
    """One of RGB says nothing about CMYK, so that Pillow's own conversion is taken."""
    image = Image.fromarray(PIXELS).convert("CMYK")
    image.save(tmp_path / "x.tif", icc_profile=WIDE["Display P3"])
    picture = read_picture(tmp_path / "x.tif")
    plain = np.asarray(image.convert("RGB"))
    assert np.array_equal((picture.pixels.movedim(0, -1).numpy() * 255).round(), plain)
    assert picture.icc_profile is None


def test_a_training_says_what_it_does_with_colours(tmp_path: Path) -> None:
    for side in "ab":
        (tmp_path / side).mkdir()
        for number in range(3):
            Image.fromarray(PIXELS).save(tmp_path / side / f"{number}.png")
    Image.fromarray(PIXELS).save(tmp_path / "a" / "1.png", icc_profile=WIDE["Display P3"])
    Image.fromarray(PIXELS).save(tmp_path / "a" / "2.png", icc_profile=WIDE["Adobe RGB"])
    floats = PIXELS[..., 0].astype(np.float32) / 255 - 0.5
    Image.fromarray(floats).save(tmp_path / "b" / "low.tif")
    data = UnpairedFolders(tmp_path / "a", tmp_path / "b", load_size=8, crop_size=8)
    warnings = data.report().warnings
    folder_a, folder_b = tmp_path / "a", tmp_path / "b"
    assert (
        f"2 of 3 pictures in {folder_a} had a colour profile and were converted to sRGB (Adobe RGB,"
        " Display P3)." in warnings
    )
    lowest = f"{floats.min():g} to 0 is black"
    assert f"Samples below 0 in {folder_b} can't be shown: low.tif ({lowest})." in warnings
