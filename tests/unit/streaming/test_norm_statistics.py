"""Statistics of maps seen in strips, against NumPy's of the whole map in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cyclegan_core.layers import BatchNorm, InstanceNorm
from cyclegan_core.streaming import norm_statistics as moments
from cyclegan_core.streaming.norm_statistics import Moments, fixed_affine

from ..checkpoint.foreign import scramble


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(
    seed=st.integers(0, 2**20),
    channels=st.integers(1, 5),
    width=st.integers(1, 40),
    strips=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    mean=st.sampled_from([0.0, 1.0, 1e4]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    chunk=st.sampled_from([8, 64, 2**17]),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_merged_like_numpy(seed, channels, width, strips, mean, dtype, chunk) -> None:
    x = (numbers(seed, 1, channels, sum(strips), width) + mean).to(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(moments._CHUNK, "cpu", chunk)  # several merges within a strip, too
        ours = Moments(channels, x.device)
        for strip in x.split(strips, 2):
            ours.update(strip.contiguous(memory_format=torch.channels_last))
    array = x[0].double().numpy().reshape(channels, -1)
    assert ours.count == array.shape[1]
    # float64's 1.1e-16, times what a mean of 1e4 costs the differences from it.
    np.testing.assert_allclose(ours.mean.numpy(), array.mean(1), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(ours.variance.numpy(), array.var(1), rtol=1e-9, atol=1e-14)


def test_a_strip_is_left_as_it_is() -> None:
    x = numbers(0, 1, 2, 3, 4).double()
    before = x.clone()
    Moments(2, x.device).update(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("affine", [False, True])
def test_an_instance_norm_written_out(affine) -> None:
    norm = scramble(InstanceNorm(3, affine=affine))
    x = numbers(1, 1, 3, 6, 5).double() * 3 + 1
    ours = Moments(3, x.device)
    ours.update(x)
    result = ours.affine(norm, x)
    assert result.is_finite
    wanted = norm.double()(x)
    # float64 on both sides, summed in another order.
    torch.testing.assert_close(x * result.scale + result.shift, wanted, rtol=0, atol=1e-12)


def test_a_batch_norm_written_out() -> None:
    norm = scramble(BatchNorm(3))
    x = numbers(1, 1, 3, 6, 5).double()
    result = fixed_affine(norm, x)
    wanted = norm.double()(x)
    torch.testing.assert_close(x * result.scale + result.shift, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_shows(bad: float) -> None:
    x = numbers(2, 1, 2, 3, 3)
    x[0, 1, 2, 2] = bad
    ours = Moments(2, x.device)
    ours.update(x)
    assert not ours.affine(InstanceNorm(2), x).is_finite
