"""What `tyro` says about words that make no sense, as one sentence instead of a box."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import groupby

from ...validation import closest

_WIDE = 100_000
"""Columns of a terminal in which no line of a box is broken."""


@contextmanager
def as_sentences(
    argv: Sequence[str], command: str, options: Callable[[], Sequence[str]]
) -> Generator[None]:
    """Raise what tyro prints before it exits as a `ValueError`.

    Args:
        argv: the words, all of them.
        command: what has the help.
        options: gives all of its options; it is called when there is a mistake.
    """
    said = io.StringIO()
    try:
        with columns(_WIDE), redirect_stderr(said):
            yield
    except SystemExit as end:
        if end.code != 2:
            raise
        # A mistyped option is the cause of whatever else tyro misses.
        known = options()
        word = next((word for word in argv if _name(word) not in (None, *known)), None)
        text = sentence(said.getvalue(), known) if word is None else _unknown(word, known)
        text += " See" if text.endswith("?") else "; see"
        raise ValueError(f"{text} `{command} --help`.") from None


@contextmanager
def columns(count: int) -> Generator[None]:
    """Have what is printed meanwhile be as wide as a terminal of so many columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(count)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def options_in(help: str) -> list[str]:
    """The long options that a help page shows, each at the beginning of a line."""
    heads = re.findall(r"^[^-\w]*(-.*?)(?:  |$)", help, re.MULTILINE)
    return [option for head in heads for option in re.findall(r"--[a-z][\w.-]*", head)]


def _name(word: str) -> str | None:
    """A long option as the help writes it, without its value; None for another word."""
    match = re.match(r"--[a-zA-Z][\w.-]*", word)
    return match[0].replace("_", "-") if match else None


_FORMS = {"INT": "a whole number", "FLOAT": "a number"}
"""What tyro calls the kinds of values, and what people do."""


def sentence(box: str, options: Sequence[str] = ()) -> str:
    """What one of tyro's boxes says, without its full stop, in our words where they are known.

    A box is a title, a paragraph, and below a rule what else there is to say. Its lines are drawn
    in ASCII where the output is not UTF-8.
    """
    lines = [line.strip("│╭╰╮╯ ") for line in box.splitlines()]
    lines = [line for line in lines[1:] if line]
    parts = [list(group) for is_rule, group in groupby(lines, _is_rule) if not is_rule]
    first, *others = parts[0] if parts else [box.strip()]
    if match := re.fullmatch(r"invalid choice '(.*)' for argument '(.*)'\..* \((.*)\)\.", first):
        choices = re.findall(r"'(.*?)'", match[3])
        return _takes(match[2], f"one of {', '.join(choices)}", match[1], choices)
    if match := re.fullmatch(r"Error parsing (\S+): (.*)", first):
        # A group of options is named without dashes, by tyro's own name for the whole or none.
        name = match[1].removeprefix("__tyro-dummy-inner__.")
        return _bad_value(name if name[0] == "-" or name.isupper() else f"--{name}", match[2])
    if match := re.fullmatch(r"Unrecognized options: (.*)", first):
        return _unknown(match[1].split(", ")[0], options)
    if match := re.match(r"Missing value for argument '(.*?)'", first):
        return f"{match[1]} needs a value"
    if first.startswith("Missing from "):
        names = [line.rpartition(", ")[2] for line in others if re.match(r"-|[A-Z_]+( |$)", line)]
        return f"{', '.join(name for name in names if name[-1] not in '.)')} is missing"
    return first.rstrip(".")


def _is_rule(line: str) -> bool:
    return not line.strip("─-")


def _bad_value(option: str, why: str) -> str:
    """A value that is no number, or neither a number nor one of some words."""
    if match := re.fullmatch(r"invalid literal for int\(\) .*: '(.*)'", why):
        return _takes(option, _FORMS["INT"], match[1])
    if match := re.fullmatch(r"could not convert string to float: '(.*)'", why):
        return _takes(option, _FORMS["FLOAT"], match[1])
    if match := re.fullmatch(r"no type matching (.*) could be .* \['(.*)'\].*", why):
        forms = re.sub(r"[{}]", "", match[1]).split("|")
        words = [form for form in forms if form not in _FORMS]
        return _takes(
            option, " or ".join(_FORMS.get(form, form) for form in forms), match[2], words
        )
    return f"{option}: {why.rstrip('.')}"


def _takes(option: str, what: str, got: str, words: Sequence[str] = ()) -> str:
    near = closest(got, words)
    return f"{option} takes {what}; got '{got}'" + (f": did you mean {near}?" if near else "")


_CALLED = {
    "--epochs": "--max-steps",
    "--image-size": "--crop-size",
    "--name": "--run",
    "--output": "--out",
    "--size": "--work-size",
    "--steps": "--max-steps",
}
"""What options are called elsewhere, in the graph among others."""


def _unknown(word: str, known: Sequence[str]) -> str:
    if not word.startswith("-"):
        return f"'{word}' makes no sense here"
    word = word.partition("=")[0]
    name = _name(word) or word
    near = _CALLED.get(name)
    if near not in known:
        near = closest(name, known)
    return f"there is no option {word}" + (f": did you mean {near}?" if near else "")
