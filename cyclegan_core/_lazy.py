"""Names that a package offers without importing the modules they live in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def lazy_names(
    package: str, **homes: tuple[str, ...]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` (PEP 562), which import a module at first use.

    Type checkers don't run this: beside it, the names are imported under `TYPE_CHECKING`.

    Args:
        package: its `__name__`.
        homes: the names that each module offers; of a module in a room, "room__module".
    """
    modules = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = import_module("." + modules[name].replace("__", "."), package)
        value: object = getattr(home, name)
        setattr(sys.modules[package], name, value)  # the next time it is found at once
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return get, names
