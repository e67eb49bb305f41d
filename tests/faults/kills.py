"""Commands that are killed at random moments: the same command goes on, and nothing is lost.

    python -m tests.faults.kills --train 200 --others 20

A kill comes before a file operation of the command, from outside just after it began one, or after
so much of its CPU time; each is drawn from a whole run's. A training must never go back a step, and
what comes out in the end is, bit for bit, what an undisturbed run makes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.host.comfyui import free_port
from tests.unit.warm import Server

from .commands import (
    COMMANDS,
    MODULES,
    Command,
    Workshop,
    age,
    differing,
    leftovers,
    results,
    workshop,
)

TRAININGS = ("train", "train seldom saved", "train with scores")
STEPS = 24
"""Of a training."""
KILLS_A_RUN = 20
"""Then it is left alone, to end."""


def campaign(shop: Workshop, name: str, count: int, rng: random.Random) -> Counter[str]:
    """Kill a command `count` times, in several runs; what was counted."""
    command = COMMANDS[name]
    if name in TRAININGS:
        command = Command((*command.words, "--max-steps", STEPS), command.again, command.results)
    whole = shop.fresh("undisturbed")
    operations, cpu = shop.size(command, whole)
    wanted = results(command, whole)
    found: Counter[str] = Counter()
    while found["kills"] < count:
        here, step = shop.fresh("killed"), 0
        found["runs"] += 1
        # Any moment of a whole run; later ones go on with what is there, which is shorter.
        for attempt in range(min(KILLS_A_RUN, count - found["kills"])):
            share = rng.random() / (4 if name in TRAININGS else 1)
            again = command.again if attempt else ()
            code = kill(shop, command, here, again, rng, share, (operations, cpu))
            if code == 0:
                found["came too late"] += 1
                break
            assert code in (-signal.SIGKILL, -signal.SIGPROF), shop.output()
            found["kills"] += 1
            age(here)
            before, step = step, last_step(here)
            assert step >= before, f"a step was lost: {before} → {step}"
        assert shop.run(command, here, *command.again) == 0, shop.output()
        if "--skip-existing" in command.again and leftovers(here):  # nothing was written any more
            assert shop.run(command, here, "--overwrite") == 0, shop.output()
        wrong = differing(results(command, here), wanted)
        assert not wrong, wrong
    return found


def kill(
    shop: Workshop,
    command: Command,
    here: Path,
    again: tuple[object, ...],
    rng: random.Random,
    share: float,
    size: tuple[int, float],
) -> int:
    """Kill it after about `share` of a whole run; how it ended."""
    operations, cpu = size
    moment = max(1, round(share * operations))
    how = rng.randrange(3)
    if how == 0:
        return shop.run(command, here, *again, die_at=moment)
    if how == 1:
        return shop.run(command, here, *again, cpu=max(0.005, share * cpu))
    pid = shop.start(command, here, *again, tell_at=moment)
    said = shop.server.line()
    if "told" in said:
        os.kill(pid, signal.SIGKILL)
        return shop.server.end()
    return int(said["ended"])


def ranks(shop: Workshop, other: Server, count: int, rng: random.Random) -> Counter[str]:
    """Kill one of two ranks that train together; the other must end by itself, and both go on."""
    words = shop.argv(COMMANDS["train seldom saved"], "--max-steps", STEPS)
    said = [shop.folder / f"said by {rank}" for rank in (0, 1)]

    def both(here: Path, victim: int = -1, **orders: Any) -> list[int]:
        """Run two ranks to their ends, as torchrun starts them; their exit codes."""
        group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        loopback = "lo0" if sys.platform == "darwin" else "lo"
        for rank, server in enumerate((shop.server, other)):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": loopback}
            more = orders if rank == victim else {}
            server.start(words, said[rank], cwd=str(here), env=group | own, **more)
        return [server.end() for server in (shop.server, other)]

    whole, found = shop.fresh("undisturbed"), Counter[str]()
    assert both(whole) == [0, 0], (said[0] / "err.txt").read_text()
    wanted = results(COMMANDS["train"], whole)
    here = shop.fresh("killed")
    while found["kills"] < count:
        victim = rng.randrange(2)
        # Earlier they have not met, and who waits for one that is gone is ended by torchrun only.
        codes = both(here, victim, cpu=rng.uniform(0.5, 1.2))
        if codes == [0, 0]:
            found["came too late"] += 1
            here = shop.fresh("killed")
            continue
        assert codes[victim] == -signal.SIGPROF, codes
        found["kills"] += 1
        lines = (said[1 - victim] / "err.txt").read_text().splitlines()
        kind = "a traceback" if "Traceback (most recent call last):" in lines else "a sentence"
        found[f"the other ended with {codes[1 - victim]} and {kind}"] += 1
        if found["kills"] % KILLS_A_RUN == 0 or found["kills"] == count:
            assert both(here) == [0, 0], (said[0] / "err.txt").read_text()
            assert not differing(results(COMMANDS["train"], here), wanted)
    return found


def last_step(here: Path) -> int:
    """What run.json of a training says; 0 before it is there."""
    try:
        return int(json.loads((here / "run" / "run.json").read_text())["step"])
    except FileNotFoundError:
        return 0


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--others", type=int, default=20)
    parser.add_argument("--ranks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS))
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        workshop(Path(folder) / "shop", has_ray="bulk" in options.only) as shop,
    ):
        for name in options.only:
            begin, rng = time.monotonic(), random.Random(options.seed)
            share = options.train // len(TRAININGS) + 1
            count = share if name in TRAININGS else options.others
            found = campaign(shop, name, count, rng)
            seconds = time.monotonic() - begin
            print(f"{name}: {dict(found)}, {seconds:.0f} s", flush=True)  # noqa: T201
        if options.ranks:
            with Server(*MODULES) as other:
                found = ranks(shop, other, options.ranks, random.Random(options.seed))
            print(f"one rank of two: {dict(found)}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
