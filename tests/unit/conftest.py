"""What several files share: a server that is slow to start, and pictures to train on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .tiny import draw_folders
from .warm import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Starts commands in processes of their own, without their seconds of imports."""
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what `draw_folders` draws, for the tests of one file."""
    path = tmp_path_factory.mktemp("data") / "data"
    draw_folders(path)
    return path
