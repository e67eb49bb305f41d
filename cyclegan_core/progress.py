"""How long work says how far it is, and how long it takes; it is cancelled through the callback."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called as (done, in all), in pictures, parts of them or bytes; it cancels the work by raising."""


def ignore(*_: object) -> None:
    """Take any report and do nothing: the callback of those who don't watch."""


def duration(seconds: float) -> str:
    """A time for people, as exact as they need it: "40 s", "12 min", "1 h 40 min", "3 d 4 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 10:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours + (minutes >= 30), 24)
    if days == 0:
        return f"{hours} h"
    return f"{days} d {hours} h" if hours else f"{days} d"
