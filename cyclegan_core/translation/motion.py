"""A film's own motion, and what of the frame before is carried along with it.

A network moves with its picture by whole strides only (4 pixels for the usual resnet): what moves
by less is painted anew in every frame, whatever its norms do, and its strokes swim. So a frame's
translation is blended with the result before it, moved along the film's optical flow, as far as the
film itself goes on unchanged there: the weights of Bonneel et al. 2015 ("Blind video temporal
consistency"), which keep what comes into view free of what hid it. The flow is that of Lucas and
Kanade 1981 in dense windows (Le Besnerais and Champagnat 2005), from coarse to fine.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from torch import Tensor

_SIDE = 288
"""Most pixels of the short side at which motion is looked for; it is smooth, and larger frames
would take as long for it as their network."""

_RADIUS = 3
"""Half the window that moves as one, in pixels."""

_ITERATIONS = 4
"""At each size but the largest, where half are enough, as what is left is little."""

_LEVELS = 5
"""Sizes, each half the one before: motion of some 32 pixels is found."""

_STIFFNESS = 1e-5
"""Contrast, in squares of [0,1], that a window needs to move otherwise than those around it."""

_CHANGE = 10 / 255
"""Mean change of a window, beyond its motion, at which 1/e of the result before is carried on."""

_LEAST_SHARE = 0.2
"""Of the frame that has to go on, in the mean; below it is another scene."""


class Steady:
    """The frames of a film in order: each with a share of the one before, moved with the film."""

    def __init__(self, share: float) -> None:
        """`share` is that of places where the film goes on unchanged, from 0 to below 1."""
        self._share = share
        self._before: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def blend(self, frame: Tensor, translated: Tensor) -> Tensor:
        """The film's next frame (1,C,H,W) and its translation, in [0,1] -> (1,C',H,W) like that.

        It is computed on the device of both.
        """
        small, result = _reduced(frame.float()), translated
        if self._before is not None and self._before[1].shape == translated.shape:
            last, painted = (part.to(small.device) for part in self._before)
            motion = flow(_grey(last), _grey(small))
            # What fits no worse unmoved stays, so that nothing still is resampled.
            change, unmoved = _change(small, moved(last, motion)), _change(small, last)
            motion = torch.where(unmoved <= change, 0, motion)
            going_on = torch.exp(-((torch.minimum(unmoved, change) / _CHANGE) ** 2))
            if going_on.mean() >= _LEAST_SHARE:
                carried = moved(painted, _enlarged(motion, painted), mode="bicubic").clamp_(0, 1)
                share = self._share * _resized(going_on, painted.shape[2:])
                result = torch.lerp(translated.float(), carried, share).to(translated)
        # Copies, as callers may write into their frames and results.
        form = torch.contiguous_format
        self._before = small.clone(memory_format=form), result.float().clone(memory_format=form)
        return result

    def state(self) -> dict[str, Tensor]:
        """What the next frame needs of those so far; nothing before the first."""
        return {} if self._before is None else {"frame": self._before[0], "result": self._before[1]}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from where `state` was taken."""
        self._before = (state["frame"], state["result"]) if state else None


def flow(before: Tensor, now: Tensor) -> Tensor:
    """(1,1,H,W) in [0,1] each -> (1,2,H,W): where in `before` each pixel of `now` comes from.

    In pixels to the right and down.
    """
    sizes = [(before, now)]
    while len(sizes) < _LEVELS and min(sizes[-1][0].shape[2:]) >= 4 * (2 * _RADIUS + 1):
        half = torch.Size(length // 2 for length in sizes[-1][0].shape[2:])
        sizes.append((_resized(sizes[-1][0], half), _resized(sizes[-1][1], half)))
    motion = before.new_zeros(1, 2, *sizes[-1][0].shape[2:])
    for first, second in reversed(sizes):
        motion = _enlarged(motion, first)
        for _ in range(_ITERATIONS // 2 if first is before else _ITERATIONS):
            motion = _refined(motion, first, second)
    return motion


def moved(picture: Tensor, motion: Tensor, mode: str = "bilinear") -> Tensor:
    """`picture` (1,C,H,W) at the places of a `flow` (1,2,H,W)."""
    height, width = picture.shape[2:]
    x = torch.arange(width, device=motion.device) + motion[:, 0]
    y = torch.arange(height, device=motion.device)[:, None] + motion[:, 1]
    places = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], 3)
    return F.grid_sample(picture, places, mode=mode, padding_mode="border", align_corners=False)


def _refined(motion: Tensor, before: Tensor, now: Tensor) -> Tensor:
    """One step of Gauss and Newton for each window, of a pixel at most.

    In each window the sum of (now - before(motion) - gradient · step)² is least, beside a small
    sum of (step)², which decides where a window has no contrast.
    """
    there = moved(before, motion)
    x, y = _gradients(there)
    # Solved for the whole motion, so that the windows' overlap smooths it.
    missing = now - there + x * motion[:, :1] + y * motion[:, 1:]
    products = torch.cat([x * x, x * y, y * y, x * missing, y * missing, motion], 1)
    xx, xy, yy, xm, ym, smooth_x, smooth_y = _box(products).unbind(1)
    xx, yy = xx + _STIFFNESS, yy + _STIFFNESS
    xm, ym = xm + _STIFFNESS * smooth_x, ym + _STIFFNESS * smooth_y
    determinant = xx * yy - xy * xy
    best = torch.stack([yy * xm - xy * ym, xx * ym - xy * xm], 1) / determinant[:, None]
    return motion + (best - motion).clamp_(-1, 1)


def _change(picture: Tensor, other: Tensor) -> Tensor:
    """(1,C,H,W) each -> (1,1,H,W): how much windows differ, by the channel that does so most."""
    return _box((picture - other).abs().amax(1, keepdim=True))


def _gradients(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of (1,1,H,W), to the right and down."""
    wide = F.pad(picture, (1, 1, 1, 1), mode="replicate")
    right, down = (
        wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2],
        wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1],
    )
    return right / 2, down / 2


def _box(maps: Tensor) -> Tensor:
    """Means over the windows."""
    side = 2 * _RADIUS + 1
    wide = F.pad(maps, (_RADIUS,) * 4, mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(wide, (side, 1), 1), (1, side), 1)


def _grey(picture: Tensor) -> Tensor:
    return picture.mean(1, keepdim=True)


def _reduced(frame: Tensor) -> Tensor:
    """A frame at the size at which motion is looked for."""
    height, width = frame.shape[2:]
    scale = min(1.0, _SIDE / min(height, width))
    return _resized(
        frame, torch.Size([max(1, round(height * scale)), max(1, round(width * scale))])
    )


def _enlarged(motion: Tensor, picture: Tensor) -> Tensor:
    """A flow for the size of `picture`."""
    height, width = motion.shape[2:]
    factors = motion.new_tensor([picture.shape[3] / width, picture.shape[2] / height])
    return _resized(motion, picture.shape[2:]) * factors.view(1, 2, 1, 1)


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, list(size), mode="bilinear", antialias=True)
