"""A contact sheet: photographs above, their translations below.

    python benchmarks/contact_sheet.py MODEL PICTURE… -o sheet.png [--direction b_to_a] [--size 256]

Without pictures it takes scikit-image's astronaut, cat and coffee (pip install scikit-image).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.utils import make_grid

from cyclegan_core import load_model, read_picture, write_picture
from cyclegan_core.hub.install import find_model


def main() -> None:
    """Translate every picture at its own size, then shrink both to a column of the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a weight file, or the name of a bundled model")
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--direction", choices=["a_to_b", "b_to_a"], default="a_to_b")
    parser.add_argument("--size", type=int, default=256, help="pixels per picture on the sheet")
    options = parser.parse_args()

    model = load_model(find_model(options.model), direction=options.direction)
    above: list[Tensor] = []
    below: list[Tensor] = []
    for path in options.pictures or scikit_image_photographs():
        pixels = read_picture(path).pixels.expand(3, -1, -1)[None]
        result = model.translate(pixels, options.direction)
        above.append(square(pixels, options.size))
        below.append(square(result.expand(1, 3, -1, -1), options.size))
        print(f"{path.name}: {pixels.shape[3]}×{pixels.shape[2]}")
    write_picture(options.out, make_grid(above + below, nrow=len(above), padding=4, pad_value=1))
    print(options.out)


def scikit_image_photographs() -> list[Path]:
    """The files of three photographs that come with scikit-image."""
    from skimage import data

    folder = Path(data.__file__).parent
    return [folder / name for name in ("astronaut.png", "chelsea.png", "coffee.png")]


def square(pixels: Tensor, size: int) -> Tensor:
    """(1,3,H,W) -> (3,size,size): the middle square, resized."""
    side = min(pixels.shape[-2:])
    top, left = ((full - side) // 2 for full in pixels.shape[-2:])
    middle = pixels[..., top : top + side, left : left + side]
    return interpolate(middle, (size, size), mode="bicubic", antialias=True)[0].clamp(0, 1)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
