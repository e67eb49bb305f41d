"""The short form of the campaign of long runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .long import check, steps, translations

if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)


def test_nothing_grows(tmp_path: Path) -> None:
    # An allocator settles in more than a moment: a leak of a picture's maps would be more by far.
    check(translations(200, tmp_path), more=20_000)
    check(steps(25, tmp_path), more=20_000)
