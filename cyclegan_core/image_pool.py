"""The history of generated pictures that the discriminators see (Shrivastava et al. 2017)."""

from __future__ import annotations

import random

import torch
from torch import Tensor


class ImagePool:
    """Up to `size` earlier fakes; half of what goes in comes out, half is exchanged for old ones.

    Per picture, in order: while the pool is not full, the picture is stored and returned, and
    nothing is drawn. Then u = uniform(0,1) is drawn; if u > 0.5, a slot is drawn, its picture is
    returned and the new one stored there; else the new one is returned. Size 0 passes through.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self.size = size
        self.rng = rng
        self.images: list[Tensor] = []
        """Up to `size` of (C,H,W), whose sizes may differ, on the device they came on."""

    def query(self, images: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H,W) without gradient."""
        images = images.detach()
        if self.size == 0:
            return images
        return torch.stack([self._exchange(image) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())  # a view would keep its whole batch alive
            return image
        if self.rng.uniform(0, 1) > 0.5:
            slot = self.rng.randint(0, self.size - 1)
            old, self.images[slot] = self.images[slot], image.clone()
            return old
        return image
