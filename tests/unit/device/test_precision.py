"""The fastest number format: what was measured decides."""

from __future__ import annotations

import logging

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
    threads, dice = torch.get_num_threads(), torch.get_rng_state()
    assert 0 < precision._times_as_fast(CPU, torch.bfloat16) < 100
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), dice)


def test_a_device_without_half_precision_is_not_measured() -> None:
    assert fastest_dtype(torch.device("meta")) == torch.float32
