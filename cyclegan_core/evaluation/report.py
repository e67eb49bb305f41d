"""What an evaluation found: scores in rows, with everything that they depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..config import Direction

MODEL, IDENTITY, MEAN, COLOUR, REAL = "model", "identity", "mean picture", "colour match", "real"
"""The rows: the model's translations, and what stands beside them."""

MEANINGS = {
    IDENTITY: "the pictures as they are",
    MEAN: "the mean of the target's training pictures",
    COLOUR: "an affine map of the colours, a filter",
    REAL: "other real pictures of the target, the aim",
    "fine detail": "to be about what real pictures of the target have",
    "cycle PSNR": "there and back",
}
"""What rows and scores are, for people who meet them in a table."""

FLOORS = (IDENTITY, MEAN, COLOUR)

_HIGHER_IS_BETTER = frozenset(
    ["PSNR", "SSIM", "cycle PSNR", "pixel accuracy", "class accuracy", "class IoU"]
)
_LOWER_IS_BETTER = frozenset(["L1", "perceptual distance", "KID", "FID"])


def better(metric: str) -> int:
    """+1 if higher scores of this name are better, -1 if lower ones are, 0 if neither is."""
    base = metric.partition(" (")[0]
    return (base in _HIGHER_IS_BETTER) - (base in _LOWER_IS_BETTER)


@dataclass(frozen=True, slots=True)
class Score:
    """One number."""

    value: float
    spread: float | None = None
    """Standard deviation over the subsets, of KID only; None where all of them are the same."""

    def __str__(self) -> str:
        digits = 4 if abs(self.value) < 1 else 3 if abs(self.value) < 10 else 2
        spread = "" if self.spread is None else f" ± {self.spread:.{digits}f}"
        return f"{self.value:.{digits}f}{spread}"


Row = Mapping[str, Score]
"""Scores by the name of the metric."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectionReport:
    """The scores of one direction."""

    direction: Direction
    source: str
    """Display name of the domain that is translated."""
    target: str
    """Display name of the domain that the translations are compared with."""
    num_sources: int
    """Pictures that were translated."""
    num_targets: int
    """Pictures that they were compared with."""
    rows: Mapping[str, Row]
    """The model's scores first, then those of the floors; a row lacks what it has no score for."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all scores, in the order of the table."""
        return tuple(dict.fromkeys(metric for row in self.rows.values() for metric in row))

    def unbeaten(self) -> dict[str, list[str]]:
        """Floor -> metrics in which it is at least as good as the model."""
        found: dict[str, list[str]] = {}
        for floor in FLOORS:
            row = self.rows.get(floor, {})
            for metric, score in self.rows[MODEL].items():
                sign = better(metric)
                if sign and metric in row and sign * (row[metric].value - score.value) >= 0:
                    found.setdefault(floor, []).append(metric)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Scores of one model, with everything that they depend on."""

    checkpoint: str
    """What was evaluated, for people."""
    paired: bool
    """Whether pictures were compared with their true partners."""
    directions: tuple[DirectionReport, ...]
    settings: Mapping[str, Any]
    """Seed, subset size and count, resize rules, extractor, folders, how colours were matched."""
    notes: tuple[str, ...] = field(default=())
    """What a reader should know, one sentence each."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON-ready values."""
        return {
            "checkpoint": self.checkpoint,
            "paired": self.paired,
            "directions": [
                {
                    **{key: value for key, value in asdict(report).items() if key != "rows"},
                    "rows": {
                        name: {metric: asdict(score) for metric, score in row.items()}
                        for name, row in report.rows.items()
                    },
                }
                for report in self.directions
            ],
            "settings": dict(self.settings),
            "notes": list(self.notes),
        }

    def scalars(self) -> dict[str, float]:
        """The model's scores as one flat row, "a_to_b PSNR" and so on, for tables and curves."""
        return {
            f"{report.direction} {metric}": score.value
            for report in self.directions
            for metric, score in report.rows[MODEL].items()
        }

    def score(self, metric: str) -> float:
        """The mean over directions of a score of the model.

        Args:
            metric: its name, also without the extractor's: "KID".

        Raises:
            ValueError: there is none of that name.
        """
        values = [
            score.value
            for report in self.directions
            for name, score in report.rows[MODEL].items()
            if metric in (name, name.partition(" (")[0])
        ]
        if not values:
            known = dict.fromkeys(m for report in self.directions for m in report.rows[MODEL])
            raise ValueError(f"metric must be one of {', '.join(known) or 'none'}; got {metric!r}.")
        return sum(values) / len(values)

    def summary(self) -> str:
        """One line per direction: the model's scores, each with the colour match's behind it."""
        lines: list[str] = []
        for report in self.directions:
            floor = report.rows.get(COLOUR, {})
            parts = [
                f"{metric} {score}"
                + (f" (colour match {floor[metric]})" if metric in floor else "")
                for metric, score in report.rows[MODEL].items()
            ]
            lines.append(f"{report.source} → {report.target}: {', '.join(parts)}")
        return "\n".join(lines)

    def for_card(self) -> dict[str, Any]:
        """What a weight file says of it, and its model card shows: tables of texts, no paths.

        `tables` has one for each direction, with a `title` and `rows`, the heads first;
        `settings` is a line of what the numbers depend on, and `notes` are sentences.
        """
        tables: list[dict[str, Any]] = []
        for report in self.directions:
            metrics = report.metrics
            rows = [["", *metrics]]
            for name, row in report.rows.items():
                rows.append([name, *(str(row[m]) if m in row else "" for m in metrics)])
            title = (
                f"{report.source} → {report.target}, {report.num_sources} pictures against "
                f"{report.num_targets}"
            )
            tables.append({"title": title, "rows": rows})
        facts = {"checkpoint": self.checkpoint, **self.settings}
        names = {key: Path(str(facts[key])).name for key in ("test_a", "test_b") if key in facts}
        told = [f"{key.replace('_', ' ')}: {value}" for key, value in (facts | names).items()]
        return {"tables": tables, "settings": "; ".join(told), "notes": list(self.notes)}
