"""The segmentation score: does a segmenter see in a translation what should be there?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Segmenter = Callable[[Tensor], Tensor]
"""(B,3,H,W) in [0,1] -> class of each pixel, (B,H,W), whole numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmentation:
    """How to score translations in the spirit of the paper's FCN score (Zhu et al. 2017, 5.1.1)."""

    segmenter: Segmenter
    """Looks at the translation."""
    num_classes: int
    """Classes are 0 to `num_classes` - 1; pixels whose truth is anything else do not count."""
    truth: Segmenter | None = None
    """What the classes of the true partner are, from its pixels: by default what the segmenter
    says of it."""
    direction: str = "b_to_a"
    """The direction that is scored; the paper's is from label maps to photographs."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1; got {self.num_classes}.")
        if self.direction not in ("a_to_b", "b_to_a"):
            raise ValueError(f"direction must be a_to_b or b_to_a; got {self.direction!r}.")


class ConfusionCounts:
    """How many pixels of each true class were taken for each class."""

    def __init__(self, num_classes: int) -> None:
        self.table = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        """Rows are true classes, columns predicted ones."""

    def add(self, predicted: Tensor, truth: Tensor) -> None:
        """Count the pixels of two label maps of one shape.

        Raises:
            ValueError: the shapes differ, or a predicted class does not exist.
        """
        num = len(self.table)
        predicted, truth = predicted.cpu().long(), truth.cpu().long()
        if predicted.shape != truth.shape:
            raise ValueError(
                f"the segmenter gave labels of shape {tuple(predicted.shape)} where the truth has "
                f"{tuple(truth.shape)}."
            )
        counted = (truth >= 0) & (truth < num)
        pairs = predicted[counted]
        if len(pairs) and not 0 <= int(pairs.min()) <= int(pairs.max()) < num:
            raise ValueError(
                f"the segmenter gave classes from {int(pairs.min())} to {int(pairs.max())}; "
                f"they must lie between 0 and {num - 1}."
            )
        index = truth[counted] * num + pairs
        self.table += torch.bincount(index, minlength=num * num).view(num, num)

    def scores(self) -> dict[str, float]:
        """Pixel accuracy; accuracy and intersection over union, as means over classes.

        A class that no true pixel has does not enter the class accuracy, and one that nothing
        was taken for either does not enter the IoU. Not a number if nothing was counted.
        """
        table = self.table.double()
        hits, true, predicted = table.diag(), table.sum(1), table.sum(0)
        union = true + predicted - hits
        return {
            "pixel accuracy": float(hits.sum() / true.sum()),
            "class accuracy": float((hits / true)[true > 0].mean()),
            "class IoU": float((hits / union)[union > 0].mean()),
        }
