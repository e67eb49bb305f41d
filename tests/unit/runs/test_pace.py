"""How long a training takes: measured without a trace, and in words that help to choose."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from cyclegan_core.config import ModelConfig, TrainConfig
from cyclegan_core.runs import pace
from cyclegan_core.runs.pace import Pace, busy_note, duration, estimate, time_step, warmup_note
from cyclegan_core.training.trainer import Trainer

from ..tiny import assert_same, everything, make_config, open_folders

SMALL = TrainConfig(model=ModelConfig(base_channels=32))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3570, "1 h"),
        (6000, "1 h 40 min"),
        (36_000, "10 h"),
        (84_600, "1 d"),
        (276_000, "3 d 5 h"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "steps", "options", "text"),
    [
        (0.02, 200, {}, "A step takes 20 ms here: 200 steps are 4 s."),
        (
            0.6,
            10_000,
            {"on_cpu": True},
            "A step takes 0.6 s here: 10,000 steps are 1 h 40 min; for a first look take 2,000.",
        ),
        (
            0.61,
            10_000,
            {"max_minutes": 60},
            "A step takes 0.61 s here: 10,000 steps are 1 h 42 min; for a first look take 1,000. "
            "It stops for now after 60 minutes, about 5,901 steps further; run again to go on.",
        ),
        (
            8.0,
            20_000,
            {"on_cpu": True, "image_size": 256, "config": TrainConfig(), "max_minutes": 60},
            "A step takes 8 s here: 20,000 steps are 1 d 20 h. That is hopeless on a processor: "
            "choose image_size 128 and the preset quick and some thousand steps, or train on a "
            "graphics card.",
        ),
        (
            12.3,
            4000,
            {"on_cpu": True, "image_size": 256},
            "A step takes 12 s here: 4,000 steps are 14 h. That is hopeless on a processor: choose "
            "image_size 128 and fewer steps, or train on a graphics card.",
        ),
        (
            1.0,
            2000,
            {"config": replace(SMALL, warmup_steps=1000), "copying": (1000, 0.2)},
            "A step takes 0.2 s here while it learns to copy, then 1 s: 2,000 steps are 20 min.",
        ),
        (
            1.0,
            4000,
            {
                "config": replace(SMALL, warmup_steps=1000),
                "copying": (1000, 0.2),
                "max_minutes": 30,
            },
            "A step takes 0.2 s here while it learns to copy, then 1 s: 4,000 steps are 53 min; "
            "for a first look take 2,000. It stops for now after 30 minutes, about 2,600 steps "
            "further; run again to go on.",
        ),
        (
            1.0,
            800,
            {
                "config": replace(SMALL, warmup_steps=1000),
                "copying": (800, 0.5),
                "max_minutes": 5,
            },
            "A step takes 0.5 s here while it learns to copy: 800 steps are 7 min. It stops for "
            "now after 5 minutes, about 600 steps further; run again to go on.",
        ),
        # A first look that would end within the warm-up, or soon after it, shows nothing.
        (
            1.1,
            2000,
            {"config": replace(SMALL, warmup_steps=1000), "on_cpu": True},
            "A step takes 1.1 s here: 2,000 steps are 37 min.",
        ),
        (
            1.1,
            4000,
            {"config": replace(SMALL, warmup_steps=500), "on_cpu": True},
            "A step takes 1.1 s here: 4,000 steps are 1 h 13 min; for a first look take 1,000.",
        ),
    ],
)
def test_what_to_expect(seconds: float, steps: int, options: dict, text: str) -> None:
    told = {"config": SMALL, "image_size": 128, "on_cpu": False, **options}
    assert estimate(seconds, steps, told.pop("config"), **told) == text


@pytest.mark.parametrize("load", [2.9, 3.1])
def test_others_on_the_processor(monkeypatch, load: float) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    said = "Other programs keep the processor busy (load 3.1 on 2 cores): steps take several times "
    assert busy_note() == ("" if load < 3 else f"{said}as long as alone.")


def test_a_step_is_timed_without_a_trace(pictures) -> None:
    """Neither torch's random numbers nor the training that follows know of it."""
    config, data = make_config(max_steps=2, warmup_steps=1, batch_size=2), open_folders(pictures)
    undisturbed = Trainer(config, data)
    undisturbed.run()
    state = torch.get_rng_state()
    for is_copying in (False, True):
        assert 0 < time_step(config, data, is_copying=is_copying) < 60
    assert torch.equal(torch.get_rng_state(), state)
    trainer = Trainer(config, data)
    trainer.run()
    assert_same(everything(trainer), everything(undisturbed))


def test_what_is_left_follows_the_latest_steps(monkeypatch) -> None:
    clock = iter([10.0, 12.0, *(12.0 + 6 * n for n in range(1, 60))])
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    left = Pace(1000)
    assert left.on_step(100) == ""
    assert left.on_step(101) == duration(2 * 899)
    for step in range(102, 160):
        text = left.on_step(step)
    assert text == duration(6 * (1000 - 159))


@pytest.mark.parametrize(
    ("measured", "early"), [(None, f"at least {duration(990)}"), (5.0, duration(1 * 90 + 5 * 900))]
)
def test_a_warm_up_has_a_pace_of_its_own(monkeypatch, measured: float | None, early: str) -> None:
    """Its steps take a second; those after it five, and the first of them much more."""
    clock = iter([*range(100), 200.0, *(200.0 + 5 * n for n in range(1, 60))])
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    left = Pace(1000, warmup=100, seconds_per_step=measured)
    texts = {step: left.on_step(step) for step in range(1, 110)}
    assert texts[10] == early
    assert texts[101] == ""
    assert texts[102] == duration(5 * 898)
    assert texts[109] == duration(5 * 891)


def test_a_training_within_its_warm_up_ends_with_it(monkeypatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(pace.time, "monotonic", lambda: next(clock))
    left = Pace(60, warmup=100)
    assert (left.on_step(1), left.on_step(2)) == ("", duration(58))


def test_nothing_is_said_to_be_left_after_the_last_step() -> None:
    left = Pace(3)
    for step in (1, 2, 3):
        text = left.on_step(step)
    assert text == ""


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (300, "All 300 steps only learn to copy (warm-up, 1,000 steps): "),
        (1500, "The first 1,000 of 1,500 steps only learn to copy (warm-up): "),
        (1800, ""),
    ],
)
def test_a_training_that_ends_soon_after_its_warm_up(steps: int, text: str) -> None:
    note = warmup_note(TrainConfig(warmup_steps=1000, max_steps=steps))
    assert note == (text and f"{text}a style shows after; take 1,800 steps or more.")
    assert warmup_note(TrainConfig(max_steps=1)) == ""
