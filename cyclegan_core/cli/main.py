"""The `cyclegan` command: parses, runs one command, and turns faults into sentences and codes.

Exit codes: 0 all went well; 1 something failed and was named; 2 the command line makes no sense;
130 interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from .._version import __version__
from ..errors import CycleGANError


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
            "install it with: pip install tyro rich\n"
        )
        return 2
    del rich

    if argv[:1] == ["--version"]:
        sys.stdout.write(f"cyclegan {__version__}\n")
        return 0
    logging.basicConfig(level=logging.WARNING, format="cyclegan: %(message)s")
    try:
        command = tyro.cli(
            _commands(argv),
            prog="cyclegan",
            description="CycleGAN: translate pictures between two unpaired domains.",
            args=argv,
            config=(tyro.conf.OmitSubcommandPrefixes,),
            registry=_registry(),
        )
    except ValueError as error:  # a setting that its dataclass refuses
        return _fail(str(error), code=2, as_json="--json" in argv)
    try:
        return command.run()
    except CycleGANError as error:
        return _fail(str(error), code=1, as_json=command.json)
    except ValueError as error:
        return _fail(str(error), code=2, as_json=command.json)


def run() -> int:
    """`main` as a process, also for readers who leave early: `cyclegan info FILE | head -1`."""
    ask_for_large_pages()
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


def _commands(argv: Sequence[str]) -> Any:  # noqa: ANN401 - a type made of types
    """The union of all commands."""
    from tyro.conf import FlagCreatePairsOff, subcommand

    from .evaluate import Evaluate
    from .hub import List, Pull, Push
    from .train import Train, defaults
    from .translate import Reconstruct, Translate
    from .weights import Convert, Info

    preset = defaults(argv)
    train = subcommand("train", default=preset) if preset else subcommand("train")
    return (
        Annotated[Translate, FlagCreatePairsOff, subcommand("translate")]
        | Annotated[Reconstruct, FlagCreatePairsOff, subcommand("reconstruct")]
        | Annotated[Train, train]
        | Annotated[Evaluate, FlagCreatePairsOff, subcommand("evaluate")]
        | Annotated[Info, FlagCreatePairsOff, subcommand("info")]
        | Annotated[Convert, FlagCreatePairsOff, subcommand("convert")]
        | Annotated[Pull, FlagCreatePairsOff, subcommand("pull")]
        | Annotated[Push, FlagCreatePairsOff, subcommand("push")]
        | Annotated[List, FlagCreatePairsOff, subcommand("list")]
    )


def _registry() -> Any:  # noqa: ANN401 - of a package that is imported late
    """How `int | None`, `float | None` and so on look: `--grad-clip FLOAT|none`."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = ConstructorRegistry()

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


def _fail(sentence: str, *, code: int, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps({"error": sentence}) + "\n")
    else:
        sys.stderr.write(f"cyclegan: {sentence}\n")
    return code
