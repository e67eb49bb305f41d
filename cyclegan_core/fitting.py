"""What stands between any pictures and a network: channels, sizes, mode and precision."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor, nn

from .errors import CycleGANError

_LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights, the ones Pillow uses for its mode "L"."""


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Grey (B,1,H,W) and RGB (B,3,H,W) into each other; anything else must fit already.

    Raises:
        CycleGANError: they are grey or RGB, and the model takes neither.
        ValueError: they are neither, and not what the model takes.
    """
    match images.shape[1], channels:
        case given, wanted if given == wanted:
            return images
        case 3, 1:
            return (images * images.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
        case 1, 3:
            return images.expand(-1, 3, -1, -1)
        case ((1 | 3), wanted):
            raise CycleGANError(
                f"The model takes pictures of {wanted} channels, not grey or RGB ones; "
                "choose another model."
            )
        case given, wanted:
            raise ValueError(f"this model takes {wanted}-channel pictures; got {given} channels.")


def check_files_fit(name: str, channels: tuple[int, int]) -> None:
    """Make sure that a model's pictures can be files.

    Args:
        name: of the model, for the message.
        channels: of what it takes and of what it makes.

    Raises:
        CycleGANError: either is neither grey nor RGB.
    """
    if not set(channels) <= {1, 3}:
        raise CycleGANError(
            f"{name} makes pictures of {channels[1]} channels from {channels[0]}, and files are "
            "grey (1) or RGB (3); choose another model."
        )


def pad(images: Tensor, multiple: int, least: int) -> Tensor:
    """Grow right and bottom to a multiple and a least size; the caller crops it away again.

    Mirrors as long as there is something to mirror, then repeats the edge (a 1-pixel picture
    has nothing to mirror).
    """
    height, width = images.shape[-2:]
    down = max(-(-height // multiple) * multiple, least) - height
    right = max(-(-width // multiple) * multiple, least) - width
    if down == 0 and right == 0:
        return images
    mirrored = (0, min(right, width - 1), 0, min(down, height - 1))
    images = F.pad(images, mirrored, mode="reflect")
    return F.pad(images, (0, right - mirrored[1], 0, down - mirrored[3]), mode="replicate")


@contextmanager
def eval_mode(network: nn.Module) -> Generator[None]:
    """Translate without dropout, whatever mode the network is in, and leave it as found."""
    were_training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in were_training:
            module.training = True
