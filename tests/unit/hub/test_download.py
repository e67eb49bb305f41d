"""Counting bytes: the bars that the library is given, and how they cancel."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

from cyclegan_core.hub.download import Meter


def test_bytes_of_several_files_add_up() -> None:
    seen: list[tuple[int, int]] = []
    meter = Meter(lambda *counts: seen.append(counts), 30)
    with meter.bar_class()(total=10, desc="a", initial=4) as bar:  # goes on where it was cut
        bar.update(6)
    meter.set(10)
    with meter.bar_class()(total=20, desc="b") as bar:
        bar.update(5)
        bar.update(-5)  # begins again
        bar.update(20)
    assert seen == [(4, 30), (10, 30), (10, 30), (10, 30), (15, 30), (10, 30), (30, 30)]


def test_no_more_than_all_is_told() -> None:
    seen: list[tuple[int, int]] = []
    Meter(lambda *counts: seen.append(counts), 30).add(31)
    assert seen == [(30, 30)]


def test_cancelling_is_kept_and_asked_once() -> None:
    """The library may swallow it and go on."""
    calls = []

    def cancel(done: int, total: int) -> None:
        calls.append(done)
        raise KeyboardInterrupt

    meter = Meter(cancel, 30)
    with pytest.raises(KeyboardInterrupt):
        meter.add(5)
    bar = meter.bar_class()(total=30)
    assert isinstance(meter.stopped, KeyboardInterrupt)
    bar.update(5)
    assert calls == [5]


def test_the_other_protocol_counts_once() -> None:
    """Xet tells bytes on the wire and bytes on the disk; the second ones are the file's."""
    seen: list[tuple[int, int]] = []
    meter = Meter(lambda *counts: seen.append(counts), 10)
    reporter = XetDownloadProgressReporter(
        reconstruction_desc="a", total=10, log_level=0, tqdm_class=meter.bar_class()
    )
    with reporter:
        for done in (3, 10):
            reporter.update_progress(
                SimpleNamespace(
                    total_bytes=10,
                    total_bytes_completed=done,
                    total_bytes_completion_rate=1.0,
                    total_transfer_bytes_completed=done - 1,
                    total_transfer_bytes_completion_rate=1.0,
                )
            )
    assert seen == [(0, 10), (3, 10), (10, 10)]
