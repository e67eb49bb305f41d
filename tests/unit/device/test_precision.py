"""The fastest number format: what was measured decides."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from cyclegan_core.device import precision
from cyclegan_core.device.precision import fastest_dtype

CPU = torch.device("cpu")


@pytest.fixture
def _unmeasured() -> None:
    fastest_dtype.cache_clear()


@pytest.mark.usefixtures("_unmeasured")
def test_it_is_measured_once_and_told(caplog) -> None:
    with caplog.at_level(logging.INFO):
        chosen = fastest_dtype(CPU)
        assert fastest_dtype(CPU) is chosen
    assert chosen in (torch.float32, torch.bfloat16)
    (record,) = caplog.records
    assert record.getMessage().startswith("cpu: bf16 is ")
    assert record.getMessage().endswith(f"auto takes {precision.NAMES[chosen]}.")


@pytest.mark.usefixtures("_unmeasured")
@pytest.mark.parametrize(("ratio", "chosen"), [(1.39, torch.float32), (1.41, torch.bfloat16)])
def test_half_precision_must_be_clearly_faster(ratio: float, chosen, monkeypatch) -> None:
    monkeypatch.setattr(precision, "_times_as_fast", lambda *_: ratio)
    assert fastest_dtype(CPU) == chosen
    fastest_dtype.cache_clear()  # the next test shall not get this


def test_the_measurement_leaves_nothing_behind() -> None:
    threads, rng = torch.get_num_threads(), torch.get_rng_state()
    assert 0 < precision._times_as_fast(CPU, torch.bfloat16) < 100
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), rng)


def test_the_measurement_is_for_its_own_thread_alone() -> None:
    """One that begins to use torch meanwhile gets as many threads as ever, and keeps them."""
    before = torch.get_num_threads()
    with precision._one_thread(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before
        if sys.platform == "linux":
            assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_device_without_half_precision_is_not_measured() -> None:
    assert fastest_dtype(torch.device("meta")) == torch.float32
