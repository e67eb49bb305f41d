"""The history of generated pictures that the discriminators see (Shrivastava et al. 2017)."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor


class ImagePool:
    """Up to `size` earlier fakes; half of what goes in comes out, half is exchanged for old ones.

    Per picture, in order: while the pool is not full, the picture is stored and shown, and
    nothing is drawn. Then u = uniform(0,1) is drawn; if u > 0.5, a slot is drawn, its picture is
    shown and the new one stored there; else the new one is shown. Size 0 passes through.

    The host decides which picture goes where, `decide`; then the device does it without asking
    back, `show` and `keep`. Pictures of one size lie in one tensor; once there are several sizes
    they lie in a list, and the host has to wait for the device.
    """

    def __init__(self, size: int, rng: random.Random) -> None:
        self.size = size
        self.rng = rng
        self.count = 0
        """Slots in use, those of pictures that are decided on but not kept yet included."""
        # One tensor has a row more than there are slots, for pictures that stay nowhere.
        self._stored: Tensor | list[Tensor] | None = None

    @property
    def images(self) -> list[Tensor]:
        """What is stored, (C,H,W) each; changing one changes the pool."""
        stored = self._stored
        return [] if stored is None else [stored[slot] for slot in range(self.count)]

    @images.setter
    def images(self, images: Sequence[Tensor]) -> None:
        self.count, self._stored = len(images), list(images)
        if len({image.shape for image in images}) == 1:
            self._stored = _new_rows(self.size, images[0])
            self._stored[: len(images)] = torch.stack(list(images))
        elif not images:
            self._stored = None

    def decide(self, count: int) -> Tensor:
        """Draw what happens to the next `count` pictures, in order.

        Returns:
            (2,count) int64: which picture is shown instead of each, a slot of before or `size` + i
            for picture i of these; and the slot where each stays, or `size` for nowhere.
        """
        shown, slots = list(range(self.size, self.size + count)), [self.size] * count
        holder: dict[int, int] = {}
        """Slot -> the picture of these that was put there last."""
        for number in range(count if self.size > 0 else 0):
            if self.count < self.size:
                slot = self.count
                self.count += 1
            elif self.rng.uniform(0, 1) > 0.5:
                slot = self.rng.randint(0, self.size - 1)
                shown[number] = self.size + holder[slot] if slot in holder else slot
            else:
                continue
            holder[slot] = number
        for slot, number in holder.items():
            slots[number] = slot
        return torch.tensor([shown, slots])

    def show(self, images: Tensor, exchange: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C,H,W) without gradient, by the first row of `exchange`."""
        images = images.detach()
        if self.size == 0:
            return images
        if self._stored is None:
            self._stored = _new_rows(self.size, images[0])
        elif isinstance(self._stored, Tensor) and self._stored.shape[1:] != images.shape[1:]:
            self._stored = [row.clone() for row in self._stored[: self.size]]
        shown, stored = exchange[0], self._stored
        if isinstance(stored, list):
            numbers: list[int] = shown.tolist()
            pick = (stored[n] if n < self.size else images[n - self.size] for n in numbers)
            return torch.stack(list(pick))
        old = stored.index_select(0, shown.clamp(max=self.size))
        new = images.index_select(0, (shown - self.size).clamp(min=0))
        return torch.where((shown < self.size)[:, None, None, None], old, new)

    def keep(self, images: Tensor, exchange: Tensor, *, sound: Tensor) -> None:
        """Store copies by the second row of `exchange`, unless `sound`, a boolean, is false.

        To be called after `show` with the same pictures.
        """
        slots, stored = exchange[1], self._stored
        if isinstance(stored, Tensor):
            stored.index_copy_(0, torch.where(sound, slots, self.size), images.detach())
        elif stored is not None and bool(sound):
            numbers: list[int] = slots.tolist()
            for slot, image in zip(numbers, images.detach(), strict=True):
                if slot == len(stored):
                    stored.append(image.clone())  # a view would keep its whole batch alive
                elif slot < self.size:
                    stored[slot] = image.clone()


def _new_rows(size: int, image: Tensor) -> Tensor:
    return image.new_zeros(size + 1, *image.shape)
