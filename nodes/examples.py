"""CycleGAN Example Pictures: something to try every other node with, made on the spot."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image, ImageDraw
from torch import Tensor

from ..cyclegan_core import read_picture
from . import host

COUNT = 100
"""Drawings in each folder."""

SIDE = 96
"""Of a drawing, in pixels."""

_SMOOTH = 3
"""Drawn so many times larger and then reduced, so that edges are smooth."""

NUM_FRAMES, FRAME_SIDE = 12, 256

Colour = tuple[int, int, int]
Combo = io.Custom("COMBO")
"""What a widget with choices takes from a wire; older hosts' own output would not fit it."""


class Season(NamedTuple):
    """The colours of a landscape, from top to bottom."""

    sky: Colour
    sun: Colour
    hills: tuple[Colour, ...]
    trees: Colour
    trunks: Colour


SEASONS = {
    "summer": Season(
        (92, 168, 235),
        (255, 226, 92),
        ((126, 172, 110), (92, 158, 66), (70, 130, 44)),
        (38, 98, 40),
        (92, 62, 38),
    ),
    "winter": Season(
        (190, 200, 216),
        (250, 246, 236),
        ((206, 214, 226), (226, 232, 240), (246, 248, 252)),
        (126, 122, 130),
        (70, 62, 66),
    ),
}


class CycleGANExamplePictures(io.ComfyNode):
    """Two folders to train on, and the frames of a short clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """No inputs: there is nothing to choose."""
        folder = f"input/{host.EXAMPLES_FOLDER}"
        return host.schema(
            node_id="CycleGAN_Examples",
            display_name="CycleGAN Example Pictures",
            search_aliases=["demo", "sample data", "dataset", "summer2winter", "unpaired"],
            description=(
                f"Pictures to try the other nodes with. Draws {COUNT} small summer landscapes and "
                f"{COUNT} winter ones into {folder}, for Train CycleGAN on Folders, and gives "
                f"{NUM_FRAMES} frames of a camera that moves over a photograph, for Translate."
            ),
            inputs=[],
            outputs=[
                Combo.Output(
                    "folder_a",
                    display_name="folder_a",
                    tooltip="The folder of summer landscapes, for Train's folder_a.",
                ),
                Combo.Output(
                    "folder_b",
                    display_name="folder_b",
                    tooltip="The folder of winter landscapes, for Train's folder_b.",
                ),
                io.Image.Output(
                    "frames", display_name="frames", tooltip="A short clip, frame by frame."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls) -> io.NodeOutput:
        """Draw what is missing; what is there stays."""
        folders = [f"{host.EXAMPLES_FOLDER}/{name}" for name in SEASONS]
        for seed, (folder, season) in enumerate(zip(folders, SEASONS.values(), strict=True)):
            rng = random.Random(seed)
            for number in range(COUNT):
                pixels = np.array(draw_landscape(rng, season))
                name = f"{folder}/{number:02}.png"
                host.write_example(name, torch.from_numpy(pixels).movedim(-1, 0).float() / 255)
        host.show_text("\n".join(f"input/{folder}" for folder in folders))
        return io.NodeOutput(*folders, host.to_bhwc(_frames()))


def draw_landscape(rng: random.Random, season: Season) -> Image.Image:
    """Hills and trees below a sky, SIDE × SIDE; where they stand, `rng` decides."""
    side = SIDE * _SMOOTH
    picture = Image.new("RGB", (side, side), season.sky)
    pen = ImageDraw.Draw(picture)
    x, y, radius = rng.uniform(0, side), rng.uniform(0, side / 4), side / 14
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], season.sun)
    for depth, colour in enumerate(season.hills, start=1):
        base, height = side * (0.25 + 0.2 * depth), rng.uniform(0.02, 0.06) * side
        length, shift = rng.uniform(0.2, 0.4) * side, rng.uniform(0, 9)
        edge = [(c, base + height * math.sin(c / length + shift)) for c in range(side + 1)]
        pen.polygon([(0, side), *edge, (side, side)], colour)
        for _ in range(rng.randint(2, 4)):
            at, ground = rng.choice(edge)
            tall = side * 0.06 * depth
            pen.line([at, ground + 4, at, ground - tall], season.trunks, width=2 * depth)
            width = tall * rng.uniform(0.35, 0.5)
            pen.ellipse(
                [at - width, ground - 1.6 * tall, at + width, ground - tall / 2], season.trees
            )
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def _frames() -> Tensor:
    """The clip, (NUM_FRAMES,3,FRAME_SIDE,FRAME_SIDE): a window that moves over the photograph."""
    photo = read_picture(host.EXAMPLE_PHOTO).pixels
    room = photo.shape[1] - FRAME_SIDE, photo.shape[2] - FRAME_SIDE
    shares = [number / (NUM_FRAMES - 1) for number in range(NUM_FRAMES)]
    corners = [(round(room[0] * share), round(room[1] * share)) for share in shares]
    return torch.stack([photo[:, y : y + FRAME_SIDE, x : x + FRAME_SIDE] for y, x in corners])
