"""The `cyclegan` command: parses, runs one command, and turns faults into sentences and codes.

Exit codes: 0 all went well; 1 something failed and was named; 2 the command line makes no sense;
130 interrupted.
"""

from __future__ import annotations

import gc
import inspect
import io
import json
import logging
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Union

from .._version import __version__
from ..errors import CycleGANError, plain
from ..validation import closest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; `argv` defaults to the process's arguments.

    Returns:
        The exit code (the process's own arguments that make no sense exit with 2 right away).
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        return _main(argv)
    except KeyboardInterrupt:
        return _fail("interrupted.", code=130, as_json="--json" in argv)


def _main(argv: list[str]) -> int:
    try:
        import rich
        import tyro
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"cyclegan: the command line needs {error.name}; "
            'install it with: pip install "cyclegan[cli]"\n'
        )
        return 2
    del rich, tyro

    if argv[:1] == ["--version"]:
        sys.stdout.write(f"cyclegan {__version__}\n")
        return 0
    if argv[:1] in ([], ["-h"], ["--help"]):
        (sys.stdout if argv else sys.stderr).write(_overview())
        return 0 if argv else 2
    if not argv[0].startswith("-") and argv[0] not in _MODULES:
        return _fail(_no_command(argv[0]), code=2, as_json=False)
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("cyclegan: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        command = parse(argv)
    except ValueError as error:
        return _fail(str(error), code=2, as_json="--json" in argv)
    try:
        return command.run()
    except CycleGANError as error:
        return _fail(str(error), code=1, as_json=command.json)
    except ValueError as error:
        return _fail(str(error), code=2, as_json=command.json)


def parse(argv: Sequence[str]) -> Any:  # noqa: ANN401 - one of many commands
    """The command that these words mean, with its settings; its `run` does it.

    Raises:
        SystemExit: after help.
        ValueError: words that make no sense, or a setting that its dataclass refuses.
    """
    import tyro

    from .parsing.groups import MORE
    from .parsing.mistakes import as_sentences

    argv = _with_side_by_side(list(argv))
    asks = not {"-h", "--help", _ALL}.isdisjoint(argv)
    is_short = asks and _ALL not in argv
    argv = ["--help" if word == _ALL else word for word in argv]
    name = argv[0] if argv[0] in _MODULES else None
    command = f"cyclegan {name}" if name else "cyclegan"
    try:
        with nullcontext() if asks else as_sentences(argv, command, partial(_options, name)):
            return tyro.cli(
                **_meant(argv),
                # Help comes from docstrings alone; looking for comments, too, takes time.
                config=(tyro.conf.HelptextFromCommentsOff,),
                registry=_registry(is_help=asks, is_short=is_short),
            )
    finally:
        if is_short and argv[0] == "train":
            sys.stdout.write(MORE)


def _options(command: str | None) -> list[str]:
    """All long options of a command, or those that stand before one, as the help has them."""
    from .parsing.mistakes import columns, options_in

    if command is None:
        return options_in(_overview())
    page = io.StringIO()
    with columns(80), redirect_stdout(page), suppress(SystemExit):
        parse([command, _ALL])
    return options_in(page.getvalue())


def run() -> int:
    """`main` as a process, also for readers who leave early: `cyclegan info FILE | head -1`."""
    ask_for_large_pages()
    # Imports make half a million objects that all stay: looking through them for garbage after
    # every 700, as Python does, is a tenth of the time that torch takes to import.
    gc.set_threshold(50_000)
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain about it once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def ask_for_large_pages() -> None:
    """Have torch ask Linux for pages of 2 MB, before its first large tensor on the CPU.

    It gives the memory of large feature maps back after each layer, and taking them anew in pages
    of 4 KB is up to a third of a translation's time. Whoever has set the variable is left alone.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


_GROUPS = {
    "Pictures": {"translate": "translate", "reconstruct": "translate", "bulk": "cluster.bulk"},
    "A style of your own": {"train": "train", "evaluate": "evaluate"},
    "Models": {
        "list": "hub",
        "info": "weights",
        "pull": "hub",
        "push": "hub",
        "convert": "weights",
        "distill": "distill",
        "export": "export",
    },
    "This computer": {"demo": "computer.demo", "doctor": "computer.doctor"},
}
"""The module of every command, in the order and under the headings of the help. Only that of the
command that is meant is imported: all of them would take a tenth of a second."""

_MODULES = {name: module for group in _GROUPS.values() for name, module in group.items()}


def _command(name: str) -> type:
    """The dataclass of a command; its name is the command's, capitalised."""
    return getattr(import_module(f".{_MODULES[name]}", __package__), name.capitalize())


def _meant(argv: Sequence[str]) -> dict[str, Any]:
    """What `tyro.cli` shall parse: one command, or all of them for a shell's completion."""
    from tyro.conf import FlagCreatePairsOff, subcommand

    def marked(name: str) -> Any:  # noqa: ANN401 - an annotated type
        # The switches of `train` alone have contraries: --compile, --no-compile.
        marks = () if name == "train" else (FlagCreatePairsOff,)
        return Annotated[(_command(name), subcommand(name), *marks)]

    name, *words = argv
    if name not in _MODULES:
        every = Union[tuple(map(marked, _MODULES))]  # noqa: UP007 - of a list made at run time
        return {"f": every, "args": argv, "prog": "cyclegan"}
    meant: dict[str, Any] = {"f": marked(name), "args": words, "prog": f"cyclegan {name}"}
    if name == "train":
        from .train import defaults

        preset = defaults(words)
        meant |= {"default": preset} if preset else {}
    return meant


_ALL = "--help-all"
"""Help with the options that few need."""

_START = "cyclegan translate photo.jpg"
"""What the help tells newcomers to type."""


def _overview() -> str:
    """What `cyclegan --help` says: every command in a line or two."""
    width = min(shutil.get_terminal_size().columns, 100)
    lines = ["usage: cyclegan COMMAND ...", ""]
    lines += ["CycleGAN: translate pictures between two unpaired domains.", ""]
    lines += [f"To begin with: {_START}", ""]
    for heading, commands in _GROUPS.items():
        lines.append(f"{heading}:")
        for name in commands:
            about = " ".join((inspect.getdoc(_command(name)) or "").partition("\n\n")[0].split())
            lines += _entry(name, about, width)
        lines.append("")
    lines.append("Options:")
    lines += _entry("COMMAND --help", "The options of a command; train --help-all has all.", width)
    lines += _entry("--version", "The version.", width)
    lines += _entry(
        "--tyro-print-completion bash|zsh",
        "A script that completes commands and options: put it where your shell looks.",
        width,
    )
    return "\n".join(lines) + "\n"


def _entry(name: str, about: str, width: int) -> list[str]:
    """A name and what it is about, in two columns."""
    indent = " " * 16
    wrapped = textwrap.wrap(about, width, initial_indent=indent, subsequent_indent=indent)
    head = f"  {name}"
    if len(head) >= len(indent):
        return [head, *wrapped]
    return [head.ljust(len(indent)) + wrapped[0].lstrip(), *wrapped[1:]]


def _no_command(word: str) -> str:
    """What somebody may have meant by a first word that is no command."""
    near = closest(word, _MODULES)
    if near:
        return f"there is no command '{word}'; did you mean {near}? `cyclegan --help` has all."
    if Path(word).suffix or os.path.exists(word):  # noqa: PTH110 - never raises
        return f"'{word}' is no command; to translate pictures: cyclegan translate {word}"
    return f"there is no command '{word}'; `cyclegan --help` has all."


def _with_side_by_side(argv: list[str]) -> list[str]:
    """`--side-by-side` alone means ab, as the data sets of pix2pix come."""
    words: list[str] = []
    for word, following in zip(argv, [*argv[1:], ""], strict=True):
        words.append(word)
        if word == "--side-by-side" and following not in ("no", "ab", "ba"):
            words.append("ab")
    return words


def _registry(*, is_help: bool = False, is_short: bool = False) -> Any:  # noqa: ANN401 - of a package imported late
    """How `int | None`, `float | None` and so on look, the help, and the groups of `train`."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    from .parsing.groups import rule
    from .train import Train

    registry = ConstructorRegistry()
    registry.struct_rule(partial(rule, command=Train, is_help=is_help, is_short=is_short))

    @registry.primitive_rule
    def _(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        number = next((kind for kind in (int, float, Path) if info.type == kind | None), None)
        if number is None:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=f"{number.__name__.upper()}|none",
            instance_from_str=lambda words: None if words[0] == "none" else number(words[0]),
            is_instance=lambda value: value is None or isinstance(value, number),
            str_from_instance=lambda value: ["none" if value is None else str(value)],
        )

    return registry


class _Plain(logging.Formatter):
    """Keeps names from files and servers from speaking to the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def _fail(sentence: str, *, code: int, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps({"error": sentence}) + "\n")
    else:
        sys.stderr.write(f"cyclegan: {plain(sentence)}\n")
    return code
