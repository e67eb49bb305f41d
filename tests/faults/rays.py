"""A Ray of one or more nodes on this computer, for the campaigns with bulk translation."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.host.comfyui import free_port
from tests.unit.processes import environment

ENV = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
"""Of whoever starts such a Ray, or works with it. Ray's workers stand back for everybody else, and
on a busy machine for ever."""

_SECONDS_TO_START = 120


@contextmanager
def node(*words: object, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """`ray start` with these words, to the end of the block; the process that has the node's."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    command += [*map(str, words), "--disable-usage-stats", "--object-store-memory", "100000000"]
    process = subprocess.Popen(
        command,
        env=environment() | ENV | env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def cluster(cpus: int = 2) -> Iterator[str]:
    """A Ray of this computer's own; its address."""
    port = free_port()
    # A socket's path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        words = ("--head", "--node-ip-address", "127.0.0.1", "--port", port, "--num-cpus", cpus)
        words += ("--include-dashboard", "false", "--temp-dir", folder)
        with node(*words) as process:
            end = time.monotonic() + _SECONDS_TO_START
            while not list(Path(folder).glob("session_latest/sockets/raylet*")):
                assert process.poll() is None, "Ray did not start"
                assert time.monotonic() < end, "Ray did not start in time"
                time.sleep(0.2)
            yield f"127.0.0.1:{port}"
