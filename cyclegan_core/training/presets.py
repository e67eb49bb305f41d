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
    max_steps: int | None = None
    """How many steps are enough, if that is not what everybody needs: the command's default. Not in
    `train`, which goes before ComfyUI's widget."""
    sample_every: int | None = None
    """The same for samples, of which a short training shows more."""


PRESETS: dict[str, Preset] = {
    "style": Preset(
        "photo ↔ painting, summer ↔ winter: a few hundred pictures of each side or more; identity "
        "keeps the colours and what does not change, resize upsampling keeps skies smooth.",
        train={"lambda_identity": 0.5},
        model={"upsample": "resize"},
    ),
    "object": Preset(
        "horse ↔ zebra: pictures in which the object is large; less cycle weight allows more "
        "change. If nothing changes, lower lambda_a and lambda_b further.",
        train={"lambda_identity": 0.5, "lambda_a": 8.0, "lambda_b": 8.0},
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
    "quick": Preset(
        "photo ↔ painting within some thousand steps, on a CPU too (with precision bf16): networks "
        "without norms that begin as an autoencoder keep faces and colours, discriminators that "
        "see ImageNet features find strokes early, the equivariance term keeps skies clean. Small "
        "crops of several scales; 2000 to 5000 steps are enough to judge it.",
        train={
            "discriminator": "patch_features",
            "feature_taps": (0, 2, 4, 7, 10),
            "gan_mode": "hinge",
            "disc_norm": "spectral",
            "disc_layers": 2,
            "disc_channels": 32,
            "lambda_gan": 0.5,
            "lr_discriminator": 4e-4,
            "augment_colour": 0.2,
            "augment_shift": 0.125,
            "input_noise": 0.1,
            "lambda_equivariance": 15.0,
            "init": "residual_zero",
            "warmup_steps": 1000,
        },
        model={
            "norm": "none",
            "upsample": "resize",
            "down_padding": "reflect",
            "num_blocks": 6,
            "base_channels": 32,
        },
        data={"load_size": 256, "crop_size": 128, "scales": 2.0},
        max_steps=4000,
        sample_every=100,
    ),
}
