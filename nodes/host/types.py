"""The socket, schemas that old hosts take too, and what the labels of widgets mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from comfy_api.latest import io

from ...cyclegan_core import CycleGAN, Direction
from ...cyclegan_core.config import ARROWS, FilmSettings
from ...cyclegan_core.errors import plain

T = TypeVar("T")
InputT = TypeVar("InputT", bound=io.Input)

CATEGORY = "CycleGAN"

CycleGANType = io.Custom("CYCLEGAN")
"""The socket; on its wire travels a `CycleGAN`, shared and cached: no node may change it."""

DIRECTIONS: dict[str, Direction] = {arrow: direction for direction, arrow in ARROWS.items()}
"""Widget labels and what they mean."""

AUTO = "auto"

_NEWER_FIELDS = ("search_aliases", "has_intermediate_output")
"""What only newer hosts' schemas have; an unknown field would keep the whole pack from loading."""


def schema(**fields: Any) -> io.Schema:  # noqa: ANN401 - as the host's own
    """A node's schema with those of the newer fields that this host knows."""
    known = {field.name for field in dataclasses.fields(io.Schema)}
    return io.Schema(
        category=CATEGORY,
        **{name: v for name, v in fields.items() if name in known or name not in _NEWER_FIELDS},
    )


def advanced(widget: InputT) -> InputT:
    """The widget folded away, until a person asks for the advanced ones."""
    widget.extra_dict["advanced"] = True  # the keyword of newer hosts, where all hosts take it
    return widget


def direction_input() -> io.Combo.Input:
    """The widget for the direction of a translation, the same on every node."""
    return io.Combo.Input(
        "direction",
        options=[AUTO, *DIRECTIONS],
        default=AUTO,
        tooltip="auto: the way the model knows, and A→B if it knows both. A→B: from the model's "
        "first domain to its second. B→A: the way back, if the model has it.",
    )


def strength_input(tooltip: str) -> io.Float.Input:
    """The widget for how much of the translation is blended over the original."""
    return io.Float.Input(
        "strength", optional=True, default=1.0, min=0.0, max=1.0, step=0.01, tooltip=tooltip
    )


def work_size_input(tooltip: str) -> io.Int.Input:
    """The widget for the size at which the network works; see `work_size_of`."""
    return io.Int.Input("work_size", optional=True, default=0, min=-1, max=16384, tooltip=tooltip)


def work_size_of(value: int) -> int | Literal["auto"]:
    """What the widget for the work size says: a page's number can't be a word."""
    return "auto" if value == -1 else value


def detail_input() -> io.Float.Input:
    """The widget for the fine detail that is put back, the same on every node that translates."""
    return io.Float.Input(
        "detail",
        optional=True,
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="How much of the fine detail that a smaller work_size loses is put "
        "back: 0 is none, 1 all that makes no halos.",
    )


def smoothing_frames_input() -> io.Float.Input:
    """The widget for how far smoothed statistics reach, on the nodes for films."""
    return advanced(
        io.Float.Input(
            "smoothing_frames",
            optional=True,
            default=FilmSettings().smoothing_frames,
            min=1.0,
            max=1000.0,
            step=1.0,
            tooltip="How many frames back smoothed statistics reach.",
        )
    )


def direction_of(model: CycleGAN, label: str) -> Direction:
    """What the direction widget says, for this model.

    Raises:
        ValueError: there is no such choice.
        MissingDirectionError: the model does not know that way.
    """
    direction = model.directions[0] if label == AUTO else chosen(DIRECTIONS, "direction", label)
    model.generator(direction)
    return direction


def describe_direction(model: CycleGAN, direction: Direction) -> str:
    """What becomes what, such as "photo → Monet"."""
    return "{} → {}".format(*model.config.domains(direction))


def chosen(table: Mapping[str, T], widget: str, label: str) -> T:
    """What a combo's label means. Hosts up to 0.3.75 don't check the choices of V3 nodes."""
    if label not in table:
        raise ValueError(
            f"{widget} must be one of {', '.join(table)}; got {plain(repr(label), longest=100)}."
        )
    return table[label]
