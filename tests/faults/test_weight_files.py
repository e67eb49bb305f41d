"""The short form of the campaign against weight files."""

from __future__ import annotations

from pathlib import Path

from .weight_files import run


def test_damaged_weight_files(tmp_path: Path) -> None:
    assert run(30, 7, tmp_path).total() == 30
