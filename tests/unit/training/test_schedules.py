"""Learning-rate schedules against their closed forms."""

from __future__ import annotations

import math

import pytest

from cyclegan_core.training.optimiser import lr_multiplier

from ..tiny import make_config, parity

linear_multiplier = parity("plain_training").linear_multiplier

EPOCH = 7
"""Steps per epoch in these tests."""


def rates(num_epochs: int = 200, **settings) -> list[float]:
    """The multiplier of every step."""
    config = make_config(max_steps=num_epochs * EPOCH, **settings)
    return [lr_multiplier(config, step, EPOCH) for step in range(config.max_steps)]


def test_linear_is_the_papers_in_every_epoch():
    found = rates()
    for step, rate in enumerate(found):
        assert rate == pytest.approx(linear_multiplier(step // EPOCH + 1), rel=1e-12)
    assert found[: 100 * EPOCH] == [1.0] * (100 * EPOCH)
    # reference.md, section 1: 1.98e-6 in epoch 200, never 0.
    assert 2e-4 * found[-1] == pytest.approx(1.98e-6, rel=1e-3)
    assert found[-1] == found[-EPOCH] > 0


def test_the_rate_changes_at_the_start_of_an_epoch():
    found = rates()
    changes = [step for step in range(1, len(found)) if found[step] != found[step - 1]]
    assert changes == [epoch * EPOCH for epoch in range(100, 200)]


def test_linear_with_other_parts():
    found = rates(30, constant_fraction=0.2, lr_interval=EPOCH)
    for step, rate in enumerate(found):
        assert rate == pytest.approx(linear_multiplier(step // EPOCH + 1, 6, 24), rel=1e-12)
    falling = rates(10, constant_fraction=0.0, lr_interval=EPOCH)
    assert falling[0] == pytest.approx(10 / 11)
    assert rates(10, constant_fraction=1.0, lr_interval=EPOCH) == [1.0] * (10 * EPOCH)


def test_cosine_ends_low_and_never_climbs():
    found = rates(schedule="cosine")
    for step, rate in enumerate(found):
        part = max(0, step // EPOCH + 1 - 100) / 101
        assert rate == pytest.approx((1 + math.cos(math.pi * part)) / 2, abs=1e-12)
    assert found == sorted(found, reverse=True)
    assert 0 < found[-1] < 1e-3


def test_step_divides_by_ten():
    found = rates(200, schedule="step", step_epochs=50)
    assert found[:: 50 * EPOCH] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert found[50 * EPOCH - 1] == 1.0


def test_constant():
    assert set(rates(3, schedule="constant")) == {1.0}


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("num_steps", [2, 3, 10, 199, 200, 201, 399, 1000])
def test_short_runs_fall_too(schedule, num_steps):
    """A training within the first epoch of a large folder: in 200 parts, or step by step."""
    config = make_config(max_steps=num_steps, schedule=schedule)
    found = [lr_multiplier(config, step, 100_000) for step in range(num_steps)]
    assert found[0] == 1.0
    assert found == sorted(found, reverse=True)
    assert min(found) > 0
    if num_steps >= 10:
        assert found[-1] < 0.2
        assert found[num_steps // 2 - 1] == 1.0
    if num_steps >= 199:
        assert found[-1] < 0.011


def test_more_epochs_than_200_change_at_each_of_them():
    config = make_config(max_steps=1000 * EPOCH)
    assert lr_multiplier(config, 500 * EPOCH - 1, EPOCH) == 1.0
    assert lr_multiplier(config, 500 * EPOCH, EPOCH) == pytest.approx(1 - 1 / 501)


def test_a_longer_run_than_planned_stays_low():
    """`max_steps` was lowered on resume: the steps beyond it don't climb or go below 0."""
    config = make_config(max_steps=100)
    assert 0 < lr_multiplier(config, 150, 10) <= lr_multiplier(config, 99, 10)
