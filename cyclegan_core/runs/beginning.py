"""What a run learned from before, so that it doesn't go on with something else unnoticed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..data.training_data import TrainingData
from ..files import is_on_network, read_text


def described(data: TrainingData) -> dict[str, Any]:
    """What `run.json` keeps of the pictures, JSON-ready, for `other_folders`."""
    report = data.report()
    folders = [str(folder.absolute()) for folder in (report.a.folder, report.b.folder)]
    return {"folders": folders, "names_digest": data.names_digest}


def read_before(run: str | Path) -> dict[str, Any]:
    """What `run.json` of a run says; empty where there is none, or a damaged one."""
    try:
        before = json.loads(read_text(Path(run) / "run.json"))
    except (OSError, ValueError, RecursionError):
        return {}
    return before if isinstance(before, dict) else {}


def other_folders(before: Mapping[str, Any], data: TrainingData) -> tuple[Path, Path] | None:
    """The folders of A and B that a run learned from, if `data` is of other ones.

    Folders stay the same whatever is added to them or taken away, and so do folders that were
    moved or copied: files of the same names and sizes. None where nothing is known.

    Args:
        before: what `run.json` says.
        data: what the run is to go on with.
    """
    try:
        noted = before["data"]
        folders = Path(noted["folders"][0]), Path(noted["folders"][1])
        names_digest = noted["names_digest"]
    except (ValueError, LookupError, TypeError):
        return None  # an older or damaged description
    report = data.report()
    now = report.a.folder, report.b.folder
    if names_digest == data.names_digest or all(map(_is_same, folders, now)):
        return None
    return folders


def new_warnings(before: Mapping[str, Any], warnings: Iterable[str]) -> tuple[str, ...]:
    """Those of the warnings about the folders that a run has not had before, in their order.

    Args:
        before: what `run.json` said before the run's `RunFolder` was entered.
        warnings: of `data.report()`, and the notes of an evaluation.
    """
    told: list[str] = []
    with suppress(LookupError, TypeError):
        told += before["data"]["warnings"]
        told += before["evaluation"]["notes"]
    return tuple(warning for warning in warnings if warning not in told)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two names are of one folder, by whatever links; no other computer is asked for it."""
    try:
        if not is_on_network(one):  # which a stranger may have written
            return one.samefile(other)
    except (OSError, ValueError):  # one is gone, or is no name of a file
        pass
    return one.absolute() == other.absolute()
