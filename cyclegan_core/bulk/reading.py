"""Reading ahead: the files of a block, many at a time, for whoever has the model.

Without torch, which would take a third of a gigabyte of every process that only reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .arrow import Table, pa
from .places import Place, fault

LARGE_FILE = 2**26
"""Bytes from which on a file isn't handed around, but opened by who translates it."""

READ = pa.schema(
    [
        ("input", pa.string()),
        ("output", pa.string()),
        ("content", pa.large_binary()),
        ("error", pa.string()),
    ]
)
"""What `read_block` makes: either the file's bytes, or what is wrong, or neither if it is large."""

_READERS = 8
"""Threads of one reader: a store answers after a while, but many at a time."""


def read_block(block: Table, source: Place, block_bytes: int) -> Iterator[Table]:
    """The files of a table of `worklist.WORK`, as tables of `READ` of about `block_bytes`."""

    def read(row: dict[str, Any]) -> dict[str, Any]:
        found = {"input": row["input"], "output": row["output"], "content": None, "error": None}
        if row["size"] >= LARGE_FILE:
            return found
        try:
            return found | {"content": source.read(row["input"])}
        except Exception as error:  # noqa: BLE001 - each kind of store has its own
            shown = source.shown(row["input"])
            return found | {"error": f"{shown} can't be read: {fault(error)}."}

    with ThreadPoolExecutor(_READERS) as pool:
        for rows in _portions(block.to_pylist(), block_bytes):
            yield pa.Table.from_pylist(list(pool.map(read, rows)), schema=READ)


def _portions(rows: list[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of about `most` bytes of files together."""
    portion: list[dict[str, Any]] = []
    held = 0
    for row in rows:
        size = row["size"] if row["size"] < LARGE_FILE else 0
        if portion and held + size > most:
            yield portion
            portion, held = [], 0
        portion.append(row)
        held += size
    if portion:
        yield portion
