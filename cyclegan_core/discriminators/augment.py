"""Differentiable augmentation: what discriminators see is changed at random, real or generated.

Zhao et al. 2020: because the change is differentiable and the same for both kinds of pictures, the
generator still learns the true distribution, while the discriminator can't learn the pictures by
heart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..device.precision import at_least_float32

NUM_DRAWS = 5
"""Random numbers per picture: brightness, saturation, contrast, two shifts."""


def augment(images: Tensor, draws: Tensor, *, colour: float, shift: float) -> Tensor:
    """Change brightness, saturation and contrast, then shift; the gap is filled by reflection.

    Args:
        images: (B,C,H,W) in [-1,1].
        draws: (B,NUM_DRAWS) in [0,1); 0.5 changes nothing.
        colour: how strongly: brightness moves by up to this on [-1,1], saturation and contrast are
            multiplied by up to 1 ± this. 0 leaves colours alone.
        shift: the largest shift as a part of the side, at most 0.5; 0 leaves pictures in place.

    Returns:
        The same shape, at least float32; not clipped. `images` themselves if nothing is asked for.
    """
    x = images
    if colour > 0:
        x = at_least_float32(x)
        by = ((draws[:, :3] * 2 - 1) * colour).to(x.dtype)[..., None, None, None]
        x = x + by[:, 0]
        grey = x.mean(dim=1, keepdim=True)
        x = grey + (x - grey) * (1 + by[:, 1])
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = mean + (x - mean) * (1 + by[:, 2])
    if shift > 0:
        for dim, draw in ((2, draws[:, 3]), (3, draws[:, 4])):
            side = x.shape[dim]
            offset = ((draw * 2 - 1) * shift * side).round().to(torch.int64)
            source = (torch.arange(side, device=x.device)[None] + offset[:, None]).abs()
            source = torch.where(source >= side, 2 * (side - 1) - source, source)
            shape = (len(x), 1, side, 1) if dim == 2 else (len(x), 1, 1, side)
            x = x.gather(dim, source.view(shape).expand(x.shape))
    return x
