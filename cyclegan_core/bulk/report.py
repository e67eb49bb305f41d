"""A table of what was done, with a row for every picture, and what it comes to.

Rows are kept in small files while the job runs, so that a driver that is killed loses a minute of
them at most, and no pictures. At the end they become one file, those of earlier drivers included.
"""

from __future__ import annotations

import io
import secrets
import time
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import CycleGANError
from ..progress import duration
from .arrow import Table, pa, pc, pq
from .places import Place
from .worklist import FOLDER, WORK, Worklist

TRANSLATED = "translated"
THERE = "was there"
BROKEN = "failed"

REPORT = pa.schema(
    [
        ("input", pa.string()),
        ("output", pa.string()),
        ("status", pa.string()),
        ("seconds", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
        ("error", pa.string()),
    ]
)
"""Names below source and target; seconds from opening to written; pixels; bytes of the result. Of
what was there, all but the names are null if the driver that did it was killed before it noted
them."""

NAME = f"{FOLDER}/report.parquet"
SUMMARY = f"{FOLDER}/summary.txt"
PARTS = f"{FOLDER}/parts"

_ROWS = 10_000
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What a job comes to."""

    translated: int
    there: int
    failed: int
    seconds: float
    examples: list[str]
    """The first sentences of what failed."""
    report: str

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def __str__(self) -> str:
        total = self.translated + self.there + self.failed
        speed = f" ({self.translated / max(self.seconds, 1e-9):.1f} a second)"
        lines = [
            f"{total:,} pictures, {duration(self.seconds)}: {self.translated:,} translated"
            f"{speed if self.translated else ''}, {self.there:,} were there, {self.failed:,} failed"
        ]
        lines += [f"failed: {sentence}" for sentence in self.examples]
        if self.failed > len(self.examples):
            lines.append(f"and {self.failed - len(self.examples):,} more, in the report")
        return "\n".join([*lines, f"report: {self.report}"])


class Report:
    """Takes rows as they come; `finish` makes the file and the summary."""

    def __init__(self, target: Place) -> None:
        self._target = target
        self._run = f"{time.time_ns():020d}-{secrets.token_hex(2)}"
        self._number = 0
        self._rows: list[Table] = []
        self._written = time.monotonic()
        self.translated = self.there = self.failed = 0

    @property
    def done(self) -> int:
        """Rows so far."""
        return self.translated + self.there + self.failed

    def add(self, rows: Table) -> None:
        """Note rows of `REPORT`."""
        counts = {v["values"]: v["counts"] for v in pc.value_counts(rows["status"]).to_pylist()}
        self.translated += counts.get(TRANSLATED, 0)
        self.there += counts.get(THERE, 0)
        self.failed += counts.get(BROKEN, 0)
        self._rows.append(rows)
        is_old = time.monotonic() - self._written > _SECONDS
        if is_old or sum(map(len, self._rows)) >= _ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if self._rows:
            name = f"{PARTS}/{self._run}-{self._number:06d}.parquet"
            self._target.write_own(name, _bytes(pa.concat_tables(self._rows)))
            self._rows = []
            self._number += 1
        self._written = time.monotonic()

    def finish(self, work: Worklist, seconds: float) -> Summary:
        """Write the report of all pictures that the source has, and drop the parts."""
        self.flush()
        with self._target.telling(PARTS, "read"):
            found = self._target.listing(PARTS).files
        names = sorted(f"{PARTS}/{name}" for name in found if name.endswith(".parquet"))
        known = pa.concat_tables([self._read(NAME), *map(self._read, names)])
        broken = {"status": BROKEN, "output": None}
        refused = [{"input": i, "error": text, **broken} for i, text in work.refused.items()]
        table = _whole(work, known, pa.Table.from_pylist(refused, schema=REPORT))
        self._target.write_own(NAME, _bytes(table))
        for name in names:
            self._target.remove(name)
        failed = table.filter(pc.equal(table["status"], BROKEN))
        summary = Summary(
            translated=self.translated,
            there=len(table) - len(failed) - self.translated,
            failed=len(failed),
            seconds=round(seconds, 3),
            examples=failed["error"].slice(0, 5).to_pylist(),
            report=self._target.shown(NAME),
        )
        self._target.write_own(SUMMARY, f"{summary}\n".encode())
        return summary

    def _read(self, name: str) -> Table:
        """Rows of `REPORT`; none if there is no such file."""
        content = self._target.read_own(name)
        if content is None:
            return REPORT.empty_table()
        try:
            return pq.read_table(io.BytesIO(content)).select(REPORT.names).cast(REPORT)
        except (
            pa.ArrowException,
            OSError,
            ValueError,
            KeyError,
        ):  # a foreign file, or a damaged one
            raise CycleGANError(
                f"{self._target.shown(name)} is damaged; delete it, and the same command goes on."
            ) from None


def _whole(work: Worklist, known: Table, refused: Table) -> Table:
    """One row for each picture of the source, by name, from all that was ever noted.

    Of several rows the last that says what was done: a worker that died may have done more than it
    told, and its successor found those results there.
    """
    count = len(known)
    tells = pc.cast(pc.not_equal(known["status"], THERE), pa.int64())
    rank = pc.add(pc.multiply(tells, count), pa.array(range(count), pa.int64()))
    best = known.append_column("rank", rank).group_by("input").aggregate([("rank", "max")])
    place = best["rank_max"]
    last = known.take(pc.subtract(place, pc.multiply(pc.divide(place, max(1, count)), count)))

    names = ["input", "output"]
    todo = pa.concat_tables([WORK.empty_table(), *work.open]).select(names)
    there = pa.concat_tables([WORK.empty_table(), *work.there]).select(names)
    facts = last.drop_columns("output")
    done = facts.filter(pc.not_equal(facts["status"], BROKEN))  # it is there by now
    rows = [
        pa.concat_tables([todo.join(facts, "input"), there.join(done, "input")])
        .select(REPORT.names)
        .cast(REPORT),
        refused,
    ]
    table = pa.concat_tables(rows).sort_by("input")
    at = table.schema.get_field_index("status")
    return table.set_column(at, "status", pc.fill_null(table["status"], THERE))


def _bytes(table: Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
