"""What translates blocks of pictures, whoever hands them to it: Ray's actors, or a plain loop.

A worker decodes the next pictures and writes the last ones while the network computes. It holds
the files of a block, and of decoded pictures three groups at a time: memory is bounded by bytes,
whatever their number.
"""

from __future__ import annotations

import io
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from PIL import Image

from ..config import Direction, Memory
from ..device.memory import free_bytes, is_out_of_memory
from ..device.precision import DTYPES, Precision
from ..errors import CycleGANError, PictureError
from ..model import CycleGAN
from ..pictures.files import MAX_PIXELS
from ..pictures.picture import OpenPicture, open_picture
from ..pictures.rows import ImageRows
from ..translation.plan import Limits
from ..validation import WorkSize
from .arrow import Table, pa
from .attempts import Attempts, Deaths
from .places import Place, fault
from .report import BROKEN, REPORT, THERE, TRANSLATED
from .worklist import is_whole

BATCH_PIXELS = 2**21
"""Most pixels of pictures of one size that go together."""

_MOST_DEATHS = 3
"""Workers that may die at a picture before it is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every picture is translated with; the same for all of a job."""

    direction: Direction
    precision: Precision = "fp32"
    memory: Memory = "auto"
    work_size: WorkSize = 0
    detail: float = 1.0
    strength: float = 1.0

    def for_translate(self) -> dict[str, Any]:
        """As `CycleGAN.translate` takes them."""
        return {
            "direction": self.direction,
            "dtype": DTYPES[self.precision],
            "memory": self.memory,
            "work_size": self.work_size,
            "detail": self.detail,
        }


@dataclass(slots=True)
class _Task:
    """A picture on its way."""

    input: str
    output: str
    content: bytes | None
    is_again: bool = False
    """Whether a worker died at it, or at one that it was together with."""
    size: tuple[int, int] = (0, 0)
    picture: OpenPicture | None = None
    result: ImageRows | None = None
    row: dict[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0


class Worker:
    """One model, and the two places; called with a block of `READ`, gives one of `REPORT`."""

    def __init__(
        self,
        model: CycleGAN,
        settings: Settings,
        source: Place,
        target: Place,
        attempts: Attempts | None = None,
        *,
        share: int = 1,
    ) -> None:
        """The model is in eval mode, on the device that computes, whose memory `share` divide."""
        self._model = model
        self._settings = settings
        self._source = source
        self._target = target
        self._attempts = attempts or Deaths()
        self._share = share
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")

    def __call__(self, block: Table) -> Table:
        """Translate the pictures of a block and write the results; what fails becomes a row."""
        tasks: list[_Task] = []
        rows: list[dict[str, Any]] = []
        for row in block.to_pylist():
            if row["error"]:
                rows.append(_row(row["input"], row["output"], BROKEN, error=row["error"]))
            else:
                tasks.append(_Task(row["input"], row["output"], row["content"]))
        if tasks:
            # The names are the same if a block comes again because a worker died at it. Then its
            # pictures go one by one, so that one that kills every worker is found and left alone.
            key = f"block {tasks[0].input}"
            if self._attempts.begin(key) == 1:
                rows += self._together(tasks)
            else:
                for task in tasks:
                    rows += self._alone(task)
            self._attempts.end([key, *(task.input for task in tasks)])
        return pa.Table.from_pylist(rows, schema=REPORT)

    def _alone(self, task: _Task) -> list[dict[str, Any]]:
        if self._attempts.begin(task.input) <= _MOST_DEATHS:
            task.is_again = True
            rows = self._together([task])
            self._attempts.end([task.input])
            return rows
        sentence = (
            f"{self._source.shown(task.input)} ended its worker {_MOST_DEATHS} times; it may need "
            "more memory than there is: make it smaller, or look at it."
        )
        return [_row(task.input, task.output, BROKEN, error=sentence)]

    def _together(self, tasks: list[_Task]) -> list[dict[str, Any]]:
        """The rows of pictures: one group decodes, one computes, one is written."""
        for task in tasks:
            task.size = _header_size(task.content)
        tasks.sort(key=lambda task: task.size)  # stable: the same order at every attempt
        groups = list(_groups(tasks))
        written: Future[None] | None = None
        loading = self._loader.submit(self._load, groups[0])
        for number, group in enumerate(groups):
            loading.result()
            if number + 1 < len(groups):
                loading = self._loader.submit(self._load, groups[number + 1])
            self._translate(group)
            if written is not None:
                written.result()
            written = self._writer.submit(self._write, group)
        if written is not None:
            written.result()
        return [task.row for task in tasks]

    def _load(self, group: list[_Task]) -> None:
        for task in group:
            started = time.perf_counter()
            try:
                # By a worker that died since, or by another driver. A store charges for the
                # question, and is only asked where there is a reason.
                is_asked = task.is_again or self._target.is_local
                if is_asked and is_whole(self._target, task.output, self._target.size(task.output)):
                    task.row = _row(task.input, task.output, THERE)
                    continue
                task.picture = self._open(task)
            except Exception as error:  # noqa: BLE001 - each kind of store has its own
                self._note(task, error)
            task.content = None
            task.seconds = time.perf_counter() - started

    def _open(self, task: _Task) -> OpenPicture:
        name = self._source.shown(task.input)
        # Only for what Pillow would refuse: it is lifted for one picture at a time. No size is
        # known of what it already refuses to look at.
        limit = Image.MAX_IMAGE_PIXELS or MAX_PIXELS
        is_usual = task.content is not None and 0 < task.size[0] * task.size[1] <= limit
        most = None if is_usual else MAX_PIXELS
        if task.content is not None:
            return open_picture(name, max_pixels=most, content=io.BytesIO(task.content))
        with self._source.open(task.input) as file:
            return open_picture(name, max_pixels=most, content=file)

    def _translate(self, group: list[_Task]) -> None:
        alike: dict[tuple[int, int, int], list[_Task]] = defaultdict(list)
        for task in group:
            if task.picture is not None:
                alike[task.picture.rows.size].append(task)
        for tasks in alike.values():
            started = time.perf_counter()
            try:
                self._compute(tasks)
            except Exception as error:  # noqa: BLE001 - one picture never stops the others
                if len(tasks) == 1:
                    self._note(tasks[0], error)
                else:
                    for task in tasks:
                        try:
                            self._compute([task])
                        except Exception as its_error:  # noqa: BLE001
                            self._note(task, its_error)
            for task in tasks:
                task.seconds += (time.perf_counter() - started) / len(tasks)

    def _compute(self, tasks: list[_Task]) -> None:
        """Pictures of one size, by the calls of `cyclegan translate`, and so the same bytes."""
        how: dict[str, Any] = {**self._settings.for_translate(), "limits": self._limits()}
        channels = self._model.config.channels(self._settings.direction)[1]
        pictures = [task.picture for task in tasks if task.picture is not None]
        blends = [picture.new_blend(channels, self._settings.strength) for picture in pictures]
        if len(pictures) == 1:
            self._model.translate_rows(pictures[0].rows, blends[0][1], **how)
        else:
            images = torch.stack([picture.pixels() for picture in pictures])
            for (_, sink), pixels in zip(blends, self._model.translate(images, **how), strict=True):
                sink.write(0, pixels)
        for task, (result, _) in zip(tasks, blends, strict=True):
            task.result = result

    def _limits(self) -> Limits:
        free = free_bytes(next(self._model.parameters()).device) if self._share > 1 else None
        return Limits(free_bytes=None if free is None else free // self._share)

    def _write(self, group: list[_Task]) -> None:
        for task in group:
            picture, result = task.picture, task.result
            if picture is None or result is None:
                continue
            started = time.perf_counter()
            _, height, width = picture.rows.size
            try:
                size = self._target.write(
                    task.output, lambda path, p=picture, r=result: p.write(path, r)
                )
            except Exception as error:  # noqa: BLE001 - each kind of store has its own
                self._note(task, error)
            else:
                seconds = task.seconds + time.perf_counter() - started
                task.row = _row(
                    task.input,
                    task.output,
                    TRANSLATED,
                    seconds=round(seconds, 4),
                    width=width,
                    height=height,
                    bytes=size,
                )
            task.picture = task.result = None

    def _note(self, task: _Task, error: Exception) -> None:
        """Make the picture's row one of what went wrong, in a sentence."""
        task.picture = task.result = None
        name = self._source.shown(task.input)
        if isinstance(error, PictureError):
            sentence = str(error)
        elif isinstance(error, CycleGANError):
            sentence = f"{name}: {error}"
        elif is_out_of_memory(error):
            sentence = f"{name} needs more memory than there is; make it smaller."
        else:
            sentence = f"{name}: {fault(error)}."
        task.row = _row(task.input, task.output, BROKEN, error=sentence)


def _row(source: str, output: str, status: str, **facts: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"input": source, "output": output, "status": status, **facts}


def _header_size(content: bytes | None) -> tuple[int, int]:
    """Height and width as the header has them; 0 of a large file, a huge picture, a broken one."""
    if content is None:
        return (0, 0)
    try:
        with Image.open(io.BytesIO(content)) as image:
            return (image.height, image.width)
    except Exception:  # noqa: BLE001 - it is said when the picture is opened
        return (0, 0)


def _groups(tasks: list[_Task]) -> Iterator[list[_Task]]:
    """Runs of one size, of at most `BATCH_PIXELS` each, or of one picture."""
    for (height, width), alike in groupby(tasks, key=lambda task: task.size):
        most = max(1, BATCH_PIXELS // max(1, height * width)) if height else 1
        found = list(alike)
        for start in range(0, len(found), most):
            yield found[start : start + most]
