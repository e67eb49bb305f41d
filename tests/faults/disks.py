"""Disks that fail under a command: full, read-only, emptied, shared; clocks and bits that turn.

    python -m tests.faults.disks --count 20 --bits 300

A command is stopped before one of its file operations, drawn at random, and then

- the disk (a small tmpfs, which only root can mount) is filled to its last byte,
- or it becomes read-only,
- or all that the command has written is deleted,
- or the same command runs from start to end beside it;

then it goes on. It must succeed, or end with code 1 after a sentence; what a run before has left
is as it was; and where the disk is well again, the same command makes what an undisturbed run
makes. A clock that goes backwards changes nothing, and a flipped bit in a run's files is noticed,
or changes nothing.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cyclegan_core import CycleGANError
from cyclegan_core.runs.run_folder import RunFolder
from cyclegan_core.training.trainer import Trainer
from tests.unit.run_files import files, run
from tests.unit.tiny import assert_same, everything, make_config, open_folders
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

STEPS = 4
"""Of a training."""
DISK = "8m"


class Disk:
    """A tmpfs in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"

    def remount(self, how: str) -> bool:
        """Make it "ro" or "rw"; whether that was possible: not while a file is being written."""
        command = ["mount", "-o", f"remount,{how}", self.folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """To the last byte."""
        with self.ballast.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def repair(self) -> None:
        """As it was."""
        assert self.remount("rw")
        self.ballast.unlink(missing_ok=True)


@contextmanager
def mounted(folder: Path) -> Iterator[Disk]:
    """A disk at `folder`.

    Raises:
        PermissionError: only root can have one.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def short(name: str) -> Command:
    """A command with few steps, if it is a training."""
    command = COMMANDS[name]
    if command.words[0] != "train":
        return command
    return Command((*command.words, "--max-steps", STEPS), command.again, command.results)


def delete(here: Path) -> None:
    """Everything in a folder."""
    for path in here.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def disturb(
    shop: Workshop, disk: Disk, name: str, count: int, rng: random.Random, other: Server | None
) -> Counter[str]:
    """`count` faults of each kind in one command; what was counted."""
    command = short(name)
    here = disk.folder / "here"

    def fresh() -> None:
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        shop.forget()

    is_beside = False

    def beside() -> None:
        nonlocal is_beside
        assert other is not None
        other.start(shop.argv(command), shop.folder / "said beside", cwd=str(here))
        is_beside = True
        if name != "pull":  # which waits until the other one has fetched the file
            end_beside()

    def end_beside() -> None:
        nonlocal is_beside
        assert other is not None
        code, is_beside = other.end(), False
        assert code in (0, 1), (shop.folder / "said beside" / "err.txt").read_text()

    def deleted() -> None:
        delete(here)
        shop.forget()

    fresh()
    operations, _ = shop.size(command, here)
    wanted = results(command, here)
    kinds: dict[str, Callable[[], object]] = {
        "full": disk.fill,
        "read-only": lambda: disk.remount("ro"),
        "deleted": deleted,
    }
    if other is not None:
        kinds["two at once"] = beside
    found: Counter[str] = Counter()
    for kind, fault in kinds.items():
        for _ in range(count):
            fresh()
            has_results = kind in ("full", "read-only") and rng.random() < 0.5
            if has_results:  # of an earlier run, which this one replaces, or goes on with
                assert shop.run(command, here) == 0, shop.output()
            before = results(command, here)
            more = command.again if has_results and "--overwrite" in command.again else ()
            # A training holds its lock open, and such a disk can't be made read-only any more.
            is_first = kind == "read-only" and name != "bulk"
            moment = rng.randint(1, 1 if is_first else operations)
            code = at(shop, command, here, more, moment, fault)
            if is_beside:
                end_beside()
            outcome = f"{kind}: {'went well' if code == 0 else 'one sentence'}"
            found[outcome] += 1
            try:
                assert code in (0, 1), (code, shop.output())
                if code == 1:
                    shop.sentence()
                assert "Traceback" not in shop.output(), shop.output()
                if kind in ("full", "read-only"):
                    assert not leftovers(here) or kind == "read-only", leftovers(here)
                    after = results(command, here)
                    lost = [each for each in before if after.get(each) != before[each]]
                    assert not lost, lost
            except AssertionError as error:
                raise AssertionError(f"{name}, {kind}, operation {moment}: {error}") from error
            disk.repair()
            age(here)
            code = shop.run(command, here, *command.again)
            assert code == 0, f"{name}, {kind}, operation {moment}: {shop.output()}"
            wrong = differing(results(command, here), wanted)
            assert not wrong, f"{name}, {kind}, operation {moment}: {wrong}"
    fresh()
    assert shop.run(command, here, clock=3600) == 0, shop.output()
    assert not differing(results(command, here), wanted)
    found["clock going backwards"] += 1
    return found


def at(
    shop: Workshop,
    command: Command,
    here: Path,
    more: tuple[object, ...],
    moment: int,
    fault: Callable[[], object],
) -> int:
    """Run a command that finds a fault before its file operation number `moment`; its end."""
    pid = shop.start(command, here, *more, freeze_at=moment)
    said = shop.server.line()
    if "frozen" not in said:
        return int(said["ended"])
    fault()
    os.kill(pid, signal.SIGCONT)
    return shop.server.end()


def flip_bits(folder: Path, count: int, rng: random.Random) -> Counter[str]:
    """Flip a bit in a file of a run, `count` times; the training must see it, or not mind."""
    pictures, path = folder / "pictures", folder / "run"
    settings = {"max_steps": 3, "save_every": 1, "pool_size": 2}
    whole = everything(run(path, pictures, **settings))
    wanted = files(path)
    found: Counter[str] = Counter()
    for _ in range(count):
        name = rng.choice(("state.safetensors",) * 4 + ("run.json", "losses.csv"))
        content = (path / name).read_bytes()
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (path / name).write_bytes(damaged)
        trainer = Trainer(make_config(**settings), open_folders(pictures))
        fresh = everything(trainer)
        try:
            with RunFolder(path, trainer, num_samples=2):
                assert_same(everything(trainer), whole)
            found[f"{name}: changed nothing"] += 1
        except CycleGANError as error:
            found[f"{name}: {'one sentence' if str(error).isprintable() else 'lines'}"] += 1
            is_untouched = (path / name).read_bytes() == bytes(damaged)
            assert is_untouched, "what was there stays"
            assert_same(everything(trainer), fresh)
        (path / name).write_bytes(content)
    run(path, pictures, **settings)
    assert not differing(files(path), wanted)
    return found


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--bits", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        begin = time.monotonic()
        found = flip_bits(folder, options.bits, random.Random(options.seed))
        print(f"bits: {dict(found)}, {time.monotonic() - begin:.0f} s", flush=True)  # noqa: T201
        with (
            workshop(folder / "shop", has_ray="bulk" in options.only) as shop,
            mounted(folder / "disk") as disk,
            Server(*MODULES, **shop.server.env) as other,
        ):
            for name in options.only:
                begin, rng = time.monotonic(), random.Random(options.seed)
                count = (
                    min(3, options.count) if name == "export" else options.count
                )  # it takes seconds
                found = disturb(shop, disk, name, count, rng, other)
                seconds = time.monotonic() - begin
                print(f"{name}: {dict(found)}, {seconds:.0f} s", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
