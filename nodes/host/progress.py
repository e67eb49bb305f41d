"""Progress on the node's bar and in words, a training's preview, and the user's cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import comfy.model_management as mm
import comfy.utils
from comfy_execution.utils import get_executing_context
from PIL import Image
from server import PromptServer

PREVIEW_PIXELS = 1024
"""Longest side of the live preview."""

_TELL_EVERY = 0.5
"""Seconds from one text on a training's node to the next."""

_EARLY = 60.0
"""Seconds after which a training's own pace says how long it will take."""

Cancelled = mm.InterruptProcessingException
"""What the host raises when the user cancels."""


def stop_if_cancelled() -> None:
    """Raise `Cancelled` if the user has cancelled."""
    mm.throw_exception_if_processing_interrupted()


def show_text(text: str) -> None:
    """Write `text` on the node that runs now, in place of what it showed before."""
    context = get_executing_context()
    server = PromptServer.instance
    if context is not None and hasattr(server, "send_progress_text"):
        server.send_progress_text(text, context.node_id)


class TrainProgress:
    """A training's bar and live preview; raises `Cancelled` when the user cancels."""

    def __init__(self, total: int, notes: Sequence[str] = (), early: str = "") -> None:
        """`notes` stand under the line that says how far it is; above them, for a minute, `early`.

        That is what was expected, which the line soon knows better.
        """
        self._bar = comfy.utils.ProgressBar(total)
        self._notes, self._early = notes, early
        self._started = time.monotonic()
        self._shown: Path | None = None
        self._told = -_TELL_EVERY

    def update(self, step: int, samples: Path | None, line: str = "") -> None:
        """Move the bar to `step`, show the grid at `samples` if it is a new one, and `line`."""
        stop_if_cancelled()
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY:  # not at every step of a fast GPU
            self._told = now
            early = self._early if now - self._started < _EARLY else ""
            show_text("\n".join(filter(None, [line, early, *self._notes])))
        preview = None
        if samples is not None and samples != self._shown:
            self._shown = samples
            with Image.open(samples) as grid:
                preview = ("JPEG", grid.convert("RGB"), PREVIEW_PIXELS)
        self._bar.update_absolute(step, preview=preview)

    def end(self, step: int, samples: Path | None) -> None:
        """Leave the grid of the last step on the node, if another one is there."""
        if samples != self._shown:
            self.update(step, samples)


def bytes_progress() -> Callable[[int, int], None]:
    """A callback for downloads: bytes on the node's bar, and a raise when the user cancels."""
    bars: list[comfy.utils.ProgressBar] = []

    def on_bytes(done: int, total: int) -> None:
        stop_if_cancelled()
        if not bars:
            bars.append(comfy.utils.ProgressBar(total))
        bars[0].update_absolute(done, total)

    return on_bytes


def picture_progress(total: int) -> Callable[[int, int], None]:
    """A callback for the core that moves the node's bar, and raises when the user cancels."""
    bar = comfy.utils.ProgressBar(total)

    def on_progress(done: int, total: int) -> None:
        stop_if_cancelled()
        bar.update_absolute(done, total)

    return on_progress
