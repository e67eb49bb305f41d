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
import tempfile
import time
from collections import Counter
from pathlib import Path

from .commands import COMMANDS, Command, Workshop, age, differing, results, workshop

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
            before, step = step, last_step(here)
            assert step >= before, f"a step was lost: {before} → {step}"
        age(here)
        code = shop.run(command, here, *command.again)
        assert code == 0, shop.output()
        assert not differing(results(command, here), wanted), differing(
            results(command, here), wanted
        )
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
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, workshop(Path(folder) / "shop") as shop:
        for name in options.only:
            begin, rng = time.monotonic(), random.Random(options.seed)
            share = options.train // len(TRAININGS) + 1
            count = share if name in TRAININGS else options.others
            found = campaign(shop, name, count, rng)
            seconds = time.monotonic() - begin
            print(f"{name}: {dict(found)}, {seconds:.0f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
