"""Layout of pictures: the host's (B,H,W,C) and the core's (B,C,H,W)."""

from __future__ import annotations

import comfy.model_management as mm
import torch
from torch import Tensor


def to_bchw(image: Tensor) -> tuple[Tensor, Tensor | None]:
    """IMAGE (B,H,W,C) of any float type -> (B,C,H,W) float32 in [0,1], alpha (B,1,H,W) or None.

    They are views where nothing has to be changed: a video is not copied.
    """
    pixels = image.movedim(-1, 1).float()
    # Of the host's layout: `aminmax` would copy any other.
    low, high = torch.aminmax(image) if image.numel() else (image.new_zeros(()),) * 2
    if low < 0 or high > 1:
        pixels = pixels.clamp(0, 1)
    if pixels.shape[1] in (2, 4):
        return pixels[:, :-1], pixels[:, -1:]
    return pixels, None


def to_bhwc(pixels: Tensor, alpha: Tensor | None = None) -> Tensor:
    """(B,C,H,W) in [0,1], grey or RGB -> IMAGE with RGB or RGBA where and how the host keeps it."""
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    if alpha is not None:
        pixels = torch.cat([pixels, alpha.to(pixels)], dim=1)
    image = pixels.movedim(1, -1).contiguous().to(mm.intermediate_device())
    intermediate_dtype = getattr(mm, "intermediate_dtype", None)  # newer hosts
    return image.to(intermediate_dtype()) if intermediate_dtype else image


def mask_to_b1hw(mask: Tensor, like: Tensor) -> Tensor:
    """MASK (B,H,W) or (H,W) of any size -> (1 or B,1,H,W) with the size and device of `like`."""
    mask = mask.reshape(-1, 1, *mask.shape[-2:]).to(like).clamp(0, 1)
    if mask.shape[0] not in (1, like.shape[0]):
        raise ValueError(
            f"The mask has {mask.shape[0]} frames and the image {like.shape[0]}; connect one mask "
            "for all frames, or one per frame."
        )
    if mask.shape[-2:] == like.shape[-2:]:
        return mask
    return torch.nn.functional.interpolate(mask, like.shape[-2:], mode="bilinear")
