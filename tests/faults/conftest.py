"""The commands and what they need, for all short forms."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .commands import Workshop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A warm server, a Hub, and pictures."""
    if sys.platform == "win32":
        pytest.skip("needs fork and POSIX signals")
    from .commands import workshop

    with workshop(tmp_path_factory.mktemp("faults") / "shop") as shop:
        yield shop
