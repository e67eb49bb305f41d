"""Preprocessing: bit for bit what Pillow computes, by an independent and literal computation."""

import random
import re

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core.config import DataConfig
from cyclegan_core.data.transforms import draw, prepare, prepared_size

SIZES = [(301, 200), (200, 301), (286, 286), (256, 256), (286, 400), (97, 33), (1000, 90)]


def noise(size, mode="RGB", seed=0):
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))


def original_resize(image, mode, load, crop):
    """The original implementation's resizes, as reference.md describes them."""
    width, height = image.size
    if mode == "square_and_crop":
        return image.resize((load, load), Image.Resampling.BICUBIC)
    if mode in ("scale_width", "scale_width_and_crop"):
        if width == load and height >= crop:
            return image
        new = (load, int(max(load * height / width, crop)))
        return image.resize(new, Image.Resampling.BICUBIC)
    if mode == "none":
        new = (int(round(width / 4) * 4), int(round(height / 4) * 4))
        return image if new == image.size else image.resize(new, Image.Resampling.BICUBIC)
    return image


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["square_and_crop", "scale_width", "scale_width_and_crop", "none"])
def test_resize_is_the_originals_bit_for_bit(mode, size):
    config = DataConfig(preprocess=mode)
    image = noise(size)
    expected = original_resize(image, mode, 286, 256)
    assert prepared_size(size, config) == expected.size
    assert np.array_equal(prepare(image, config), np.asarray(expected))


@pytest.mark.parametrize("size", SIZES)
def test_default_resize_keeps_the_aspect_and_is_pillows(size):
    config = DataConfig()
    width, height = size
    tall, wide = (286, int(286 * height / width)), (int(286 * width / height), 286)
    new = tall if width <= height else wide
    expected = noise(size).resize(new, Image.Resampling.BICUBIC)
    assert np.array_equal(prepare(noise(size), config), np.asarray(expected))


def test_crop_leaves_large_pictures_alone_and_enlarges_small_ones():
    config = DataConfig(preprocess="crop", crop_size=64)
    assert np.array_equal(prepare(noise((90, 70)), config), np.asarray(noise((90, 70))))
    assert prepared_size((100, 32), config) == (200, 64)
    enlarged = noise((100, 32)).resize((200, 64), Image.Resampling.BICUBIC)
    assert np.array_equal(prepare(noise((100, 32)), config), np.asarray(enlarged))


def test_none_never_rounds_to_nothing():
    assert prepared_size((1, 7), DataConfig(preprocess="none")) == (4, 8)


def test_grey_pictures_have_one_channel():
    pixels = prepare(noise((300, 280), mode="L"), DataConfig())
    assert pixels.shape == (286, 306, 1)
    assert draw(pixels, DataConfig(), random.Random(0)).shape == (1, 256, 256)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_crop_and_flip_are_pillows_bit_for_bit(mode):
    """Every drawn sample is one of all possible crops, mirrored or not, made by PIL itself."""
    config = DataConfig(load_size=20, crop_size=16, preprocess="square_and_crop")
    image = noise((31, 22), mode).resize((20, 20), Image.Resampling.BICUBIC)
    possible = {}
    for left in range(5):
        for top in range(5):
            crop = image.crop((left, top, left + 16, top + 16))
            possible[crop.tobytes()] = (left, top, False)
            possible[crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT).tobytes()] = (left, top, True)
    pixels = prepare(noise((31, 22), mode), config)
    seen = set()
    for seed in range(400):
        sample = draw(pixels, config, random.Random(seed))
        as_bytes = sample.mul(255).round().byte()
        assert torch.equal(sample, as_bytes.float() / 255)
        seen.add(possible[as_bytes.movedim(0, -1).numpy().tobytes()])
    assert len(seen) == 50  # every place, both ways round


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_squares_of_several_scales_are_pillows(mode):
    """Every sample is a square of 8 to 16 pixels, resized by PIL itself; all sizes come."""
    config = DataConfig(load_size=20, crop_size=8, scales=2.0, flip=False)
    image = noise((20, 20), mode)
    possible = {}
    for side in range(8, 17):
        for left in range(20 - side + 1):
            for top in range(20 - side + 1):
                crop = image.crop((left, top, left + side, top + side))
                possible[crop.resize((8, 8), Image.Resampling.BICUBIC).tobytes()] = side
    seen = []
    for seed in range(400):
        sample = draw(prepare(image, config), config, random.Random(seed))
        seen.append(possible[sample.mul(255).round().byte().movedim(0, -1).numpy().tobytes()])
    assert set(seen) == set(range(8, 17))
    # Octaves: half of the sides lie below 8 times the root of 2, which is 11.3.
    assert 0.4 < sum(side <= 11 for side in seen) / 400 < 0.6


def test_scales_end_where_the_picture_does():
    config = DataConfig(load_size=10, crop_size=8, scales=100.0)
    pixels = prepare(noise((10, 14)), config)
    for seed in range(50):
        assert draw(pixels, config, random.Random(seed)).shape == (3, 8, 8)


def test_no_flip_and_no_crop_leave_the_pixels():
    config = DataConfig(preprocess="none", flip=False)
    pixels = prepare(noise((32, 16)), config)
    sample = draw(pixels, config, random.Random(0))
    assert torch.equal(sample, torch.from_numpy(pixels.copy()).movedim(-1, 0).float() / 255)
    assert sample.is_contiguous()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"preprocess": "resize"}, "preprocess must be one of resize_and_crop, square_and_crop"),
        ({"scales": 0.5}, "scales must be a number at least 1; got 0.5"),
        ({"side_by_side": "yes"}, "side_by_side must be one of no, ab, ba; got 'yes'"),
        ({"load_size": 0}, "load_size must be a whole number of at least 1; got 0"),
        ({"crop_size": 25.5}, "crop_size must be a whole number of at least 1; got 25.5"),
        ({"load_size": 128}, "load_size must be at least crop_size; got 128 and 256"),
        ({"max_images": 1}, "max_images must be a whole number of at least 2; got 1"),
        ({"channels_b": 4}, "channels_b must be 3 (RGB) or 1 (grey); got 4"),
        ({"background": (0, 0, 256)}, "background must be a tuple of three numbers from 0 to 255"),
        ({"cache_bytes": -1}, "cache_bytes must be a whole number of at least 0; got -1"),
    ],
)
def test_wrong_settings_are_named(settings, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        DataConfig(**settings)


def test_load_size_only_matters_where_a_crop_follows_the_resize():
    for mode in ("crop", "scale_width", "none"):
        DataConfig(load_size=100, crop_size=256, preprocess=mode)
