"""The command in processes of their own that start warm: one that has imported everything forks.

Run by `python -m` it is that server: each line on its input is an order, for which it forks a
child that does `cyclegan …`; what it prints is said at `Server`. Its words are modules
to import beforehand.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .processes import environment, fork, settle, start_server, stop_server

OPERATIONS = ("open", "os.rename", "os.remove", "os.chmod", "os.mkdir")
"""Python's audit events that are counted in a child; `open` only for writing."""


MODULES = ("cyclegan_core.cli.train", "cyclegan_core.model", "cyclegan_core.runs.run_folder")
"""What most commands import when they run."""


class Server:
    """Starts children one at a time; a context manager."""

    def __init__(self, *modules: str, **env: str) -> None:
        self.modules = modules
        self.env = env

    def __enter__(self) -> Server:
        env = environment() | self.env
        self.process = start_server("tests.unit.warm", env, *MODULES, *self.modules)
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        stop_server(self.process)

    def start(self, argv: Sequence[object], folder: Path, **orders: Any) -> int:
        """Begin `cyclegan argv`, its output going to `folder`; returns the child's pid.

        Orders: `die_at` (number of the file operation before which it kills itself, from 1),
        `freeze_at` (likewise, SIGSTOP), `tell_at` (likewise, it says so and goes on), `cpu`
        (seconds of its CPU time after which it is ended without notice), `limit` (bytes that a
        file may have), `cwd`, `env` (more variables), `clock` (seconds by which its clock goes
        back each time it is read), `count` (at its end it says how many file operations it did).
        """
        folder.mkdir(exist_ok=True)
        orders |= {"argv": [str(word) for word in argv], "folder": str(folder)}
        self.process.stdin.write(json.dumps(orders) + "\n")
        self.process.stdin.flush()
        return self.line()["child"]

    def line(self) -> dict[str, int]:
        """The next thing it says.

        {"child": pid}, {"told": n}, {"frozen": n}, {"operations": n}, {"ended": code, "cpu": its
        seconds of CPU time}.
        """
        return json.loads(self.process.stdout.readline())

    def end(self) -> int:
        """Wait for the child's end: its exit code, or minus the signal."""
        while "ended" not in (said := self.line()):
            pass
        return said["ended"]

    def run(self, argv: Sequence[object], folder: Path, **orders: Any) -> int:
        """Start and wait."""
        self.start(argv, folder, **orders)
        return self.end()


def say(**words: float) -> None:
    os.write(3, (json.dumps(words) + "\n").encode())


def serve() -> None:
    """The server; descriptor 3 is what was the output, where no child writes by accident."""
    import importlib

    import torch

    for module in sys.argv[1:]:
        with suppress(ModuleNotFoundError):  # it only saves time
            importlib.import_module(module)
    torch.set_num_threads(1)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # imports more
    os.dup2(1, 3)
    os.write(3, b"ready\n")
    for line in sys.stdin:
        order = json.loads(line)
        pid = fork(child, order)
        say(child=pid)
        wait(pid)


def wait(pid: int) -> None:
    while True:
        _, status, used = os.wait4(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        say(frozen=0)
    say(ended=os.waitstatus_to_exitcode(status), cpu=used.ru_utime + used.ru_stime)


def child(order: dict[str, Any]) -> int:
    from cyclegan_core.cli.main import main

    settle(order)
    os.environ.update(order.get("env", {}))
    if "clock" in order:
        turn_back(order["clock"])
    if "cpu" in order:
        signal.setitimer(signal.ITIMER_PROF, order["cpu"])  # whose signal ends a process
    count = 0

    def count_operations(event: str, args: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in OPERATIONS or (event == "open" and not is_writing(args)):
            return
        count += 1
        if count == order.get("die_at"):
            os.kill(os.getpid(), signal.SIGKILL)
        if count == order.get("freeze_at"):
            os.kill(os.getpid(), signal.SIGSTOP)
        if count == order.get("tell_at"):
            say(told=count)

    sys.addaudithook(count_operations)
    try:
        return main(order["argv"])
    finally:
        if "count" in order:
            say(operations=count)


def turn_back(seconds: float) -> None:
    """Let the clock of the wall go backwards; that of `time.monotonic` can't."""
    import time

    now = time.time()

    def backwards() -> float:
        nonlocal now
        now -= seconds
        return now

    time.time = backwards


def is_writing(args: tuple[Any, ...]) -> bool:
    mode, flags = args[1], args[2]
    with suppress(TypeError):
        return bool(flags & (os.O_WRONLY | os.O_RDWR))
    return any(letter in (mode or "") for letter in "wax+")


if __name__ == "__main__":
    serve()
