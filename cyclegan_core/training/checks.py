"""What is checked before a training, so that it stops before harm is done."""

from __future__ import annotations

import torch

from ..config import TrainConfig
from ..data.unpaired_folders import UnpairedFolders
from ..device.memory import free_bytes

_BATCHES_AT_A_TIME = 5
"""At least so many lie in memory while one is trained on."""


def check_data(config: TrainConfig, data: UnpairedFolders) -> None:
    """The pictures must fit the networks.

    Raises:
        ValueError: channels or sizes do not fit.
    """
    for name in ("channels_a", "channels_b"):
        pictures, networks = getattr(data.config, name), getattr(config.model, name)
        if pictures != networks:
            raise ValueError(
                f"{name} is {pictures} for the pictures and {networks} for the model; "
                "set both to the same."
            )
    if data.config.crops:
        _check_sides(config, {data.config.crop_size}, "crop_size must be")
        _check_batch(config, data.config.crop_size)
        return
    sizes = frozenset[tuple[int, int]]().union(*data.sample_sizes)
    _check_sides(config, {side for size in sizes for side in size}, "the sides of pictures must be")
    if config.gan_mode == "wgangp" and len(sizes) > 1:
        raise ValueError(
            "gan_mode wgangp mixes real with generated pictures, so all must have one size; "
            f"got {len(sizes)} sizes with preprocess {data.config.preprocess!r}, so choose one "
            "that crops."
        )


def _check_sides(config: TrainConfig, sides: set[int], what: str) -> None:
    multiple, least = config.model.size_multiple, config.model.min_size
    if config.discriminator == "patch":
        # Two last layers of stride 1 take a pixel each, and instance norm needs 2 pixels.
        least = max(least, 3 * 2**config.disc_layers)
    for side in sorted(sides):
        if side % multiple or side < least:
            raise ValueError(
                f"{what} a multiple of {multiple} and at least {least} for these networks; "
                f"got {side}."
            )


def _check_batch(config: TrainConfig, side: int) -> None:
    """Pictures that can't fit would be decoded until the machine stands still."""
    channels = config.model.channels_a + config.model.channels_b
    needed = 4 * _BATCHES_AT_A_TIME * config.batch_size * channels * side**2
    free = free_bytes(torch.device("cpu"))
    if free is not None and needed > free:
        raise ValueError(
            f"batch_size must be smaller: {config.batch_size} pictures of {side} pixels take "
            f"{needed / 1e9:.1f} GB, decoded ahead, and {free / 1e9:.1f} GB are free."
        )
