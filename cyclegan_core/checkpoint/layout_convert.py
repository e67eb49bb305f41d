"""One foreign generator in our terms: its keys become ours, its sizes and norms are read off.

A bias before a batch norm moves into that norm's mean, and a network for blue-green-red pictures
is turned into one for red-green-blue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..networks import Norm
from .layout_table import PADDED, BlockKind, ResnetLayout


class MismatchError(Exception):
    """The tensors begin like a known layout and then differ; the text follows the file's name."""


@dataclass(frozen=True)
class Convolution:
    """A convolution and the norm after it, by its keys in our network and in theirs."""

    ours: str
    """Its key in our network, without ".weight"."""
    theirs: str
    """Its key in the file, without ".weight"."""
    is_normed: bool = True
    is_transposed: bool = False

    @property
    def our_norm(self) -> str:
        """The key of the norm after it in our network."""
        return _next(self.ours)

    def weight(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Its kernel, (out,in,k,k), or (in,out,k,k) if transposed."""
        weight = get(tensors, f"{self.theirs}.weight")
        if weight.ndim != 4:
            raise MismatchError(f"has no convolution at '{self.theirs}'")
        return weight

    def channels(self, tensors: Mapping[str, Tensor]) -> tuple[int, int]:
        """Its input and output channels."""
        first, second = self.weight(tensors).shape[:2]
        return (first, second) if self.is_transposed else (second, first)

    def their_norm(self, tensors: Mapping[str, Tensor]) -> str:
        """The key of the norm after it; mmgen names norms by kind and all others count on."""
        stem = self.theirs.removesuffix(".conv")
        if stem == self.theirs:
            return _next(self.theirs)
        return f"{stem}.bn" if f"{stem}.bn.weight" in tensors else f"{stem}.in"


@dataclass(frozen=True)
class Network:
    """The layers of a generator, the first and the last one at their places."""

    layers: list[Convolution]
    settings: dict[str, Any]
    """What `ModelConfig` has to say for it, apart from channels."""
    blurs: Sequence[str] = ()
    """Keys of fixed filters, which our layers have without a tensor."""


def get(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    """A tensor that has to be there."""
    if key not in tensors:
        raise MismatchError(f"lacks the tensor '{key}'")
    return tensors[key]


def count_blocks(layout: ResnetLayout, tensors: Mapping[str, Tensor]) -> int:
    """How many residual blocks there are."""
    pattern = re.escape(layout.block).replace(r"\{i\}", r"(\d+)").replace(r"\{j\}", ".+")
    blocks = (re.fullmatch(pattern + r"\.weight", key) for key in tensors)
    return len({match[1] for match in blocks if match})


def resnet(layout: ResnetLayout, tensors: Mapping[str, Tensor]) -> Network:
    """The residual generator that lies in `tensors` in this layout."""
    count = count_blocks(layout, tensors)
    theirs, kind = _block_kind(layout, tensors)
    dropout, padding = kind
    ours = next(convs for convs, known in PADDED.items() if known == kind)
    names = [f"model.{i}" for i in (1, 4, 7, 10 + count, 13 + count, 17 + count)]
    is_transposed = layout.upsample == "transposed"
    outer = [
        Convolution(own, their, is_normed=i < 5, is_transposed=is_transposed and i in (3, 4))
        for i, (own, their) in enumerate(zip(names, layout.outer(count), strict=True))
    ]
    blocks = [
        Convolution(
            f"model.{10 + i}.conv_block.{ours[j]}",
            layout.block.format(i=layout.first_block + i, j=theirs[j]),
        )
        for i in range(count)
        for j in range(2)
    ]
    settings = {
        "generator": "resnet",
        "num_blocks": count,
        "base_channels": outer[0].channels(tensors)[1],
        "dropout": dropout,
        "padding": padding,
        "down_padding": layout.down_padding,
        "downsample": layout.downsample,
        "upsample": layout.upsample,
        "image_size": layout.image_size,
    }
    return Network([*outer[:3], *blocks, *outer[3:]], settings, layout.blurs(count))


def _block_kind(
    layout: ResnetLayout, tensors: Mapping[str, Tensor]
) -> tuple[tuple[str, str], BlockKind]:
    """Where a block has its convolutions (norms are 1-D), and what that says about it."""
    block = layout.block.replace("{i}", str(layout.first_block))
    for places, kind in layout.convs.items():
        found = [tensors.get(f"{block.format(j=place)}.weight") for place in places]
        if all(weight is not None and weight.ndim == 4 for weight in found):
            return places, kind
    raise MismatchError(f"looks like {layout.name} but has other residual blocks")


def unet(tensors: Mapping[str, Tensor]) -> Network:
    """The U-Net that lies in `tensors`; its keys are ours already."""

    def up(key: str, *, is_normed: bool = True) -> Convolution:
        return Convolution(key, key, is_normed=is_normed, is_transposed=True)

    def down(key: str, *, is_normed: bool = True) -> Convolution:
        return Convolution(key, key, is_normed=is_normed)

    layers = [down("model.model.0", is_normed=False)]
    level, num_downs = "model.model.1.model", 2
    while f"{level}.3.model.1.weight" in tensors:
        layers += [down(f"{level}.1"), up(f"{level}.5")]
        level, num_downs = f"{level}.3.model", num_downs + 1
    # The innermost: nothing below it, and no norm between its two convolutions.
    layers += [down(f"{level}.1", is_normed=False), up(f"{level}.3")]
    layers += [up("model.model.3", is_normed=False)]
    if num_downs < 5:
        raise MismatchError(f"holds a U-Net of {num_downs} levels, where at least 5 are known")
    width = layers[0].channels(tensors)[1]
    return Network(layers, {"generator": "unet", "num_downs": num_downs, "base_channels": width})


def norm_settings(
    network: Network, tensors: Mapping[str, Tensor], *, tracks: bool
) -> dict[str, Any]:
    """Which norm follows the convolutions: the same everywhere, or a mismatch."""
    kinds = {
        _norm_kind(layer, tensors, tracks=tracks) for layer in network.layers if layer.is_normed
    }
    if len(kinds) != 1:
        raise MismatchError("mixes several kinds of norm layers")
    norm, is_affine = kinds.pop()
    return {"norm": norm, "norm_affine": is_affine}


def _norm_kind(
    layer: Convolution, tensors: Mapping[str, Tensor], *, tracks: bool
) -> tuple[Norm, bool]:
    norm = layer.their_norm(tensors)
    has_scale = f"{norm}.weight" in tensors
    has_statistics = f"{norm}.running_mean" in tensors
    if has_statistics and (has_scale or tracks):
        # Also instance norm that tracks: from stored statistics both compute the same.
        return "batch", False
    if has_scale:
        return "instance", True
    # Statistics without a scale: old versions of PyTorch stored them and never used them.
    # The original leaves the bias out with batch norm and with no norm at all.
    is_instance = has_statistics or f"{layer.theirs}.bias" in tensors
    return ("instance" if is_instance else "none"), False


def convert(
    network: Network, tensors: Mapping[str, Tensor], norm: Norm
) -> tuple[dict[str, Tensor], set[str]]:
    """All layers in our keys, and the keys they came from."""
    result: dict[str, Tensor] = {}
    used: set[str] = set()
    for blur in network.blurs:
        _check_blur(blur, get(tensors, blur))
        used.add(blur)
    for layer in network.layers:
        weight, bias = layer.weight(tensors), tensors.get(f"{layer.theirs}.bias")
        theirs = layer.their_norm(tensors)
        used |= {f"{layer.theirs}.weight", f"{layer.theirs}.bias"}
        result[f"{layer.ours}.weight"] = weight
        if layer.is_normed:
            used |= {f"{theirs}.{part}" for part in _NORM_PARTS}
            if norm == "batch":
                result |= _batch_norm(layer.our_norm, theirs, tensors, bias)
                continue
            if f"{theirs}.weight" in tensors:
                result[f"{layer.our_norm}.weight"] = tensors[f"{theirs}.weight"]
                result[f"{layer.our_norm}.bias"] = get(tensors, f"{theirs}.bias")
        if bias is not None:
            result[f"{layer.ours}.bias"] = bias
        elif norm == "instance":  # our network has a bias there, which does nothing if 0
            result[f"{layer.ours}.bias"] = weight.new_zeros(layer.channels(tensors)[1])
    return result, used


def _check_blur(key: str, found: Tensor) -> None:
    """Make sure that a filter is the one of our layers: 1,2,1 on the way down, 1,3,3,1 up."""
    taps = {3: (1.0, 2.0, 1.0), 4: (1.0, 3.0, 3.0, 1.0)}.get(found.shape[-1] if found.ndim else 0)
    if taps is not None and found.ndim == 4 and found.shape[1:] == (1, len(taps), len(taps)):
        if found.is_meta:
            return
        line = torch.tensor(taps) / sum(taps) * (2 if len(taps) == 4 else 1)
        expected = torch.outer(line, line).expand(found.shape)
        # The largest weight is 9/16, and half precision keeps all of them exactly.
        if torch.allclose(found.float(), expected, rtol=0, atol=1e-3):
            return
    raise MismatchError(f"blurs with another filter at '{key}' than (1,2,1) down and (1,3,3,1) up")


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def _batch_norm(
    ours: str, theirs: str, tensors: Mapping[str, Tensor], bias: Tensor | None
) -> dict[str, Tensor]:
    """A norm with statistics; the bias of the convolution before it moves into the mean."""
    mean = get(tensors, f"{theirs}.running_mean")
    if bias is not None:
        if bias.shape != mean.shape:
            raise MismatchError(f"has a bias that does not fit '{theirs}'")
        # In float64, because 8-bit floats, which are refused by their dtype later, can't subtract.
        # Without numbers there is nothing to subtract, for which torch would import its compiler.
        if not mean.is_meta:
            mean = (mean.double() - bias.double()).to(mean.dtype)
    return {
        f"{ours}.weight": tensors.get(f"{theirs}.weight", torch.ones_like(mean)),
        f"{ours}.bias": tensors.get(f"{theirs}.bias", torch.zeros_like(mean)),
        f"{ours}.running_mean": mean,
        f"{ours}.running_var": get(tensors, f"{theirs}.running_var"),
        f"{ours}.num_batches_tracked": torch.zeros((), dtype=torch.long, device=mean.device),
    }


def swap_bgr(network: Network, converted: dict[str, Tensor]) -> None:
    """Make a generator for blue-green-red pictures take and give red-green-blue ones."""
    first, last = network.layers[0].ours, network.layers[-1].ours
    if converted[f"{first}.weight"].shape[1] == 3:
        converted[f"{first}.weight"] = converted[f"{first}.weight"].flip(1)
    if converted[f"{last}.weight"].shape[0] == 3:
        converted[f"{last}.weight"] = converted[f"{last}.weight"].flip(0)
        if f"{last}.bias" in converted:  # where it is missing, the check of the fit names it
            converted[f"{last}.bias"] = converted[f"{last}.bias"].flip(0)


def _next(key: str) -> str:
    """The place after this one in its sequence."""
    stem, dot, place = key.rpartition(".")
    return f"{stem}{dot}{int(place) + 1}" if place.isdigit() else f"{key}+norm"
