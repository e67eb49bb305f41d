"""The short form of the campaign against pictures."""

from __future__ import annotations

from pathlib import Path

from .pictures import run


def test_damaged_pictures(tmp_path: Path) -> None:
    assert run(40, 7, tmp_path).total() == 40
