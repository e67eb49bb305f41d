"""What was begun and never ended: how a picture is found that kills whoever translates it."""

from __future__ import annotations

from collections import Counter
from typing import Protocol


class Attempts(Protocol):
    """Remembers beyond the life of a worker what was begun and never ended."""

    def begin(self, key: str) -> int:
        """Note that something begins; the how many-th time."""
        ...

    def end(self, keys: list[str]) -> None:
        """Forget about it."""
        ...


class Deaths:
    """`Attempts` in a process that lives as long as the job."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, key: str) -> int:
        """Note that something begins; the how many-th time."""
        self._begun[key] += 1
        return self._begun[key]

    def end(self, keys: list[str]) -> None:
        """Forget about it."""
        for key in keys:
            self._begun.pop(key, None)
