"""A video file through a model, frame by frame, so that a killed run goes on where it ended.

Beside the result, in a hidden folder, the finished segments lie until they are put together, with
what has been measured; the folder goes when the result is there. It names the clip, the weights and
all settings: with others the work begins anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..config import Direction, FilmSettings
from ..distillation.pairs import weights_digest
from ..errors import PictureError, reason
from ..files import atomic_write, make_folder, read_table
from ..model import CycleGAN
from ..progress import OnProgress, ignore
from ..translation.film import Film
from .clip import Clip, Frame, read_clip, read_frames
from .writer import check_target, join, write_segment

SEGMENT_FRAMES = 50
"""Frames of a segment: what a killed run loses at most. Each begins with a key frame: results are 2
to 6 % larger than with 100 frames, and take no longer."""

_PIXELS_AT_A_TIME = 2**23
"""Most pixels of frames that are in memory at a time, beside what the network needs; a frame at
least."""


@dataclass(frozen=True, slots=True)
class FilmReport:
    """What became of a clip."""

    width: int
    height: int
    frames: int
    resumed_frames: int
    """How many of them an earlier run had translated."""
    notes: tuple[str, ...]
    """What was unusual about the file, for people."""


def translate_film(  # noqa: PLR0913 - those of `CycleGAN.film`, and from where to where
    model: CycleGAN,
    source: Path,
    target: Path,
    direction: Direction = "a_to_b",
    settings: FilmSettings | None = None,
    *,
    strength: float = 1.0,
    on_progress: OnProgress = ignore,
    **how: Any,  # noqa: ANN401
) -> FilmReport:
    """Translate a video file; sound, frame rate, even a variable one, and size stay.

    A clip that is stored turned comes out upright. Colours are of 8 bits, without transparency.

    Args:
        model: on any device.
        source: the clip.
        target: ends like one of `names.FORMATS`; replaced if it is there.
        direction: "a_to_b" or "b_to_a".
        settings: the statistics of norms, and how much is carried on from frame to frame.
        strength: how much of the translation is blended over the clip, from 0 to 1, which is all.
        on_progress: called after each frame that is measured or translated, and after each strip
            of a large one; the total is an estimate if the file tells no true one.
        **how: the other arguments of `CycleGAN.film`.

    Raises:
        PictureError: the clip can't be read, the result can't be written, another process is
            writing it, or PyAV is not installed.
        CycleGANError: see `CycleGAN.translate`.
    """
    settings = settings or FilmSettings()
    clip = read_clip(source)
    check_target(clip, target)
    film = model.film(direction, settings, **how)
    names = {name: str(value) for name, value in how.items() if name != "limits"}
    names["strength"] = str(strength)
    job = {
        "clip": [str(source.resolve()), source.stat().st_size, source.stat().st_mtime_ns],
        "weights": weights_digest(model, direction),
        "device": str(next(model.parameters()).device.type),
        "settings": asdict(settings) | names | {"direction": direction},
        "segment_frames": SEGMENT_FRAMES,
    }
    with _work_folder(target, job) as folder:
        number = len(_segments(folder))
        done = number * SEGMENT_FRAMES
        measured = film.to_measure(clip.frames)
        progress = _Progress(on_progress, len(measured) + clip.frames)

        # The state before each segment lies beside it; the first one has the clip's statistics, if
        # they are wanted.
        def state(number: int) -> Path:
            return folder / f"{number:06d}.safetensors"

        if state(number).exists():
            film.load_state(load_file(state(number)))
            progress.add(len(measured) + done)
        elif measured:
            _measure(film, clip, len(measured), progress)
            _save(film, state(0))

        # Segment after segment; the state after it is there before the segment itself.
        frames = read_frames(clip, done)
        while True:
            first = next(frames, None)
            if first is None:
                break
            part = chain([first], islice(frames, SEGMENT_FRAMES - 1))

            def translated(part: Iterator[Frame] = part, number: int = number) -> Iterator[Frame]:
                yield from _translated(film, clip, part, strength, progress)
                _save(film, state(number + 1))

            write_segment(folder / f"{number:06d}.nut", clip, target, translated())
            state(number).unlink(missing_ok=True)
            number += 1
        written = join(_segments(folder), clip, target)
    notes = clip.notes
    if settings.statistics != "frame" and not film.has_statistics:
        notes = (*notes, "no instance norm, so nothing to share")
    return FilmReport(clip.width, clip.height, written, min(done, written), notes)


@dataclass(slots=True)
class _Progress:
    """Counts frames, of which there may be more or fewer than a file says."""

    on_progress: OnProgress
    total: int
    done: int = 0

    def add(self, frames: int) -> None:
        self.reach(self.done + frames)

    def reach(self, done: int) -> None:
        self.done = min(self.total, done)
        self.on_progress(self.done, self.total)


def _measure(film: Film, clip: Clip, count: int, progress: _Progress) -> None:
    """Measure so many frames, spread over the clip; a file that ends early has its first ones."""
    step = max(1, clip.frames // count)
    wanted = read_frames(clip, step=step, offset=step // 2)
    first = next(wanted, None)
    if first is None:  # fewer than half a step, where the file promises more
        wanted = read_frames(clip)
        first = next(wanted)
    for frame in islice(chain([first], wanted), count):
        film.measure(_floats([frame]))
        progress.add(1)


def _translated(
    film: Film, clip: Clip, frames: Iterator[Frame], strength: float, progress: _Progress
) -> Iterator[Frame]:
    """The frames translated and blended, as many at a time as are not much."""
    chunk = max(1, _PIXELS_AT_A_TIME // (clip.width * clip.height))
    while part := list(islice(frames, chunk)):
        before = progress.done

        def on_part(now: int, all_: int, before: int = before, count: int = len(part)) -> None:
            progress.reach(before + count * now // all_)

        originals = _floats(part)
        pixels = film.translate(originals, on_part).expand(-1, 3, -1, -1)  # of grey ones, too
        if strength < 1:
            pixels = torch.lerp(originals, pixels, strength)
        samples = pixels.mul(255).round_().byte().permute(0, 2, 3, 1).numpy()
        for frame, picture in zip(part, samples, strict=True):
            yield replace(frame, pixels=np.ascontiguousarray(picture))


def _floats(frames: list[Frame]) -> Tensor:
    """(B,3,H,W) float32 in [0,1]."""
    samples = torch.from_numpy(np.stack([frame.pixels for frame in frames]))
    return samples.permute(0, 3, 1, 2).float().div_(255)


@contextmanager
def _work_folder(target: Path, job: dict[str, Any]) -> Generator[Path]:
    """The folder of what is done already of exactly this job; it goes when the block ends well."""
    folder = target.with_name(f".{target.name}.film")
    name = folder / "job.json"
    text = json.dumps(job, indent=1, sort_keys=True)
    try:
        make_folder(folder)
        lock = FileLock(folder / "lock", timeout=0)
        with lock:
            if not name.exists() or read_table(name) != text:
                for path in folder.iterdir():
                    if path.name != "lock":
                        path.unlink()
                atomic_write(name, lambda path: path.write_text(text, encoding="utf-8"))
            yield folder
        shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise PictureError(f"another process is writing {target}; wait for it.") from None
    except OSError as error:
        raise PictureError(
            f"{target} can't be written: {reason(error)}; choose another folder."
        ) from None


def _segments(folder: Path) -> list[Path]:
    """The finished ones, in order."""
    return sorted(folder.glob("*.nut"))


def _save(film: Film, path: Path) -> None:
    atomic_write(path, lambda partial: save_file(film.state(), partial))
