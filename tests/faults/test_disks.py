"""The short form of the campaign with disks."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .commands import Workshop


@pytest.mark.parametrize("name", ["convert"])
def test_what_was_there_stays(shop: Workshop, tmp_path: Path, name: str) -> None:
    from .disks import disturb, mounted

    try:
        with mounted(tmp_path / "disk") as disk:
            found = disturb(shop, disk, name, 1, random.Random(2), None)
    except PermissionError as error:
        pytest.skip(f"only root can mount a small disk: {error}")
    assert found["clock going backwards"] == 1


def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    from .disks import flip_bits

    found = flip_bits(tmp_path, 12, random.Random(1))
    assert found["state.safetensors: changed nothing"] == 0
