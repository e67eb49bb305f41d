"""Draw the README's gallery: photographs, and below each what the bundled models make of it.

    python docs/gallery.py PHOTO… [-o docs/gallery.jpg]

A photograph is cropped to 3:2 and reduced to the size at which it is shown, so that strokes are
seen as they were painted. The gallery shows Aitzol Berasategi's life, aitzgorri and sunset
(CC-BY-4.0, in Debian's lomiri-wallpapers-16.04) and NASA's portrait of Eileen Collins.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from cyclegan_core import load_model

MODELS = ("photo2monet", "photo2vintage")
TILE = (420, 280)
GAP = 6
LEFT = 34
"""Of the names at the side."""


def main() -> None:
    """Translate and put together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, nargs="+")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(__file__).with_name("gallery.jpg")
    )
    options = parser.parse_args()
    photos = [tile(path) for path in options.photos]
    rows = {"photo": photos} | {name: translated(name, photos) for name in MODELS}
    sheet(rows).save(options.output, quality=88)


def tile(path: Path) -> Image.Image:
    """The middle of a photograph, a little above its centre, where faces are."""
    with Image.open(path) as picture:
        return ImageOps.fit(
            picture.convert("RGB"), TILE, Image.Resampling.LANCZOS, centering=(0.5, 0.3)
        )


def translated(name: str, photos: list[Image.Image]) -> list[Image.Image]:
    """What a model makes of them."""
    model = load_model(name)
    pixels = torch.stack([torch.from_numpy(np.array(photo)).permute(2, 0, 1) for photo in photos])
    results = model.translate(pixels / 255).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(result) for result in results]


def sheet(rows: dict[str, list[Image.Image]]) -> Image.Image:
    """A row for each name, which stands at its left side."""
    columns = len(next(iter(rows.values())))
    width, height = (side + GAP for side in TILE)
    canvas = Image.new("RGB", (LEFT + columns * width - GAP, len(rows) * height - GAP), "white")
    font = ImageFont.load_default(20)
    for number, (name, pictures) in enumerate(rows.items()):
        label = Image.new("RGB", (TILE[1], LEFT), "white")
        place = (TILE[1] / 2, LEFT / 2)
        ImageDraw.Draw(label).text(place, name, fill="black", font=font, anchor="mm")
        canvas.paste(label.rotate(90, expand=True), (0, number * height))
        for column, picture in enumerate(pictures):
            canvas.paste(picture, (LEFT + column * width, number * height))
    return canvas


if __name__ == "__main__":
    main()
