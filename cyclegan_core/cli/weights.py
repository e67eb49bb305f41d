"""`cyclegan info` and `cyclegan convert`: weight files, looked at and rewritten."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..config import GENERATOR_NAMES, Direction, opposite
from ..errors import CheckpointError, plain
from ..pictures.files import file_id
from .common import find_with_bar, optional

if TYPE_CHECKING:
    from ..checkpoint.checkpoint import CheckpointInfo


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a weight file holds: its layout, network, directions and training."""

    file: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    """A weight file, a folder with one, a name of `cyclegan list`, or hub:owner/repo."""
    json: bool = False
    """Print JSON for programs."""

    def run(self) -> int:
        """Print the description; returns the exit code."""
        path = find_with_bar(self.file, hidden=self.json)
        from ..checkpoint.checkpoint import inspect_checkpoint

        info = inspect_checkpoint(path)
        values = describe(info)
        if self.json:
            sys.stdout.write(json.dumps(values) + "\n")
            return 0
        table = Table(show_header=False, box=None, pad_edge=False)
        for name, value in _for_people(info).items():
            # Text, because rich would take brackets and colons in a name for its markup.
            lines = "\n".join(map(plain, value.split("\n")))
            table.add_row(name, Text(lines, overflow="fold"))
        Console().print(table)
        return 0


def _for_people(info: CheckpointInfo) -> dict[str, str]:
    """What somebody wants to know who found the file; programs get everything."""
    config, training = info.config, info.metadata
    ways = [" → ".join(config.domains(direction)) for direction in info.directions]
    if len(ways) == 2:
        ways = [f"{config.domain_a} ↔ {config.domain_b}"]
    if not info.knows_direction:
        ways.append("it does not say so itself: --direction")
    if config.generator == "resnet":
        size = f"{config.num_blocks} blocks, {config.base_channels} channels"
    else:
        size = f"{config.num_downs} halvings, {config.base_channels} channels"
    values = {
        "file": str(info.path),
        "translates": "; ".join(ways),
        "network": f"{config.generator}, {size}, norm {config.norm}, upsampling {config.upsample}",
        "weights": f"{info.num_parameters:,} numbers in {info.dtype}; layout {info.layout}",
        "pictures": f"trained at {config.image_size} pixels",
    }
    channels = (config.channels_a, config.channels_b)
    if channels != (3, 3):
        values["pictures"] += f"; channels {channels[0]} → {channels[1]}"
    steps = training.get("steps", training.get("step"))
    if steps is not None:
        values["training"] = f"{steps} steps"
    if training.get("teacher"):
        values["teacher"] = str(training["teacher"])
    if info.source.get("repo"):
        values["from"] = f"{info.source['repo']}, commit {str(info.source.get('commit'))[:7]}"
    if info.license:
        values["licence"] = info.license
    return values


def describe(info: CheckpointInfo) -> dict[str, Any]:
    """The facts of a weight file as JSON-ready values."""
    return {
        "file": str(info.path),
        "layout": info.layout,
        "directions": list(info.directions),
        "knows_direction": info.knows_direction,
        "parameters": info.num_parameters,
        "dtype": info.dtype,
        "config": info.config.to_dict(),
        "training": dict(info.metadata),
        "source": dict(info.source),
    }


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Rewrite weights of any known layout as one self-describing .safetensors file."""

    inputs: tyro.conf.Positional[
        Annotated[
            tuple[str, ...],
            tyro.conf.arg(metavar="MODEL ...", help_behavior_hint="(one or two)"),
        ]
    ]
    """One weight file, or two: the generator for A→B, then the one for B→A."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The file to write; it ends in .safetensors."""
    direction: Annotated[Direction, tyro.conf.arg(aliases=["-d"])] = "a_to_b"
    """What a single nameless generator does."""
    domain_a: Annotated[str | None, optional("NAME")] = None
    """Display name of domain A, for example photo."""
    domain_b: Annotated[str | None, optional("NAME")] = None
    """Display name of domain B, for example Monet."""
    image_size: Annotated[int | None, optional("PIXELS")] = None
    """Side in pixels of the pictures it was trained on."""
    value_range: Annotated[tuple[float, float] | None, optional("BLACK WHITE")] = None
    """What black and white are at the network's input, if not -1 and 1."""
    only: Annotated[Direction | None, optional("a_to_b|b_to_a")] = None
    """Keep this direction of a two-way model and leave the other out."""
    half: bool = False
    """Store half precision: half the size, about three decimal digits per weight."""
    overwrite: bool = False
    """Replace the file if it exists."""
    json: bool = False
    """Print JSON for programs."""

    def run(self) -> int:
        """Load, rename, save, describe; returns the exit code."""
        if len(self.inputs) not in (1, 2):
            raise ValueError("convert takes one weight file, or two (A→B, then B→A).")
        if file_id(self.out) and not self.overwrite:
            raise CheckpointError(f"{self.out} exists; add --overwrite to replace it.")
        paths = [find_with_bar(name, hidden=self.json) for name in self.inputs]
        import torch

        from ..model import load_model, save_model

        model = load_model(
            paths[0],
            direction="a_to_b" if len(paths) == 2 else self.direction,
            path_b_to_a=paths[1] if len(paths) == 2 else None,
        )
        wanted = {name: getattr(self, name) for name in _RENAMED}
        model.config = replace(
            model.config, **{name: value for name, value in wanted.items() if value is not None}
        )
        if self.only:
            model.generator(self.only)  # says so if there is none
            setattr(model, GENERATOR_NAMES[opposite(self.only)], None)
        save_model(model, self.out, dtype=torch.float16 if self.half else None)
        return Info(file=str(self.out), json=self.json).run()


_RENAMED = ("domain_a", "domain_b", "image_size", "value_range")
