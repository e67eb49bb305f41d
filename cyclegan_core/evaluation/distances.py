"""Distances between sets of features, between pictures by their feature maps, and by pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, normalize

from ..pixels import LUMA
from .extractors import LiteExtractor, load_extra

_LEAST_SIDE = 64
"""Pixels that a picture's short side is brought to before `perceptual_distance`: at a sixteenth
of the size there is then more than a single place."""


def kernel_distance(
    features: Tensor, reference: Tensor, *, subset_size: int, num_subsets: int, seed: int
) -> tuple[float, float | None]:
    """The kernel distance of two sets (KID, Binkowski et al. 2018); 0 for sets alike.

    The unbiased squared maximum mean discrepancy with the kernel (x·y/F + 1)³, over random
    subsets; the same seed draws the same members whatever the features are.

    Args:
        features: (N,F).
        reference: (M,F).
        subset_size: members drawn from each set, without repetition; at most N and M.
        num_subsets: how often they are drawn.
        seed: of the draws.

    Returns:
        Mean and standard deviation over the subsets. Where a subset is most of a set, the draws
        differ less than the value is sure; None where every draw is the whole of both sets.
    """
    is_whole = subset_size == len(features) == len(reference)
    generator = torch.Generator().manual_seed(seed)
    values: list[Tensor] = []
    for _ in range(1 if is_whole else num_subsets):
        x = features[torch.randperm(len(features), generator=generator)[:subset_size]]
        y = reference[torch.randperm(len(reference), generator=generator)[:subset_size]]
        k_xx, k_yy, k_xy = _kernel(x, x), _kernel(y, y), _kernel(x, y)
        # Without the diagonal, a member compared with itself, the estimate is unbiased.
        within = k_xx.sum() - k_xx.trace() + k_yy.sum() - k_yy.trace()
        values.append(within / (subset_size * (subset_size - 1)) - 2 * k_xy.mean())
    table = torch.stack(values)
    return float(table.mean()), None if is_whole else float(table.std(correction=0))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """The Fréchet distance of two sets (FID, Heusel et al. 2017); 0 for sets alike.

    |μ₁-μ₂|² + tr(Σ₁) + tr(Σ₂) - 2 tr((Σ₁Σ₂)^½). With centred data X (N,F), Σ = XᵀX/(N-1), the
    last trace is the sum of the singular values of X₁X₂ᵀ, over the root of both counts: exact
    also for fewer pictures than features, where a root of Σ₁Σ₂ is not.

    Args:
        features: (N,F) with N ≥ 2.
        reference: (M,F) with M ≥ 2.
    """
    means, roots = [], []
    for x in (features, reference):
        means.append(x.mean(0))
        centred = (x - means[-1]) / (len(x) - 1) ** 0.5
        # R of the QR decomposition has the same covariance in F rows.
        roots.append(torch.linalg.qr(centred, mode="r").R if len(x) > x.shape[1] else centred)
    traces = sum(float(root.square().sum()) for root in roots)
    common = float(torch.linalg.svdvals(roots[0] @ roots[1].T).sum())
    return float((means[0] - means[1]).square().sum()) + traces - 2 * common


def perceptual_distance(network: LiteExtractor, picture: Tensor, other: Tensor) -> float:
    """How different two pictures look, summed over four stages of a network; 0 if they are equal.

    In each stage the feature vector at each place is brought to length 1; the squared length of
    the difference, from 0 to 4, is averaged over places (Zhang et al. 2018, without learned
    weights). Pictures keep their size, but a short side below 64 pixels is enlarged to 64.

    Args:
        network: Lite0, whose stages the distance is named after.
        picture: (3,H,W) in [0,1].
        other: (3,H,W) in [0,1].
    """
    pair = torch.stack([picture, other])
    height, width = pair.shape[-2:]
    if min(height, width) < _LEAST_SIDE:
        factor = _LEAST_SIDE / min(height, width)
        size = (round(height * factor), round(width * factor))
        pair = interpolate(pair, size, mode="bicubic", antialias=True).clamp(0, 1)
    return _distance(network.stages(pair))


def _distance(stages: Sequence[Tensor]) -> float:
    total = 0.0
    for maps in stages:
        unit = normalize(maps.cpu().double(), dim=1)  # some GPUs have no float64
        total += float((unit[0] - unit[1]).square().sum(0).mean())
    return total


LEAST_SIDE = 11
"""Pixels each way: the window of SSIM has to fit into the picture."""


_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def pair_scores(picture: Tensor, partner: Tensor) -> dict[str, float]:
    """PSNR in decibels, SSIM and L1 of two pictures (3,H,W) in [0,1].

    SSIM is torchmetrics', with the usual Gaussian window (11 pixels, σ 1.5). L1 is the mean
    absolute difference, where white is 1. The PSNR of equal pictures is infinite.

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
    """Peak signal to noise in decibels of two pictures of equal shape in [0,1]."""
    error = float((picture - other).square().mean(dtype=torch.float64))
    return -10 * math.log10(error) if error else math.inf


def fine_detail(picture: Tensor) -> float:
    """Mean absolute Laplacian of the grey picture, in levels of 255: how much it is sharp or noisy.

    Smudges and smooth pictures have little; a translation should have about what real pictures
    of its target have. `picture` is (3,H,W) in [0,1]; one with a side below 3 has none.
    """
    if min(picture.shape[-2:]) < 3:
        return 0.0
    grey = (picture * picture.new_tensor(LUMA).view(3, 1, 1)).sum(0)[None, None] * 255
    kernel = picture.new_tensor(_LAPLACIAN)[None, None]
    return float(conv2d(grey, kernel).abs().mean())
