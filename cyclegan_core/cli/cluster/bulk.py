"""`cyclegan bulk`: any number of pictures, of a folder or an object store, on many computers."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Annotated, Literal

import tyro
from rich.console import Console

from ...config import Memory
from ...errors import CycleGANError
from ...hub.catalog import DEFAULT_MODEL
from ...validation import WorkSize, check_float, check_work_size
from ..common import counting_bar, find_with_bar, optional, print_text
from ..translate import check_files_fit

_PACKAGES = ("ray", "pyarrow", "fsspec")
"""What the extra installs; fsspec comes with torch, too."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Who does the work."""

    address: Annotated[str, tyro.conf.arg(metavar="local|auto|HOST:PORT")] = "local"
    """local starts a Ray of this computer's own, which ends with the job; auto is the one that
    runs here; HOST:PORT the head of a cluster."""
    gpus_per_worker: Annotated[float | None, optional("NUMBER")] = None
    """GPUs of a worker, parts of one too; by default 1 where there are any, else 0."""
    workers: Annotated[int | None, optional("NUMBER")] = None
    """How many; by default as many as there is room for, with a CPU left to read."""


@dataclass(frozen=True, kw_only=True)
class Bulk:
    """Translate a folder or store of any size, on this computer or a Ray cluster.

    Results keep their names; TARGET/_cyclegan has the report.

    The same command goes on with what was stopped: nothing whole is done again.
    """

    source: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SOURCE")]]
    """A folder, or a URL that fsspec reads: s3://, gs://, hf:// and more (searched through)."""
    target: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="TARGET")]]
    """A folder outside the source, or a URL; every computer must see it."""
    model: Annotated[str, tyro.conf.arg(aliases=["-m"], metavar="MODEL")] = DEFAULT_MODEL
    """A name of `cyclegan list`, a weight file of any known layout, a folder with one, or
    hub:owner/repo."""
    direction: Annotated[Literal["auto", "a_to_b", "b_to_a"], tyro.conf.arg(aliases=["-d"])] = (
        "auto"
    )
    """Which way to translate; auto is the only way that the model knows, and a_to_b if it knows
    both."""
    cluster: Annotated[Cluster, tyro.conf.OmitArgPrefixes] = field(default_factory=Cluster)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the convolutions; auto is measured on one worker when the job begins, and
    kept for all of it."""
    memory: Memory = "auto"
    """How a picture goes through the network; auto is whole where it fits, else streamed."""
    work_size: Annotated[WorkSize, tyro.conf.arg(metavar="PIXELS|auto")] = 0
    """Short side of a picture while the network works on it; 0 is the picture's own size."""
    detail: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0
    """How much of the fine detail that a smaller --work-size loses is put back, from 0 to 1."""
    strength: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 1.0
    """How much of the translation is blended over the original: 0 is the original, 1 the
    translation."""
    json: bool = False
    """Print the summary for programs instead of progress for people."""

    def run(self) -> int:
        """Do all that is left to be done; returns the exit code, 1 if any picture failed."""
        check_work_size(self.work_size)
        check_float("detail", self.detail, low=0, high=1)
        check_float("strength", self.strength, low=0, high=1)
        missing = [name for name in _PACKAGES if find_spec(name) is None]
        if missing:
            raise CycleGANError(
                f'cyclegan bulk needs {" and ".join(missing)}: pip install "cyclegan[ray]"'
            )
        path = find_with_bar(self.model, hidden=self.json)

        from ...bulk.bulk import Workers, translate_bulk
        from ...bulk.worker import Settings
        from ...model import load_model

        workers = Workers(
            address=self.cluster.address,
            gpus_per_worker=self.cluster.gpus_per_worker,
            count=self.cluster.workers,
        )
        model = load_model(path, direction="a_to_b" if self.direction == "auto" else self.direction)
        direction = model.directions[0] if self.direction == "auto" else self.direction
        model.generator(direction)
        check_files_fit(self.model, model.config.channels(direction))
        settings = Settings(
            direction=direction,
            memory=self.memory,
            work_size=self.work_size,
            detail=self.detail,
            strength=self.strength,
        )
        console = Console(stderr=True, quiet=self.json)

        def tell(sentence: str) -> None:
            print_text(console, sentence)

        with counting_bar(console) as bar:
            task = bar.add_task("translating", total=None)

            def on_progress(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            summary = translate_bulk(
                model,
                self.source,
                self.target,
                settings,
                precision=self.precision,
                workers=workers,
                tell=tell,
                on_progress=on_progress,
            )
        if self.json:
            sys.stdout.write(json.dumps(summary.to_dict()) + "\n")
        else:
            tell(str(summary))
        return 1 if summary.failed else 0
