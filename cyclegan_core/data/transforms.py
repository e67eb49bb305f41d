"""From a decoded picture to the training crop: the settings, and the arithmetic behind them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..validation import check_int

Preprocess = Literal[
    "resize_and_crop", "square_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"
]
"""How a picture becomes a training sample; every resize is Pillow's bicubic.

- `resize_and_crop`: the short side to `load_size`, the aspect kept; then a random crop.
- `square_and_crop`: to `load_size` × `load_size`, the aspect squashed, as the original
  implementation does (there it is called "resize_and_crop"); then a random crop.
- `crop`: a random crop of the picture as it is.
- `scale_width`: the width to `load_size`; the height follows but is at least `crop_size`.
- `scale_width_and_crop`: the same, then a random crop.
- `none`: whole pictures, each side rounded to a multiple of 4.
"""

Pairing = Literal["random", "paired"]
"""A random partner from B for each picture of A, or the one with the same index."""

Pixels = npt.NDArray[np.uint8]
"""(H,W,C), 8 bits per sample."""

_RESIZE_THEN_CROP = ("resize_and_crop", "square_and_crop", "scale_width_and_crop")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataConfig:
    """How two folders become training samples."""

    load_size: int = 286
    """Pixels that the modes with a resize bring the picture to, before the crop."""
    crop_size: int = 256
    """Side in pixels of the square that is cut out at random."""
    preprocess: Preprocess = "resize_and_crop"
    """Resize and crop: resize_and_crop keeps the aspect, square_and_crop is the original's."""
    flip: bool = True
    """Mirror every second picture, at random."""
    pairing: Pairing = "random"
    """A random partner from B for each picture of A, or the one with the same index."""
    max_images: int | None = None
    """Use only the first so many pictures of each folder, in sorted order; all if not given."""
    channels_a: int = 3
    """Channels of domain A's pictures: 3 for RGB, 1 for grey."""
    channels_b: int = 3
    """Channels of domain B's pictures."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour (red, green, blue; 0 to 255) behind transparent parts."""
    cache_bytes: int = 2**31
    """Keep the decoded pictures in memory if both folders together need no more than this."""

    def __post_init__(self) -> None:
        _check_choice("preprocess", self.preprocess, get_args(Preprocess))
        _check_choice("pairing", self.pairing, get_args(Pairing))
        for name in ("load_size", "crop_size"):
            check_int(name, getattr(self, name), least=1)
        check_int("cache_bytes", self.cache_bytes, least=0)
        if self.max_images is not None:
            check_int("max_images", self.max_images, least=2)
        for name in ("channels_a", "channels_b"):
            if getattr(self, name) not in (1, 3):
                raise ValueError(
                    f"{name} must be 3 (RGB) or 1 (grey); got {getattr(self, name)!r}."
                )
        if self.preprocess in _RESIZE_THEN_CROP and self.load_size < self.crop_size:
            raise ValueError(
                f"load_size must be at least crop_size; got {self.load_size} and {self.crop_size}."
            )
        _check_colour("background", self.background)

    @property
    def crops(self) -> bool:
        """Whether every sample is a square of `crop_size`."""
        return "crop" in self.preprocess


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


def prepare(image: Image.Image, config: DataConfig) -> Pixels:
    """The part without chance: resize, as bytes."""
    size = prepared_size(image.size, config)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def draw(pixels: Pixels, config: DataConfig, rng: random.Random) -> Tensor:
    """The part with chance: crop and flip; (H,W,C) bytes -> (C,H,W) float32 in [0,1]."""
    if config.crops:
        side = config.crop_size
        top = rng.randint(0, pixels.shape[0] - side)
        left = rng.randint(0, pixels.shape[1] - side)
        pixels = pixels[top : top + side, left : left + side]
    if config.flip and rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div_(255)


def _short_side_to(target: int, size: tuple[int, int]) -> tuple[int, int]:
    """Keep the aspect; the long side is rounded down, as torchvision does."""
    short, long = sorted(size)
    new_long = int(target * long / short)
    return (target, new_long) if size[0] == short else (new_long, target)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")


def _check_colour(name: str, value: Any) -> None:  # noqa: ANN401 - it comes from outside
    if not (
        isinstance(value, tuple)
        and len(value) == 3
        and all(isinstance(sample, int) and 0 <= sample <= 255 for sample in value)
    ):
        raise ValueError(f"{name} must be a tuple of three numbers from 0 to 255; got {value!r}.")
