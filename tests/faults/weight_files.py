"""Weight files with random damage: each loads, or is refused in a sentence, soon, in little memory.

    python -m tests.faults.weight_files --count 10000 --seed 1

In CI `test_weight_files.py` runs a short form of it.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from cyclegan_core import CheckpointError, CycleGAN, ModelConfig, inspect_checkpoint, load_model
from cyclegan_core.model import save_model

SLOWEST = 5.0
"""Seconds that a file may take."""
MOST_MEMORY = 500_000
"""KB by which the process may grow over all files."""


def originals(folder: Path) -> dict[str, bytes]:
    """Whole files of each kind."""
    model = CycleGAN(ModelConfig(base_channels=1, num_blocks=1))
    path = folder / "whole.safetensors"
    save_model(model, path)
    upstream = {f"module.{k}": v for k, v in model.gen_ab.state_dict().items()}
    trained = {"netG_A": upstream, "epoch": 3, "lr": [2e-4] * 9, "loss": {"a": 1.5}}
    found = {"ours": path.read_bytes()}
    for name, content in {"plain": upstream, "training": trained}.items():
        for is_zip in (True, False):
            buffer = io.BytesIO()
            torch.save(content, buffer, _use_new_zipfile_serialization=is_zip)
            found[f"{name} {'zip' if is_zip else 'legacy'}"] = buffer.getvalue()
    return found


def flip(content: bytearray, rng: random.Random) -> None:
    """Bits anywhere."""
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def flip_structure(content: bytearray, rng: random.Random) -> None:
    """Bytes where headers, pickles and directories lie."""
    for _ in range(rng.choice((1, 2, 4))):
        near = min(len(content), 4000)
        place = (
            rng.randrange(near) if rng.random() < 0.6 else len(content) - 1 - rng.randrange(near)
        )
        content[place] = rng.choice((0, 1, 0x28, 0x52, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def cut(content: bytearray, rng: random.Random) -> None:
    """The end, or a piece in the middle, is missing."""
    begin = rng.randrange(len(content))
    del content[begin : begin + rng.choice((1, 8, 100, len(content)))]


def insert(content: bytearray, rng: random.Random) -> None:
    """A piece of the file again, or rubbish, in between."""
    begin, place = rng.randrange(len(content)), rng.randrange(len(content))
    piece = content[begin : begin + rng.randrange(1, 200)]
    content[place:place] = piece if rng.random() < 0.5 else rng.randbytes(len(piece))


def overwrite(content: bytearray, rng: random.Random) -> None:
    """Zeros, or ones, as a bad disk gives them."""
    begin, length = rng.randrange(len(content)), rng.choice((4, 512, 4096))
    end = min(len(content), begin + length)
    content[begin:end] = rng.choice((b"\0", b"\xff")) * (end - begin)


def change_number(content: bytearray, rng: random.Random) -> None:
    """A decimal digit of a header: sizes, offsets, shapes."""
    digits = [i for i, byte in enumerate(content[:6000]) if 48 <= byte <= 57]
    if digits:
        content[rng.choice(digits)] = 48 + rng.randrange(10)


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    flip_structure,
    cut,
    insert,
    overwrite,
    change_number,
)


def attempt(path: Path) -> str:
    """What comes of a file: "loaded" or "refused"; anything else is raised."""
    result = "loaded"
    for call in (inspect_checkpoint, load_model):
        begin = time.monotonic()
        try:
            call(path)
        except CheckpointError as error:
            result = "refused"
            message = str(error)
            assert message.isprintable(), ascii(message)
            assert len(message) < 2100, len(message)
        seconds = time.monotonic() - begin
        assert seconds < SLOWEST, f"{call.__name__} took {seconds:.1f} s"
    return result


def run(count: int, seed: int, folder: Path) -> Counter[str]:
    """Damage `count` files and see; the one that fails stays in `folder`."""
    rng = random.Random(seed)
    whole = originals(folder)
    path = folder / "damaged.pth"
    outcomes: Counter[str] = Counter()
    for content in whole.values():
        path.write_bytes(content)
        assert attempt(path) == "loaded"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        kind = rng.choice(list(whole))
        content = bytearray(whole[kind])
        mutate = rng.choice(MUTATIONS)
        mutate(content, rng)
        path.write_bytes(content)
        outcomes[f"{kind}: {attempt(path)}"] += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_MEMORY, f"{grown} KB more"
    outcomes["KB more"] = grown
    return outcomes


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = run(options.count, options.seed, Path(folder))
    for name, number in sorted(outcomes.items()):
        print(f"{name}: {number}")  # noqa: T201
    print(f"{time.monotonic() - begin:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
