"""The socket, and what the labels of widgets mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from comfy_api.latest import io

from ...cyclegan_core import Direction
from ...cyclegan_core.config import ARROWS

T = TypeVar("T")

CATEGORY = "CycleGAN"

CycleGANType = io.Custom("CYCLEGAN")
"""The socket; on its wire travels a `CycleGAN`, shared and cached: no node may change it."""

DIRECTIONS: dict[str, Direction] = {arrow: direction for direction, arrow in ARROWS.items()}
"""Widget labels and what they mean."""


def chosen(table: Mapping[str, T], widget: str, label: str) -> T:
    """What a combo's label means. Hosts up to 0.3.75 don't check the choices of V3 nodes."""
    if label not in table:
        raise ValueError(f"{widget} must be one of {', '.join(table)}; got {label!r}.")
    return table[label]
