"""A discriminator in feature space: small heads on a frozen ImageNet network.

Sauer et al. 2021 ("Projected GANs converge faster") judge features at several strides by a head
each; what the frozen network knows of pictures, a PatchGAN would first have to learn. Here the
taps can be early blocks, and a PatchGAN may stand beside the heads for detail that ImageNet
classifiers overlook.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..device.precision import at_least_float32
from ..layers import SpectralConv2d
from ..networks import PatchDiscriminator
from .feature_network import BLOCKS, load_feature_network

_FEATURE_SCALE = 1 / 6
"""The deviation of the features of photographs and paintings is 5 to 8 at every block."""

_LEAST_MAP = 4
"""Least side of a feature map, or a head would mostly see its own padding."""


def least_side(taps: Sequence[int]) -> int:
    """The least side in pixels of pictures whose features can be judged at these blocks."""
    return _LEAST_MAP * BLOCKS[max(taps)].reduction


class FeatureDiscriminator(nn.Module):
    """Heads on blocks of EfficientNet-Lite0, and perhaps a PatchGAN; only these have weights."""

    def __init__(
        self,
        taps: Sequence[int],
        *,
        width: int = 64,
        patch: PatchDiscriminator | None = None,
        patch_weight: float = 1.0,
    ) -> None:
        """Fresh heads of `width` channels on the blocks numbered `taps`, ascending.

        Raises:
            CheckpointError: the frozen network's weights can't be read.
        """
        super().__init__()
        self.taps = tuple(taps)
        self.features = load_feature_network(max(taps) + 1)
        self.heads = nn.ModuleList(
            nn.Sequential(
                SpectralConv2d(BLOCKS[tap].channels, width, 3, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
                SpectralConv2d(width, width, 3, stride=2, padding=1),
                nn.LeakyReLU(0.2, inplace=True),
                SpectralConv2d(width, 1, 1),
            )
            for tap in taps
        )
        self.patch = patch
        self.weights = [1 / len(self.taps)] * len(self.taps)
        """What each map of logits counts for; the heads together count 1."""
        if patch is not None:
            self.weights.append(patch_weight)

    def forward(self, images: Tensor, augmented: Tensor) -> list[Tensor]:
        """Maps of logits (B,1,h,w), one per head and the PatchGAN's.

        `images`, which the PatchGAN sees, and `augmented`, whose features the heads see, are
        (B,C,H,W) in [-1,1] with 1 or 3 channels.
        """
        # Depthwise convolutions are slower in half precision, and cost little beside generators.
        with torch.autocast(augmented.device.type, enabled=False):
            x = at_least_float32(augmented).expand(-1, 3, -1, -1)
            maps = self.features(x.contiguous(memory_format=torch.channels_last), self.taps)
        pairs = zip(self.heads, maps, strict=True)
        logits: list[Tensor] = [head(features * _FEATURE_SCALE) for head, features in pairs]
        return logits if self.patch is None else [*logits, self.patch(images)]
