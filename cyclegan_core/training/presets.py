"""Starting points for a training, by kind of task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings that differ from the paper's defaults, and why."""

    advice: str
    train: dict[str, Any] = field(default_factory=dict)
    """Fields of `TrainConfig`."""
    model: dict[str, Any] = field(default_factory=dict)
    """Fields of `ModelConfig`."""
    data: dict[str, Any] = field(default_factory=dict)
    """Fields of `DataConfig`."""


PRESETS: dict[str, Preset] = {
    "style": Preset(
        "photo ↔ painting: a few hundred paintings and as many photos or more; identity keeps "
        "the colours, resize upsampling keeps skies smooth.",
        train={"lambda_identity": 0.5},
        model={"upsample": "resize"},
    ),
    "object": Preset(
        "horse ↔ zebra: pictures in which the object is large; less cycle weight allows more "
        "change. If nothing changes, lower lambda_a and lambda_b further.",
        train={"lambda_identity": 0.5, "lambda_a": 8.0, "lambda_b": 8.0},
    ),
    "season": Preset(
        "summer ↔ winter, day ↔ night: the same kind of scene on both sides; identity keeps "
        "what does not change.",
        train={"lambda_identity": 0.5},
        model={"upsample": "resize"},
    ),
    "enhance": Preset(
        "phone ↔ camera photos: crops at full resolution and a strong identity, so that little "
        "but tone and focus changes.",
        train={"lambda_identity": 1.0},
        model={"upsample": "resize"},
        data={"preprocess": "crop"},
    ),
    "labels": Preset(
        "maps, labels, sketches ↔ photos: the domains look nothing alike, so identity is off.",
        train={"lambda_identity": 0.0},
    ),
}
