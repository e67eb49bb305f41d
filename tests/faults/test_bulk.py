"""The short form of the campaign against bulk translation: one driver and one actor are killed."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("ray")

from .bulk import run


def test_killed_drivers_and_actors(tmp_path: Path) -> None:
    found = run(100, 2, 7, tmp_path, channels=64)
    assert found["killed"] == {"driver": 1, "actor": 1}
    assert found["redone"] == 0
