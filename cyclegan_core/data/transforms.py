"""From a decoded picture to the training crop: the arithmetic behind `DataConfig`."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..config import DataConfig
from ..errors import PictureError

Pixels = npt.NDArray[np.uint8]
"""(H,W,C), 8 bits per sample."""

_MOST_PIXELS = 2**26
"""Of an enlarged picture; 200 MB in memory."""


def prepared_size(size: tuple[int, int], config: DataConfig) -> tuple[int, int]:
    """Width and height after the resize of `config.preprocess` and before the crop."""
    width, height = size
    match config.preprocess:
        case "resize_and_crop":
            return _short_side_to(config.load_size, size)
        case "square_and_crop":
            return config.load_size, config.load_size
        case "crop":  # the original stops here when the picture is too small
            return _short_side_to(config.crop_size, size) if min(size) < config.crop_size else size
        case "scale_width" | "scale_width_and_crop":
            new_height = int(max(config.load_size * height / width, config.crop_size))
            return config.load_size, new_height
        case "none":
            return max(4, round(width / 4) * 4), max(4, round(height / 4) * 4)


def check_enlarged(path: Path, size: tuple[int, int], config: DataConfig) -> None:
    """A line of pixels is not enlarged to what no memory holds.

    Args:
        path: the picture's file.
        size: its width and height.
        config: how it would be resized.

    Raises:
        PictureError: it would be.
    """
    width, height = prepared_size(size, config)
    if width * height > max(_MOST_PIXELS, size[0] * size[1]):
        raise PictureError(
            f"{path} is so narrow ({size[0]}×{size[1]}) that it would be enlarged to "
            f"{width}×{height} pixels; leave it out, or crop it."
        )


def prepare(image: Image.Image, config: DataConfig) -> Pixels:
    """Resize a picture: the part of its way without chance; (H,W,C) bytes."""
    size = prepared_size(image.size, config)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def draw(pixels: Pixels, config: DataConfig, rng: random.Random) -> Tensor:
    """Crop and flip at random; (H,W,C) bytes -> (C,H,W) float32 in [0,1]."""
    if config.crops:
        side = config.crop_size
        if config.scales > 1:  # as many below the middle of the range of sizes as above, in octaves
            largest = min(config.scales, min(pixels.shape[:2]) / side)
            side = round(side * largest ** rng.random())
        top = rng.randint(0, pixels.shape[0] - side)
        left = rng.randint(0, pixels.shape[1] - side)
        pixels = pixels[top : top + side, left : left + side]
        if side != config.crop_size:
            pixels = _resize(pixels, config.crop_size)
    if config.flip and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div_(255)


def _resize(pixels: Pixels, side: int) -> Pixels:
    """(H,W,C) bytes -> (side,side,C), by Pillow's bicubic, which averages when it makes smaller."""
    is_grey = pixels.shape[2] == 1
    image = Image.fromarray(pixels[..., 0] if is_grey else pixels)
    resized = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    return resized[..., None] if is_grey else resized


def _short_side_to(target: int, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height with the short side `target`; the long one rounded down, as torchvision."""
    short, long = sorted(size)
    new_long = int(target * long / short)
    return (target, new_long) if size[0] == short else (new_long, target)
