"""The segmentation score against counts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cyclegan_core.evaluation import Segmentation
from cyclegan_core.evaluation.segmentation import ConfusionCounts


def test_the_scores_are_means_over_classes_that_occur() -> None:
    generator = np.random.default_rng(2)
    truth = generator.integers(0, 4, (2, 9, 8))  # of five classes, the last never occurs
    truth[0, 0, :3] = 255  # unlabelled, as in Cityscapes
    truth[1, 0, 0] = -1
    predicted = np.where(generator.random(truth.shape) < 0.6, truth, 1).clip(0, 4)
    predicted[0, 0, 3] = 4  # and is predicted once
    counts = ConfusionCounts(5)
    for number in range(2):
        counts.add(torch.from_numpy(predicted[number]), torch.from_numpy(truth[number]))

    labelled = (truth >= 0) & (truth < 5)
    accuracies, overlaps = [], []
    for number in range(5):
        true, taken = (truth == number) & labelled, (predicted == number) & labelled
        if true.any():
            accuracies.append((true & taken).sum() / true.sum())
        overlaps.append((true & taken).sum() / (true | taken).sum())
    assert len(accuracies) == 4
    assert counts.scores() == {
        "pixel accuracy": pytest.approx((predicted == truth)[labelled].mean()),
        "class accuracy": pytest.approx(np.mean(accuracies)),
        "class IoU": pytest.approx(np.mean(overlaps)),
    }


def test_without_a_labelled_pixel_there_is_no_score() -> None:
    counts = ConfusionCounts(2)
    counts.add(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 255))
    assert all(math.isnan(value) for value in counts.scores().values())


def test_impossible_labels_are_refused() -> None:
    counts = ConfusionCounts(3)
    with pytest.raises(ValueError, match="classes from 0 to 3; they must lie between 0 and 2"):
        counts.add(torch.tensor([0, 3]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"labels of shape \(2,\) where the truth has \(3,\)"):
        counts.add(torch.tensor([0, 1]), torch.tensor([0, 1, 2]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1; got 0"),
        ({"num_classes": 2, "direction": "there"}, "direction must be a_to_b or b_to_a"),
    ],
)
def test_settings_are_checked(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Segmentation(segmenter=lambda x: x[:, 0], **settings)
