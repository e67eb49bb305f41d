"""Users of the Hub, each in a process of its own with its own environment and its own cache.

Run by `python -m` it is a server that has imported everything: each line on its input is an
order, for which it forks a child that runs the `cyclegan` command or a piece of Python. The Hub's
address is read when `huggingface_hub` is imported, so the server is started for one address.
"""

from __future__ import annotations

import itertools
import json
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import processes
from ..processes import ROOT, Result, fork, settle, start_server, stop_server

PULL = """
from pathlib import Path
from cyclegan_core.hub import install as hub
result = vars_of(hub.pull(*arguments, folder=Path(folder), **options))
"""
NUMBERS = itertools.count(1)
"""Of all processes that were started."""


def environment(url: str, **more: str) -> dict[str, str]:
    """Of a user who knows the Hub at `url`; nothing of the tester's own login and settings."""
    plain = processes.environment()
    own = {k: v for k, v in plain.items() if not k.startswith(("HF_", "SSL_"))}
    ours = {
        "HF_ENDPOINT": url,
        "HF_HUB_DISABLE_XET": "1",  # which that Hub does not offer
        "HF_HUB_DISABLE_TELEMETRY": "1",  # would ask for one more page once a day
        "SSL_CERT_DIR": str(ROOT),  # no certificates: to read them takes longer than a test
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    return own | ours | more


class Clients:
    """Starts children; a context manager."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> Clients:
        self.process = start_server("tests.unit.hub.clients", environment(self.url))
        if self.process.stdout.readline() != '"ready"\n':
            self.process.communicate()
            raise RuntimeError("the package can't be imported; stderr says why")
        return self

    def __exit__(self, *_: object) -> None:
        stop_server(self.process)

    def order(self, **order: Any) -> int:
        self.process.stdin.write(json.dumps(order, default=str) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class User:
    """One person at one computer: a home folder, which holds the cache and the models."""

    def __init__(self, clients: Clients, home: Path, **env: str) -> None:
        self.clients = clients
        self.home = home
        self.env = {"HF_HOME": str(home / "hf"), "CYCLEGAN_MODELS": str(home / "models"), **env}

    @property
    def cache(self) -> Path:
        return self.home / "hf" / "hub"

    @property
    def models(self) -> Path:
        return self.home / "models"

    def start(self, **order: Any) -> Running:
        """Begin; its output goes to files in the home folder.

        Orders: `argv` or `code` with `values`; `cwd`, where it is; `limit`, bytes that a file may
        have.
        """
        folder = self.home / "said" / f"{next(NUMBERS)}"
        folder.mkdir(parents=True)
        order |= {"env": self.env, "home": self.home, "folder": folder}
        return Running(self.clients, self.clients.order(**order), folder)

    def start_cyclegan(self, *argv: object) -> Running:
        return self.start(argv=[str(word) for word in argv])

    def cyclegan(self, *argv: object) -> Result:
        """The command, to its end."""
        return self.start_cyclegan(*argv).end()

    def python(self, code: str, **values: Any) -> Result:
        """A piece of Python that knows `values`, to its end; JSON of `result` is its output.

        An error on purpose is {"error": class, "message": text}, and exit code 1.
        """
        return self.start(code=code, values=values).end()

    def pull(self, *arguments: Any, **options: Any) -> Result:
        """`hub.pull` into the folder of models, to its end: JSON of what it returns."""
        return self.start_pull(*arguments, **options).end()

    def start_pull(self, *arguments: Any, limit: int | None = None, **options: Any) -> Running:
        order = {} if limit is None else {"limit": limit}
        values = {"arguments": arguments, "options": options, "folder": self.models}
        return self.start(code=PULL, values=values, **order)

    def said(self) -> str:
        """Everything that any process of this user ever printed."""
        return "".join(path.read_text() for path in sorted(self.home.glob("said/*/*.txt")))


@dataclass
class Running:
    """A child that may still run."""

    clients: Clients
    pid: int
    folder: Path

    def interrupt(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C, or another signal."""
        os.kill(self.pid, number)

    def end(self) -> Result:
        """Wait for it."""
        code = self.clients.order(wait=self.pid)
        out, err = ((self.folder / name).read_text() for name in ("out.txt", "err.txt"))
        return Result(code, out, err)


def serve() -> None:
    """The server; descriptor 3 is what was the output, where no child writes by accident."""
    import gc
    import importlib

    import torch

    for module in ("cli.train", "hub.install", "hub.publish", "runs.run_folder"):
        importlib.import_module(f"cyclegan_core.{module}")  # for the children

    torch.set_num_threads(1)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # imports more
    gc.freeze()  # spares each child a copy of what its collector would touch
    os.dup2(1, 3)
    say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            say(os.waitstatus_to_exitcode(status))
            continue
        say(fork(child, order))


def say(word: object) -> None:
    os.write(3, (json.dumps(word) + "\n").encode())


def child(order: Mapping[str, Any]) -> int:
    """Become that user."""
    from huggingface_hub import constants

    settle(order)
    os.environ.update(order["env"])
    home = Path(order["env"]["HF_HOME"])
    # What the library would have read at its import, which lies behind us.
    constants.ENDPOINT = order["env"].get("HF_ENDPOINT", constants.ENDPOINT)
    constants.HUGGINGFACE_CO_URL_TEMPLATE = (
        constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}"
    )
    constants.HF_HOME = str(home)
    constants.HF_HUB_CACHE = str(home / "hub")
    constants.HF_TOKEN_PATH = str(home / "token")
    constants.HF_HUB_OFFLINE = order["env"].get("HF_HUB_OFFLINE") == "1"
    if "argv" in order:
        from cyclegan_core.cli.main import main

        return main(order["argv"])
    return run_python(order["code"], order["values"])


def run_python(code: str, values: dict[str, Any]) -> int:
    from cyclegan_core import errors

    try:
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "client.py")
            script.write_text(code, encoding="utf-8")
            names = runpy.run_path(str(script), {"vars_of": vars_of, **values})
    except (errors.CycleGANError, ValueError) as error:
        public = next(
            c
            for c in type(error).__mro__
            if c.__name__ in vars(errors) or c.__module__ == "builtins"
        )
        print(json.dumps({"error": public.__name__, "message": str(error)}))  # noqa: T201
        return 1
    print(json.dumps(names.get("result"), default=str))  # noqa: T201
    return 0


def vars_of(thing: object) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(thing)


if __name__ == "__main__":
    serve()
