"""Processes of their own that tests start, and children that a warm server forks for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]


class Result(NamedTuple):
    """How a command, or a piece of Python, ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment() -> dict[str, str]:
    """The tester's own, with one thread and this repository's package."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def start_server(module: str, env: Mapping[str, str], *words: str) -> subprocess.Popen[str]:
    """Start a server that forks; orders go to its input, answers come from its output."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *words],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def stop_server(process: subprocess.Popen[str]) -> None:
    """Let it end: it has no more orders."""
    process.stdin.close()
    process.stdout.close()
    assert process.wait() == 0


def fork(child: Callable[[dict[str, Any]], int], order: dict[str, Any]) -> int:
    """In a server: do an order in a child, which ends with the code it returns; the child's pid."""
    pid = os.fork()
    if pid == 0:
        try:
            code = child(order)
        except SystemExit as error:
            code = int(error.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return pid


def settle(order: Mapping[str, Any]) -> None:
    """In a child: be a process in `cwd` that prints to `folder`, hears Ctrl-C and obeys `limit`."""
    import logging
    import resource

    for number, name in ((0, os.devnull), (1, "out.txt"), (2, "err.txt")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(Path(order["folder"]) / name, flags), number)
    os.chdir(order.get("cwd", "."))
    logging.getLogger().handlers.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "limit" in order:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], resource.RLIM_INFINITY))
