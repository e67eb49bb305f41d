"""Counting bytes of several files together."""

from __future__ import annotations

import pytest

from cyclegan_core.hub.download import Meter


def test_no_more_than_all_is_told() -> None:
    seen: list[tuple[int, int]] = []
    meter = Meter(lambda *counts: seen.append(counts), 30)
    for done in (4, 31, 4):  # begins again
        meter.set(done)
    assert seen == [(4, 30), (30, 30), (4, 30)]


def test_cancelling() -> None:
    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Meter(cancel, 30).set(5)
