"""What several commands need: the device and the model that are meant, and a bar for downloads.

Commands import what needs torch when they run: help, and a mistake, are answered at once.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from ..errors import plain
from ..hub.catalog import find_local, is_path
from ..hub.repository import PREFIX
from ..progress import OnProgress, ignore

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self


def optional(metavar: str) -> object:
    """How tyro shows an option that may be left out, instead of a default of None."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="(optional)")


def choose_device(name: str) -> torch.device:
    """The device that a user means; "auto" is a GPU if there is one.

    Raises:
        ValueError: this machine or this PyTorch has no such device.
    """
    import torch

    if name != "auto":
        try:
            torch.empty(0, device=name).cpu()
        except (
            RuntimeError,
            AssertionError,
            ImportError,
        ) as error:  # by device
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {name!r} can't be used: {reason}") from None
        return torch.device(name)
    available: list[tuple[str, Callable[[], bool]]] = [
        ("cuda", torch.cuda.is_available),
        ("mps", torch.backends.mps.is_available),
    ]
    return torch.device(next((kind for kind, has in available if has()), "cpu"))


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The number format that a user means; "auto" is what is clearly fastest on the device."""
    from ..device.precision import DTYPES, fastest_dtype

    if name == "auto":
        return fastest_dtype(device)
    return next(dtype for known, dtype in DTYPES.items() if known == name)


def find_with_bar(name: str, *, hidden: bool) -> Path:
    """`find_model`, with a bar in bytes if it fetches something; else it needs no torch."""
    if not name.startswith(PREFIX) or is_path(name):
        return find_local(name)
    from ..hub.install import find_model

    with byte_bar(name, hidden=hidden) as on_bytes:
        return find_model(name, on_bytes)


@contextmanager
def byte_bar(title: str, *, hidden: bool) -> Generator[OnProgress]:
    """A bar on the terminal, if there is one, that appears with the first byte."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = Console(stderr=True)
    if hidden or not console.is_terminal:  # where some versions of rich print an empty line
        yield ignore
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, visible=False)

        def on_bytes(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield on_bytes


def print_text(console: Console, text: str, *, style: str = "") -> None:
    """Print lines as they are, but for what would speak to the terminal: names of files may."""
    for line in text.split("\n"):
        console.print(Text(plain(line), style=style), soft_wrap=True)


def counting_bar(console: Console) -> Progress:
    """A bar that counts what is done, and is gone afterwards."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


LINE_EVERY = 60.0
"""Seconds from one line to the next where no terminal shows a bar."""


class Lines:
    """Tells a log how far something is, where no terminal shows a bar: a line a minute."""

    def __init__(self, console: Console, *, at_once: bool = False) -> None:
        """The first line comes `at_once`, or when a minute of the work is over."""
        self._console = console
        self._last = -math.inf if at_once else time.monotonic()

    def is_due(self, *, is_last: bool = False) -> bool:
        """Whether it is time for a line, as it always is for the last one."""
        has_passed = time.monotonic() - self._last >= LINE_EVERY
        return not self._console.is_terminal and (has_passed or is_last)

    def tell(self, text: str) -> None:
        """Print a line; the next one is due a minute later."""
        self._last = time.monotonic()
        print_text(self._console, text)


class StopSignals:
    """Ctrl-C and SIGTERM are handed to the object itself while its context lasts."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """What to do about a signal."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
