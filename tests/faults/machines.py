"""A training over two machines, of which ranks are killed, or a whole machine is lost.

    sudo python -m tests.faults.machines --count 10 --seed 1 [--only rank | machine]

The machines are network namespaces of this one, each with an address, a host name and an agent of
torchrun, and share the run folder. At a random moment `kill -9` ends one of the two ranks, or all
processes of a machine, its agent too. After a rank the group must come back by itself; a lost
machine is started again after ten seconds, and so is the other one's agent if it has ended, as it
does without the machine that they meet at. The training must go on from the last state, and end
with an undisturbed one's files, bit for bit.

Needs Linux, `ip`, `unshare` and the rights of root.
"""

from __future__ import annotations

import argparse
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..unit.processes import ROOT
from ..unit.run_files import content
from ..unit.tiny import draw_folders

SPACES = {1: "cyclegan1", 2: "cyclegan2"}
OPTIONS = (
    *("--save-every", 5, "--sample-every", 1000, "--pool-size", 2, "--device", "cpu"),
    *("--model.base-channels", 2, "--model.num-blocks", 1, "--disc-channels", 2),
    *("--disc-layers", 1, "--load-size", 18, "--crop-size", 16),
)
COMPARED = ("state.safetensors", "model.safetensors", "losses.csv")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def pids(machine: int) -> list[int]:
    """Every process on it."""
    said = subprocess.run(
        ["ip", "netns", "pids", SPACES[machine]], capture_output=True, text=True, check=False
    )
    return [int(word) for word in said.stdout.split()]


def rank_pids(machine: int) -> list[int]:
    """The trainings on it, without torchrun's own processes."""
    found = []
    for pid in pids(machine):
        with suppress(OSError):
            if b"\0LOCAL_RANK=" in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(pid)
    return found


def kill(numbers: list[int]) -> None:
    for pid in numbers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def machines() -> Generator[None]:
    """Two of them, with a cable, that know each other by name."""
    hosts = [f"10.77.0.{number} machine{number}\n" for number in SPACES]
    for name in SPACES.values():
        ip("netns", "add", name)
        folder = Path("/etc/netns", name)  # `ip netns exec` puts its files over those of /etc
        folder.mkdir(parents=True)
        (folder / "hosts").write_text("".join(["127.0.0.1 localhost\n", *hosts]))
    try:
        ip(
            "link",
            "add",
            "eth",
            "netns",
            SPACES[1],
            "type",
            "veth",
            "peer",
            "eth",
            "netns",
            SPACES[2],
        )
        for number, name in SPACES.items():
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth")
            ip("-n", name, "link", "set", "eth", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for number, name in SPACES.items():
            kill(pids(number))
            ip("netns", "del", name)
            shutil.rmtree(Path("/etc/netns", name))


def agent(machine: int, folder: Path, run: Path, steps: int) -> subprocess.Popen[bytes]:
    """Start torchrun on a machine."""
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 1]
    words += ["--max-restarts", 5, "--rdzv-backend", "c10d", "--rdzv-id", run.name]
    words += ["--rdzv-endpoint", "10.77.0.1:29400", "--local-addr", f"10.77.0.{machine}"]
    words += ["-m", "--", "cyclegan_core.cli", "train", folder / "a", folder / "b", "--run", run]
    words += ["--max-steps", steps, *OPTIONS]
    line = f"hostname machine{machine} && exec {shlex.join(map(str, words))}"
    own = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "eth", "PYTHONPATH": str(ROOT)}
    own |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with (run.parent / f"{run.name} {machine}.txt").open("ab") as out:
        return subprocess.Popen(
            ["ip", "netns", "exec", SPACES[machine], "unshare", "--uts", "sh", "-c", line],
            env={**os.environ, **own},
            stdout=out,
            stderr=out,
        )


def train(folder: Path, run: Path, steps: int, what: str = "", after: float = 0.0) -> str:
    """One training; `what` is killed `after` seconds since its first state. What became of it."""
    agents = {machine: agent(machine, folder, run, steps) for machine in SPACES}
    said = ""
    if what:
        while not (run / "state.safetensors").exists():
            time.sleep(0.05)
        time.sleep(after)
    lost = int(what[-1]) if what else 0
    if what.startswith("rank"):
        kill(rank_pids(lost))
    elif lost:
        kill(pids(lost))
        agents[lost].wait()
        other = agents[3 - lost]
        with suppress(subprocess.TimeoutExpired):
            other.wait(10)
        said = "the other waited"
        agents[lost] = agent(lost, folder, run, steps)
        # Without the place where they meet the other ends, at once or after a while.
        while (code := other.poll()) is None and agents[lost].poll() is None:
            time.sleep(0.5)
        if code:
            said = f"the other ended with code {code}"
            agents[3 - lost] = agent(3 - lost, folder, run, steps)
    codes = [each.wait() for each in agents.values()]
    if codes != [0, 0]:
        for machine in SPACES:
            sys.stdout.write((run.parent / f"{run.name} {machine}.txt").read_text())
        sys.exit(f"{run.name}: ended with {codes}; {said}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--only", choices=("rank", "machine"))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    kinds = [
        f"{kind} {number}"
        for kind in ("rank", "machine")
        if kind == (options.only or kind)
        for number in SPACES
    ]
    with tempfile.TemporaryDirectory() as name, machines():
        folder = Path(name)
        draw_folders(folder, count=6)
        train(folder, folder / "undisturbed", options.steps)
        expected = {file: content(folder / "undisturbed" / file) for file in COMPARED}
        for number in range(options.count):
            what, after = rng.choice(kinds), rng.uniform(0, 2)
            run = folder / f"killed {number}"
            began = time.monotonic()
            became = train(folder, run, options.steps, what, after)
            wrong = [file for file in COMPARED if content(run / file) != expected[file]]
            said = "".join((folder / f"{run.name} {machine}.txt").read_text() for machine in SPACES)
            back = [line for line in said.splitlines() if "Going on from step" in line]
            sys.stdout.write(
                f"{what} killed {after:.2f} s after the first state: {', '.join(back)} {became} "
                f"{time.monotonic() - began:.0f} s; not as undisturbed: {wrong}\n"
            )
            sys.stdout.flush()
            if wrong:
                sys.exit(1)


if __name__ == "__main__":
    main()
