"""Headers of weight files, mutated towards code that was not reached yet (needs atheris).

    pip install atheris
    python -m tests.faults.headers -max_total_time=600

Begins with a small file of every known layout. What is not a `CheckpointError` ends the run, and
leaves the file in the current folder.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cyclegan_core.checkpoint"]):
    from cyclegan_core.checkpoint import checkpoint, folder, layout_convert, layouts, settings
from cyclegan_core import CheckpointError

from .weight_files import change_header, originals

REACHED = (checkpoint, folder, layout_convert, layouts, settings)
"""What is watched."""


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Bytes as libFuzzer likes, or a header's entry as `weight_files` does."""
    if seed % 3:
        content = bytearray(data)
        try:
            change_header(content, random.Random(seed))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            pass  # it is no header any more
        else:
            return bytes(content[:max_size])
    return atheris.Mutate(data, max_size)


def main() -> None:
    """Run it; the options are libFuzzer's."""
    place = Path(tempfile.mkdtemp())
    path, corpus = place / "file.safetensors", place / "corpus"
    corpus.mkdir()
    for number, whole in enumerate(originals(place).values()):
        if whole.content[8:9] == b"{":
            (corpus / f"{number}").write_bytes(whole.content)

    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        settings.read_header(path)
        for call in (checkpoint.inspect_checkpoint, checkpoint.read_checkpoint):
            try:
                call(path)
            except CheckpointError as error:
                assert str(error).isprintable()  # noqa: PT017

    options = [sys.argv[0], "-max_len=100000", "-rss_limit_mb=4000", *sys.argv[1:], str(corpus)]
    atheris.Setup(options, attempt, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
