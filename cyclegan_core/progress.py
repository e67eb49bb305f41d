"""How long work says how far it is; it is cancelled through the same callback."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called as (done, in all), in pictures, strips or bytes; it cancels the work by raising."""


def ignore(*_: object) -> None:
    """Take any report and do nothing: the callback of those who don't watch."""
