"""Foreign weight layouts: find the generators by keys and shapes alone, and rename to ours.

Works on tensors that have shapes only (device `meta`), so that a file can be described without
reading its data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor

from ..config import Direction, ModelConfig
from ..errors import CheckpointError
from .layout_convert import (
    MismatchError,
    convert,
    count_blocks,
    norm_settings,
    resnet,
    swap_bgr,
    unet,
)
from .layout_table import RESNET_LAYOUTS, ResnetLayout
from .refusals import name_stranger
from .settings import parse_config

_FORWARD = "a2b|atob|ab|x2y|xtoy|xy|a"
_BACKWARD = "b2a|btoa|ba|y2x|ytox|yx|b"
_GENERATOR_NAME = re.compile(
    f"(?:model|net|avg|ema)*(?:generator|gen|g)(?:({_FORWARD})|({_BACKWARD}))"
    "(?:model|net|avg|ema|params|weights|statedict)*"
)
_AVERAGE = re.compile(r"(^|[._])(ema|avg|averaged?)([._]|$)")


@dataclass(frozen=True, kw_only=True)
class FoundGenerator:
    """One generator of a file, translated into our keys."""

    layout: str
    """Name of the layout it came in."""
    root: str
    """What its keys began with, for example "netG_A."."""
    direction: Direction | None = None
    """Which way it translates, if its name says so."""
    target: str = ""
    """Name of the domain it makes, if the file tells."""
    is_average: bool = False
    """It is the averaged (EMA) copy."""
    prefers_average: bool = True
    """An averaged copy would be the better one."""
    config: ModelConfig
    """What its tensors say, as if it translated from A to B."""
    tensors: dict[str, Tensor] = field(repr=False)
    """By our keys, without "gen_ab."; a missing bias is 0."""


def find_generators(name: str, tensors: Mapping[str, Tensor]) -> list[FoundGenerator]:
    """All generators among the tensors of the file called `name`, at least one.

    Raises:
        CheckpointError: there is none; the text says what there is instead.
    """
    tensors = {key: value for key, value in tensors.items() if value.is_floating_point()}
    found: list[FoundGenerator] = []
    mismatch = ""
    for root, layouts in _roots(tensors).items():
        own = {key[len(root) :]: value for key, value in tensors.items() if key.startswith(root)}
        try:
            found.append(_read_generator(name, root, own, layouts))
        except MismatchError as error:
            mismatch = mismatch or str(error)
    if found and not mismatch:
        return _with_domain_directions(found)
    raise CheckpointError(f"{name} {_refusal(tensors, mismatch)}.")


def _roots(tensors: Mapping[str, Tensor]) -> dict[str, list[ResnetLayout]]:
    """Where generators begin -> the layouts each may have; none of them means a U-Net."""
    anchors: dict[str, list[ResnetLayout]] = {}
    for layout in RESNET_LAYOUTS:
        for anchor in layout.anchors():
            anchors.setdefault(anchor, []).append(layout)
    roots: dict[str, list[ResnetLayout]] = {}
    for key in tensors:
        if _ends_with(key, "model.model.0.weight"):
            root = key.removesuffix("model.model.0.weight")
            if f"{root}model.model.1.model.1.weight" in tensors:
                roots.setdefault(root, [])
        for anchor, layouts in anchors.items():
            if _ends_with(key, anchor):
                # What is the first block of one layout is the third of another.
                known = roots.setdefault(key.removesuffix(anchor), [])
                known += [layout for layout in layouts if layout not in known]
                break
    return roots


def _ends_with(key: str, end: str) -> bool:
    return key == end or key.endswith("." + end)


def _read_generator(
    name: str, root: str, tensors: Mapping[str, Tensor], layouts: list[ResnetLayout]
) -> FoundGenerator:
    """The generator of the file `name` whose keys begin with `root`, cut off in `tensors`."""
    # The layout that has all convolutions outside the blocks where the file has them.
    has_blurs = any(key.endswith(".filt") for key in tensors)
    alike = [known for known in layouts if bool(known.filters) == has_blurs] or layouts
    layouts = sorted(alike, key=RESNET_LAYOUTS.index)
    layout = next((known for known in layouts if _fits(known, tensors)), None)
    if layouts and layout is None:
        layout = layouts[0]  # none fits; this one will say what is missing
    network = resnet(layout, tensors) if layout else unet(tensors)
    settings = network.settings
    settings |= norm_settings(network, tensors, tracks=layout is not None and layout.tracks)
    converted, used = convert(network, tensors, settings["norm"])
    # Whatever else lies inside the generator would be a part of it that we don't know. Without a
    # root, other things (an optimizer) may lie beside the generator.
    parts = {key.partition(".")[0] for key in used}
    for key in tensors:
        if key not in used and (root or key.partition(".")[0] in parts):
            raise MismatchError(f"has an unknown part, '{root}{key}'")
    settings["channels_a"] = network.layers[0].channels(tensors)[0]
    settings["channels_b"] = network.layers[-1].channels(tensors)[1]
    if layout and layout.pads_by_channels and settings["channels_a"] != 3:
        raise MismatchError(
            f"is an {layout.name} CycleGAN for pictures of {settings['channels_a']} channels, "
            "which makes them smaller"
        )
    found = FoundGenerator(
        layout="upstream",
        root=root,
        direction=_direction(root, layout.directions if layout else {}),
        is_average=bool(_AVERAGE.search(root.lower())),
        config=parse_config(settings, name),
        tensors=converted,
    )
    if layout is None:
        return found
    if layout.is_bgr:
        swap_bgr(network, converted)
    if layout.names_target:
        found = replace(found, direction=None, target=root.rstrip(".").rpartition(".")[2])
    return replace(found, layout=layout.name, prefers_average=layout.prefers_average)


def _fits(layout: ResnetLayout, tensors: Mapping[str, Tensor]) -> bool:
    """Whether all that lies outside the blocks is where this layout has it."""
    count = count_blocks(layout, tensors)
    convolutions = [f"{name}.weight" for name in layout.outer(count)]
    return all(key in tensors for key in (*convolutions, *layout.blurs(count)))


def _direction(root: str, exceptions: Mapping[str, Direction]) -> Direction | None:
    """What the names in `root` say about the direction, the innermost one first."""
    for name in reversed(root.split(".")):
        if name in exceptions:
            return exceptions[name]
        match = _GENERATOR_NAME.fullmatch(re.sub(r"[^a-z0-9]", "", name.lower()))
        if match:
            return "a_to_b" if match[1] else "b_to_a"
    return None


def _with_domain_directions(found: list[FoundGenerator]) -> list[FoundGenerator]:
    """Where generators are named after what they make, the first of two makes domain A."""
    targets = list(dict.fromkeys(generator.target for generator in found))
    if len(targets) != 2 or "" in targets:
        return found
    directions: dict[str, Direction] = {targets[0]: "b_to_a", targets[1]: "a_to_b"}
    return [replace(generator, direction=directions[generator.target]) for generator in found]


def _refusal(tensors: Mapping[str, Tensor], mismatch: str) -> str:
    """What the tensors are, since they are no generator, and what to do."""
    stranger = name_stranger(tensors)
    if stranger:
        article = "an" if stranger[0] in "AEIOu" else "a"  # an upscaling, but a UNIT network
        return (
            f"holds {article} {stranger} network, not a CycleGAN of the original design; "
            "use it with the program it comes from"
        )
    if mismatch:
        return f"{mismatch}; only CycleGAN generators of the original design can be loaded"
    if not tensors:
        return "holds no weights; choose the file with the generator's weights"
    # Kernels of 4x4 only (PatchGAN) or 1x1 only, down to a single channel.
    kernels = [t for key, t in tensors.items() if t.ndim == 4 and not key.endswith(".filt")]
    sizes = {tuple(kernel.shape[2:]) for kernel in kernels}
    if sizes in ({(4, 4)}, {(1, 1)}) and 1 in {len(kernel) for kernel in kernels}:
        return (
            "holds a discriminator, which can't translate pictures; choose the generator's file, "
            "which usually has a G in its name"
        )
    some = ", ".join(f"'{key}'" for key in list(tensors)[:3])
    return (
        f"holds no CycleGAN generator in a known layout (its first tensors are {some}); "
        "choose another file"
    )
