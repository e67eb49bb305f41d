"""Bulk translation on two Ray nodes, one of which falls silent: its sockets stay, nothing answers.

    python -m tests.faults.nodes [--seconds 20]

That is what the loss of a machine's power or cable looks like from the others. A head and a second
node run on this computer; after a third of the results every process of the second is stopped
(SIGSTOP), for good, or for so many `--seconds`. The job must go on without it and end with every
result right, none of them written twice. When it is over the second node wakes up, and what its
workers still do must change nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from cyclegan_core import CycleGAN, ModelConfig, save_model
from tests.unit.processes import environment

from .bulk import check, draw, results
from .rays import ENV, cluster, node

LONGEST = 1200
"""Seconds after which the job hangs."""


def send(process: psutil.Process, what: signal.Signals) -> int:
    """A signal to a process and everything that it started; to how many."""
    everybody = [process, *process.children(recursive=True)]
    for each in everybody:
        with suppress(psutil.NoSuchProcess):
            each.send_signal(what)
    return len(everybody)


def workers(process: psutil.Process) -> int:
    """How many translate there."""
    found = 0
    for each in process.children(recursive=True):
        with suppress(psutil.Error):
            found += "MapBatches(_Actor)" in " ".join(each.cmdline())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = CycleGAN(ModelConfig(base_channels=24, num_blocks=2)).eval()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s: {text}", flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory() as name, cluster(2) as address:
        folder = Path(name)
        source, target, weights = folder / "in", folder / "out", folder / "model.safetensors"
        broken = draw(source, options.count, 1)
        save_model(model, weights)
        began = time.monotonic()
        second = ("--address", address, "--node-ip-address", "127.0.0.2", "--num-cpus", 2)
        with node(*second) as other, (folder / "said.txt").open("ab") as said:
            there = psutil.Process(other.pid)
            words = ["bulk", str(source), str(target), "--model", str(weights)]
            words += ["--precision", "fp32", "--workers", "3", "--address", address]
            time.sleep(20)  # until the second node has joined
            command = [sys.executable, "-m", "cyclegan_core.cli", *words]
            env = environment() | ENV
            driver = subprocess.Popen(command, stdout=said, stderr=said, env=env)
            while len(results(target)) < options.count // 3:
                assert driver.poll() is None, (folder / "said.txt").read_text()
                time.sleep(0.1)
            tell(f"{workers(there)} of 3 workers are on the second node")
            stopped = send(there, signal.SIGSTOP)
            at = time.monotonic()
            tell(f"{stopped} processes stopped, {len(results(target))} results")
            before, last, longest, moved = results(target), len(results(target)), 0.0, at
            while driver.poll() is None:
                now = len(results(target))
                if now != last:
                    longest, last = max(longest, time.monotonic() - moved), now
                    moved = time.monotonic()
                if options.seconds and time.monotonic() - at > options.seconds:
                    send(there, signal.SIGCONT)
                    tell(f"awake, {now} results")
                    options.seconds = 0
                if time.monotonic() - at > LONGEST:
                    os.kill(driver.pid, signal.SIGKILL)
                    sys.exit(f"hangs at {now} results: {(folder / 'said.txt').read_text()}")
                time.sleep(0.1)
            tell(f"ended with {driver.returncode}; the longest pause was {longest:.0f} s")
            tell((folder / "said.txt").read_text())
            while "the same command goes on" in (folder / "said.txt").read_text():
                (folder / "said.txt").write_text("")
                code = subprocess.run(command, stdout=said, stderr=said, env=env).returncode
                tell(f"the same command ended with {code}")
            done = results(target)
            assert {name: done.get(name) for name in before} == before, "something was done twice"
            send(there, signal.SIGCONT)
            time.sleep(15)
            check(source, target, model, broken)
            tell(
                f"as translate makes them: {len(done)} results; {len(broken)} broken ones are told"
            )
            changed = [name for name, file in results(target).items() if done[name] != file]
            tell(f"files that the woken node wrote anew, with the same bytes: {len(changed)}")


if __name__ == "__main__":
    main()
