"""The short form of the campaign with kills."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

import pytest

if sys.platform == "win32":
    pytest.skip("needs fork and POSIX signals", allow_module_level=True)

from .commands import Workshop, workshop
from .kills import campaign


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with workshop(tmp_path_factory.mktemp("kills") / "shop") as shop:
        yield shop


@pytest.mark.parametrize("name", ["reconstruct", "convert", "distill", "pull"])
def test_nothing_is_lost(shop: Workshop, name: str) -> None:
    assert campaign(shop, name, 2, random.Random(1))["kills"] == 2
