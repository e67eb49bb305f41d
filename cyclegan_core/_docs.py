"""What the strings below the fields of a dataclass say: the one place where each is explained.

The command's help shows them, and Python's `help` where the class is `documented`.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from math import inf
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")

_WRAPPER = textwrap.TextWrapper(
    96,
    initial_indent="    ",
    subsequent_indent=" " * 8,
    break_long_words=False,
    break_on_hyphens=False,
)


def documented(kind: type[T]) -> type[T]:
    """Have the docstring of a dataclass end with its fields: what they are, may be, and default to.

    It is made when it is asked for, as reading the source takes longer than importing it.
    """
    kind.__doc__ = _Docstring(kind.__doc__ or "")  # pyright: ignore[reportAttributeAccessIssue]
    return kind


class _Docstring:
    """A docstring that grows when it is read."""

    def __init__(self, summary: str) -> None:
        self.summary = inspect.cleandoc(summary)

    def __get__(self, instance: object, owner: type) -> str:
        docs = field_docs(owner)
        lines = [self.summary, "", "Attributes:"]
        for field in fields(owner):  # pyright: ignore[reportArgumentType]
            # Up to its colon a field is on one line, as whoever reads such sections wants it.
            text = f"{field.name} ({_values(owner, field)}):".replace(" ", "\xa0")
            text += f" {docs.get(field.name, '')}"
            text += "" if (default := _default(field)) is None else f" Default: {default}."
            lines += _WRAPPER.wrap(text)
        return "\n".join(lines).replace("\xa0", " ")


def _values(kind: Any, field: Field[Any]) -> str:  # noqa: ANN401 - a dataclass
    """What a field may hold, in words."""
    hint = get_type_hints(kind)[field.name]
    options = get_args(hint)
    if options and all(isinstance(option, str) for option in options):
        return ", ".join(options)
    ranges: Mapping[str, tuple[float, float]] = getattr(kind, "ranges", {})
    text = str(field.type)
    if field.name not in ranges:
        return text
    low, high = ranges[field.name]
    if high < inf:
        return f"{text}, {low:g} to {high:g}"
    return f"{text}, above 0" if 0 < low < 1 else f"{text}, {low:g} or more"


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return f"{getattr(field.default_factory, '__name__', '')}()"
    return None if field.default is MISSING else str(field.default)


@cache
def field_docs(kind: type) -> dict[str, str]:
    """Each field, and what the string below it says in one line; Python itself forgets those."""
    inherited = {
        name: text
        for base in reversed(kind.__bases__)
        if is_dataclass(base)
        for name, text in field_docs(base).items()
    }
    body = next(
        part.body
        for part in _source(kind.__module__).body
        if isinstance(part, ast.ClassDef) and part.name == kind.__name__
    )
    return inherited | {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


@cache
def _source(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(sys.modules[module]))
