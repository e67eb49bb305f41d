"""How options are shown: each with the string below its field, those of `train` by subject too.

The settings themselves stay flat dataclasses; `tyro` is told here how to show them.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated, Any, NamedTuple, get_type_hints

import tyro
from tyro.conf import OmitArgPrefixes, Suppress
from tyro.constructors import StructConstructorSpec, StructFieldSpec, StructTypeInfo

from ..._docs import field_docs
from ...config import DataConfig, EvaluationConfig, ModelConfig, TrainConfig


class Group(NamedTuple):
    """Options of one subject."""

    name: str
    about: str
    fields: tuple[str, ...]


_SAVING = "What is written while it trains."

COMMAND = (
    Group(
        "scores",
        "Scores of the model on held-out pictures as it learns (extra eval).",
        ("test_a", "test_b", "evaluate_every", "patience", "metric"),
    ),
    Group("saving", _SAVING, ("tensorboard", "tracker")),
)
"""Those of the command itself; the other groups are of its settings."""

GROUPS: dict[type, tuple[Group, ...]] = {
    TrainConfig: (
        Group(
            "losses",
            "What the generators learn from.",
            (
                *("lambda_a", "lambda_b", "cycle", "identity_every", "lambda_gan", "gan_mode"),
                *("lambda_penalty", "lambda_l1", "lambda_features", "directions"),
            ),
        ),
        Group(
            "discriminator",
            "What judges the generators' pictures, and how it sees them.",
            (
                *("discriminator", "disc_norm", "disc_layers", "disc_channels", "feature_taps"),
                *("feature_width", "lambda_patch", "augment_colour", "augment_shift", "pool_size"),
                *("lambda_r1", "r1_every"),
            ),
        ),
        Group(
            "beginning",
            "How fresh networks begin.",
            ("init", "warmup_steps", "input_noise", "seed"),
        ),
        Group(
            "learning",
            "Adam, its learning rate, and the average over the steps that is exported.",
            (
                *("lr", "lr_discriminator", "schedule", "constant_fraction", "step_epochs"),
                *("lr_interval", "beta1", "beta2", "grad_clip", "ema_decay"),
            ),
        ),
        Group(
            "saving",
            _SAVING,
            ("sample_every", "save_every", "keep_checkpoints"),
        ),
        Group(
            "speed",
            "Time and memory of a step; the result is the same but for rounding.",
            (
                *("batch_passes", "channels_last", "winograd", "fused_adam", "accumulate"),
                *("recompute", "compile", "cuda_graph", "read_every"),
            ),
        ),
    ),
    DataConfig: (
        Group(
            "pictures",
            "How pictures become training samples.",
            (
                *("preprocess", "scales", "flip", "side_by_side", "max_images", "channels_a"),
                *("channels_b", "background", "cache_bytes"),
            ),
        ),
    ),
}
"""What is named in none of them is what everybody needs."""

_WHOLE = (ModelConfig, EvaluationConfig)
"""Settings that are a group of their own."""

MORE = "More, by subject (losses, networks, speed, scores …): cyclegan train --help-all\n"
"""What stands below the short help."""


def rule(
    info: StructTypeInfo, *, command: type, is_help: bool, is_short: bool
) -> StructConstructorSpec | None:
    """Show what everybody needs first, then each group; a short help hides the groups."""
    kind: Any = info.type
    groups = COMMAND if kind is command else GROUPS.get(kind, ())
    if not groups and not _is_ours(kind):
        return None
    hidden = (Suppress,) if is_short else ()
    hints = get_type_hints(kind, include_extras=True)
    docs = field_docs(kind) if is_help else dict.fromkeys(hints, "")
    is_missing = info.default in (tyro.MISSING, tyro.MISSING_NONPROP)
    defaults = {
        field.name: _default(field) if is_missing else getattr(info.default, field.name)
        for field in dataclasses.fields(kind)
    }
    shown: list[StructFieldSpec] = []
    for name in defaults.keys() - {name for group in groups for name in group.fields}:
        marks = hidden if hints[name] in _WHOLE else ()
        hint: Any = Annotated[(hints[name], *marks)] if marks else hints[name]
        shown.append(StructFieldSpec(name, hint, defaults[name], docs.get(name, "")))
    shown.sort(key=lambda field: list(defaults).index(field.name))
    for name, about, members in groups:
        fields = [
            (
                member,
                Annotated[hints[member], tyro.conf.arg(help=docs[member])],
                dataclasses.field(default=defaults[member]),
            )
            for member in members
        ]
        group = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
        hint = Annotated[(group, OmitArgPrefixes, *hidden)]
        shown.append(StructFieldSpec(name, hint, tyro.MISSING_NONPROP, about))

    def make(**values: Any) -> Any:  # noqa: ANN401 - of each field its type
        for group in groups:
            values |= vars(values.pop(group.name))
        return kind(**values)

    make.__doc__ = (kind.__doc__ or "").partition("\n\nAttributes:")[0]
    return StructConstructorSpec(instantiate=make, fields=tuple(shown))


def _is_ours(kind: Any) -> bool:  # noqa: ANN401 - whatever a field may hold
    """Whether it is a dataclass that is written in this package."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return False
    is_written = getattr(sys.modules.get(kind.__module__), kind.__name__, None) is kind
    return is_written and kind.__module__.startswith(__name__.partition(".")[0])


def _default(field: dataclasses.Field[Any]) -> Any:  # noqa: ANN401 - of the field's type
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING_NONPROP
