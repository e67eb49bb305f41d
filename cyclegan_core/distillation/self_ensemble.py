"""A teacher's cleaner output: the median over shifted and mirrored views of the same picture.

Lattices, columns and flecks are locked to a network's grid of strides or come by chance: they
stand elsewhere in every view, while strokes and contents stay. Averaging over mirrored views is the
geometric self-ensemble of Lim et al. 2017 ("Enhanced Deep Residual Networks for Single Image
Super-Resolution"); shifts break the grid, and a median drops outliers instead of dimming them.
"""

import torch
from torch import Tensor
from torch.nn import functional

from ..config import Direction
from ..model import CycleGAN

_STRIDE = 4
"""Pixels after which the grid of a resnet with two strided convolutions repeats."""

_SHIFTS = (0, 10, 5, 15, 2, 8, 7, 13, 3, 9, 6, 12, 1, 11, 4, 14)
"""Places in a square of `_STRIDE` pixels, in rows; any first few lie far apart."""

MAX_VIEWS = 2 * _STRIDE**2
"""Every shift that differs, as it is and mirrored."""

_MARGIN = 8
"""Pixels of repeated border, so that views can be shifted and the picture is far from the edge."""


def translate_views(
    model: CycleGAN,
    pictures: Tensor,
    direction: Direction,
    *,
    views: int,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The median of a model's translations of `views` views; a plain translation for one.

    Args:
        model: any.
        pictures: (B,C,H,W) in [0,1], of any size, on the model's device.
        direction: the way to translate.
        views: 1 to 32; takes that many times as long.
        dtype: of the convolutions, as for `CycleGAN.translate`.

    Returns:
        (B,C',H,W) in [0,1].
    """
    if views == 1:
        return model.translate(pictures, direction, dtype=dtype)
    height, width = pictures.shape[-2:]
    borders = (_MARGIN, _MARGIN + _STRIDE) * 2
    padded = functional.pad(pictures, borders, mode="replicate")  # which any size allows
    outputs: list[Tensor] = []
    for number in range(views):
        down, right = divmod(_SHIFTS[number // 2], _STRIDE)
        rows = slice(down, down + height + 2 * _MARGIN)
        columns = slice(right, right + width + 2 * _MARGIN)
        view = padded[..., rows, columns]
        mirrored = number % 2 == 1
        output = model.translate(view.flip(-1) if mirrored else view, direction, dtype=dtype)
        output = output.flip(-1) if mirrored else output
        top, left = _MARGIN - down, _MARGIN - right
        outputs.append(output[..., top : top + height, left : left + width])
    ordered = torch.stack(outputs).sort(0).values
    return (ordered[(views - 1) // 2] + ordered[views // 2]) / 2
