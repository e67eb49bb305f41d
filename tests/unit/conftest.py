"""What several files share because it is slow to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .warm import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Starts commands in processes of their own, without their seconds of imports."""
    with Server() as server:
        yield server
