"""The short form of the campaign with kills."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .commands import Workshop


@pytest.mark.parametrize("name", ["reconstruct", "distill"])
def test_nothing_is_lost(shop: Workshop, name: str) -> None:
    from .kills import campaign

    assert campaign(shop, name, 2, random.Random(1))["kills"] == 2
