"""KID, FID and the perceptual distance against formulas written out, and against torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from cyclegan_core.evaluation.distances import (
    frechet_distance,
    kernel_distance,
    perceptual_distance,
)
from cyclegan_core.evaluation.extractors import LiteExtractor

from .samples import PHOTOGRAPH


def gaussian(count, features, *, seed, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, features, generator=generator, dtype=torch.float64) + shift


def kid_in_words(x, y):
    """The unbiased estimate of Binkowski et al. 2018, eq. 4, one pair of pictures at a time."""
    m, n, size = len(x), len(y), x.shape[1]

    def kernel(u, v):
        return (float(u @ v) / size + 1) ** 3

    within_x = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j)
    within_y = sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    between = sum(kernel(u, v) for u in x for v in y)
    return within_x / (m * (m - 1)) + within_y / (n * (n - 1)) - 2 * between / (m * n)


def test_kid_of_whole_sets_is_the_formula() -> None:
    x, y = gaussian(9, 5, seed=1), gaussian(9, 5, seed=2, shift=0.7)
    mean, spread = kernel_distance(x, y, subset_size=9, num_subsets=3, seed=0)
    assert mean == pytest.approx(kid_in_words(x.numpy(), y.numpy()), rel=1e-12)
    assert spread is None  # every subset is the whole set


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
def test_kid_and_fid_are_torchmetrics() -> None:
    # torchmetrics.image names them only where torch-fidelity is installed.
    kid_module = pytest.importorskip("torchmetrics.image.kid")
    fid_module = pytest.importorskip("torchmetrics.image.fid")
    x, y = gaussian(40, 6, seed=3), gaussian(40, 6, seed=4, shift=0.5)
    kid = kid_module.KernelInceptionDistance(torch.nn.Identity(), subsets=1, subset_size=40)
    kid.update(x, real=True)
    kid.update(y, real=False)
    ours, _ = kernel_distance(x, y, subset_size=40, num_subsets=1, seed=0)
    assert ours == pytest.approx(float(kid.compute()[0]), rel=1e-9)

    identity = torch.nn.Identity()
    identity.num_features = 6
    fid = fid_module.FrechetInceptionDistance(identity).set_dtype(torch.float64)
    fid.update(x, real=True)
    fid.update(y, real=False)
    # Theirs takes the covariance from sums of squares, which costs some digits.
    assert frechet_distance(x, y) == pytest.approx(float(fid.compute()), rel=1e-6)


def test_kid_draws_by_its_seed_alone() -> None:
    x, y = gaussian(30, 4, seed=5), gaussian(25, 4, seed=6, shift=1.0)
    state = torch.get_rng_state()
    settings = {"subset_size": 12, "num_subsets": 40}
    first = kernel_distance(x, y, seed=7, **settings)
    assert kernel_distance(x, y, seed=7, **settings) == first
    assert kernel_distance(x, y, seed=8, **settings) != first
    assert torch.equal(torch.get_rng_state(), state)
    whole = kid_in_words(x.numpy(), y.numpy())
    # Unbiased: the mean lies within three standard errors of the whole sets' value, where
    # overlapping subsets make the error at most the spread of one.
    assert abs(first[0] - whole) < first[1]


@pytest.mark.parametrize(("n", "m"), [(50, 40), (5, 40), (4, 6)])
def test_fid_is_the_formula(n: int, m: int) -> None:
    """Also for fewer pictures than features."""
    x, y = gaussian(n, 8, seed=9), 2 * gaussian(m, 8, seed=10) + 1
    a, b = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    values, vectors = np.linalg.eigh(a)
    root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    common = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    means = ((x.mean(0) - y.mean(0)) ** 2).sum().item()
    expected = means + np.trace(a) + np.trace(b) - 2 * common
    # Roots of eigenvalues that are 0 but for rounding: 1e-16 ** 0.5, some of them.
    assert frechet_distance(x, y) == pytest.approx(expected, abs=1e-6)


def test_fid_is_scipys() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    x, y = gaussian(60, 7, seed=11), gaussian(70, 7, seed=12, shift=0.3)
    a, b = np.cov(x.numpy(), rowvar=False), np.cov(y.numpy(), rowvar=False)
    common = np.trace(linalg.sqrtm(a @ b)).real
    means = ((x.mean(0) - y.mean(0)) ** 2).sum().item()
    expected = means + np.trace(a) + np.trace(b) - 2 * common
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)


def test_sets_alike_are_at_distance_nothing() -> None:
    x = gaussian(20, 5, seed=13)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-10)
    # Unbiased: below zero by the diagonal that the estimate within a set leaves out.
    assert kernel_distance(x, x, subset_size=20, num_subsets=1, seed=0)[0] < 0


# --- perceptual ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lite() -> LiteExtractor:
    return LiteExtractor(0)


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    return Image.open(PHOTOGRAPH).convert("RGB").resize((160, 120))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


def test_the_perceptual_distance_is_its_formula(lite, photograph) -> None:
    one, other = tensor(photograph), tensor(photograph.filter(ImageFilter.GaussianBlur(2)))
    expected = 0.0
    sizes = []
    for maps in lite.stages(torch.stack([one, other])):
        a, b = maps.double().numpy()
        a, b = (m / np.sqrt((m**2).sum(0)) for m in (a, b))
        expected += ((a - b) ** 2).sum(0).mean()
        sizes.append(a.shape)
    assert sizes == [(16, 60, 80), (24, 30, 40), (40, 15, 20), (112, 7, 10)]
    assert perceptual_distance(lite, one, other) == pytest.approx(expected, rel=1e-6)
    assert perceptual_distance(lite, other, one) == pytest.approx(expected, rel=1e-6)
    assert perceptual_distance(lite, one, one) == 0


def test_the_perceptual_distance_grows_with_blur_and_noise(lite, photograph) -> None:
    real = tensor(photograph)
    blurred = [tensor(photograph.filter(ImageFilter.GaussianBlur(r))) for r in (0.5, 1, 2, 4, 8)]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
    noisy = [(real + level * noise).clamp(0, 1) for level in (0.01, 0.03, 0.1, 0.3)]
    for worse_and_worse in (blurred, noisy):
        found = [perceptual_distance(lite, picture, real) for picture in worse_and_worse]
        assert found == sorted(found)
        assert 0 < found[0] < found[-1] / 4


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 7)])
def test_small_pictures_have_a_perceptual_distance_too(lite, size) -> None:
    one, other = torch.zeros(3, *size), torch.ones(3, *size)
    assert perceptual_distance(lite, one, other) > 0.1
