"""Scores of one picture, or of a pair, by their pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from .extra import load_extra

LEAST_SIDE = 11
"""Pixels each way: the window of SSIM has to fit into the picture."""

_LUMA = (0.299, 0.587, 0.114)
_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def pair_scores(picture: Tensor, partner: Tensor) -> dict[str, float]:
    """PSNR in decibels, SSIM and L1 of two pictures (3,H,W) in [0,1].

    The first two are torchmetrics'; SSIM has the usual Gaussian window (11 pixels, σ 1.5). L1 is
    the mean absolute difference, where white is 1. The PSNR of equal pictures is infinite.

    Raises:
        CycleGANError: torchmetrics is missing.
    """
    metrics = load_extra("torchmetrics.functional.image", "torchmetrics")
    x, y = picture[None], partner[None]
    return {
        "PSNR": psnr(picture, partner),
        "SSIM": float(metrics.structural_similarity_index_measure(x, y, data_range=1.0)),
        "L1": float((picture - partner).abs().mean(dtype=torch.float64)),
    }


def psnr(picture: Tensor, other: Tensor) -> float:
    """Peak signal to noise in decibels of two pictures of equal shape in [0,1]; by torchmetrics."""
    metrics = load_extra("torchmetrics.functional.image", "torchmetrics")
    return float(metrics.peak_signal_noise_ratio(picture, other, data_range=1.0))


def fine_detail(picture: Tensor) -> float:
    """Mean absolute Laplacian of the grey picture, in levels of 255: how much it is sharp or noisy.

    Smudges and smooth pictures have little; a translation should have about what real pictures
    of its target have. `picture` is (3,H,W) in [0,1]; one with a side below 3 has none.
    """
    if min(picture.shape[-2:]) < 3:
        return 0.0
    grey = (picture * picture.new_tensor(_LUMA).view(3, 1, 1)).sum(0)[None, None] * 255
    kernel = picture.new_tensor(_LAPLACIAN)[None, None]
    return float(conv2d(grey, kernel).abs().mean())
