"""Draw icon.svg and banner.svg: a landscape, half photograph and half dabs of paint, in a cycle.

    python docs/brand/draw.py

The PNG files beside them are screenshots of these in a browser, at the same size.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

SIDE = 236
"""Of the landscape, in pixels of the icon; its centre is the origin."""

INK, BLUE, ORANGE = "#15181f", "#7fb2ef", "#f0a868"

GRADIENTS = {
    "sky": ((0, "#6f9fd6"), (0.6, "#e9cbb8")),
    "far": ((0, "#567896"), (1, "#4c8070")),
    "near": ((0, "#36745c"), (1, "#2c4f45")),
}


def main() -> None:
    """Write both."""
    here = Path(__file__).parent
    emblem = draw_emblem()
    icon = f'<rect x="-200" y="-200" width="400" height="400" rx="64" fill="{INK}"/>{emblem}'
    (here / "icon.svg").write_text(svg("-200 -200 400 400", icon), encoding="utf-8")
    banner = (
        f'<rect width="1260" height="540" fill="{INK}"/>'
        f'<g transform="translate(270 270) scale(1.15)">{emblem}</g>'
        '<g font-family="DejaVu Sans, Verdana, Arial, sans-serif" fill="#f2f2f0">'
        '<text x="520" y="250" font-size="104" font-weight="700">CycleGAN</text>'
        '<text x="524" y="318" font-size="34" fill="#b9c2cf">'
        "image-to-image, learned without pairs</text>"
        f'<text x="524" y="384" font-size="30" fill="{BLUE}">'
        "photo ↔ painting · any size · train in the graph</text></g>"
    )
    (here / "banner.svg").write_text(svg("0 0 1260 540", banner), encoding="utf-8")


def svg(box: str, content: str) -> str:
    """A whole file."""
    gradients = "".join(
        f'<linearGradient id="{name}" x1="0" y1="0" x2="0" y2="1">'
        + "".join(f'<stop offset="{at}" stop-color="{colour}"/>' for at, colour in stops)
        + "</linearGradient>"
        for name, stops in GRADIENTS.items()
    )
    width, height = box.split()[2:]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{width}" '
        f'height="{height}"><title>CycleGAN for ComfyUI</title><defs>{gradients}</defs>'
        f"{content}</svg>\n"
    )


def draw_emblem() -> str:
    """The two halves and the arrows around them."""
    half = SIDE / 2
    photograph = (
        f'<rect x="{-half}" y="{-half}" width="{SIDE}" height="{SIDE}" fill="url(#sky)"/>'
        f'<path d="{outline(far)}" fill="url(#far)"/><path d="{outline(near)}" fill="url(#near)"/>'
    )
    canvas = f'<rect x="{-half}" y="{-half}" width="{SIDE}" height="{SIDE}" fill="#b9a48c"/>'
    return (
        '<clipPath id="left"><path d="M6,-112 A112,112 0 0 0 -6,112 Z"/></clipPath>'
        '<clipPath id="right"><path d="M6,-112 A112,112 0 0 1 -6,112 Z"/></clipPath>'
        f'<g clip-path="url(#left)">{photograph}</g>'
        f'<g clip-path="url(#right)">{canvas}{draw_dabs()}</g>'
        f'<path d="M6,-112 L-6,112" stroke="{INK}" stroke-width="5"/>'
        + draw_arrow(200, 334, BLUE)
        + draw_arrow(20, 154, ORANGE)
    )


def far(x: float) -> float:
    """Where the far hills end."""
    return SIDE * (0.02 + 0.08 * math.sin(5.2 * x / SIDE + 0.6))


def near(x: float) -> float:
    """Where the near hills end."""
    return SIDE * (0.17 + 0.1 * math.sin(4.1 * x / SIDE + 2.4))


def outline(hill: Callable[[float], float]) -> str:
    """A hill down to the lower edge."""
    half = SIDE / 2
    xs = [-half + SIDE * i / 40 for i in range(41)]
    line = " L".join(f"{x:.1f},{hill(x):.1f}" for x in xs)
    return f"M{line} L{half},{half} L{-half},{half} Z"


def draw_dabs(rows: int = 26) -> str:
    """The landscape in short strokes, which lie over each other in random order."""
    rng, step = random.Random(3), SIDE / rows
    dabs: list[tuple[float, str]] = []
    for row in range(rows + 1):
        for column in range(rows + 1):
            x = -SIDE / 2 + (column + rng.uniform(-0.3, 0.3)) * step
            y = -SIDE / 2 + (row + rng.uniform(-0.3, 0.3)) * step
            tint = "".join(
                f"{min(255, max(0, int(level) + rng.randint(-26, 26))):02x}"
                for level in colour(x, y)
            )
            slope = math.sin(6 * x / SIDE + 3 * y / SIDE) / 1.4
            angle = math.degrees(math.atan(slope)) + rng.uniform(-20, 20)
            length, width = step * rng.uniform(0.75, 1.15), step * rng.uniform(0.3, 0.45)
            dab = (
                f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{length:.1f}" ry="{width:.1f}" '
                f'fill="#{tint}" transform="rotate({angle:.0f} {x:.1f} {y:.1f})"/>'
            )
            dabs.append((rng.random(), dab))
    return "".join(dab for _, dab in sorted(dabs))


def colour(x: float, y: float) -> tuple[float, float, float]:
    """Of the landscape, as levels of 255."""
    if math.hypot(x - 0.17 * SIDE, y + 0.24 * SIDE) < 0.085 * SIDE:
        return 255, 221, 130  # the sun
    if y > near(x):
        depth = (y - near(x)) / (0.35 * SIDE)
        return 54 + 30 * depth, 116 - 30 * depth, 92 - 20 * depth
    if y > far(x):
        depth = (y - far(x)) / (0.25 * SIDE)
        return 86 - 10 * depth, 120 + 12 * depth, 150 - 40 * depth
    depth = (y + SIDE / 2) / (0.6 * SIDE)
    return 112 + 120 * depth, 160 + 42 * depth, 214 - 14 * depth


def draw_arrow(start: float, end: float, tint: str, radius: float = 148, width: float = 15) -> str:
    """An arc with a head, clockwise; angles in degrees from the right."""

    def at(angle: float, distance: float) -> tuple[float, float]:
        turn = math.radians(angle)
        return distance * math.cos(turn), distance * math.sin(turn)

    (x0, y0), (x1, y1) = at(start, radius), at(end, radius)
    ahead = at(end + 90, 2.6 * width)
    head = [(x1 + ahead[0], y1 + ahead[1])]
    head += [at(end, radius + side * 1.55 * width) for side in (1, -1)]
    corners = " L".join(f"{x:.1f},{y:.1f}" for x, y in head)
    return (
        f'<path d="M{x0:.1f},{y0:.1f} A{radius},{radius} 0 0 1 {x1:.1f},{y1:.1f}" fill="none" '
        f'stroke="{tint}" stroke-width="{width}" stroke-linecap="round"/>'
        f'<path d="M{corners} Z" fill="{tint}" stroke="{tint}" stroke-width="3" '
        'stroke-linejoin="round"/>'
    )


if __name__ == "__main__":
    main()
