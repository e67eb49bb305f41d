"""Which picture files a user means, and where the result of each goes."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import PictureError, reason
from ..films.names import FORMATS, is_video_name
from ..pictures.files import PAINTED, READABLE, WRITABLE, file_id, find_pictures

Job = tuple[Path, Path | PictureError]
"""A picture, and the file for its result, or why there can't be one."""


class NotFoundError(PictureError):
    """What a user named is not there."""


class LeftAloneError(PictureError):
    """A result is there already, and nobody said that it may be replaced."""


_LIKE_A_FILE = re.compile(r"\.[A-Za-z]{2,4}\d?")
"""Endings that files have: .pdf, .heic, .mp4; folders rather have versions and dates."""


def plan_outputs(
    inputs: Iterable[str], out: Path | None = None, *, single_file: bool = True
) -> list[Job]:
    """Pair every picture with where its result goes, or with why it can't go anywhere.

    A folder's pictures keep their path below that folder, a file its name. `out` is a file name
    when it ends like a picture or a video and there is one input file; otherwise a folder. Without
    it the results of a folder go to `PAINTED` inside it, and that of a file to `PAINTED` beside it.
    Videos are what is named, never what a folder holds.

    Raises:
        ValueError: there is nothing to do, or `out` is a file name that doesn't fit.
    """
    found = [job for text in inputs for job in _expand(text, out)]
    if not found:
        raise ValueError("no pictures were named; give files, folders or globs.")
    is_file = out is not None and (out.suffix.lower() in READABLE or is_video_name(out))
    if out is not None and is_file and not is_folder(out):
        _check_file_name(out, num_pictures=len(found), single_file=single_file)
        ((source, target),) = found
        _check_kind(source, out)
        return [(source, target if isinstance(target, PictureError) else out)]
    if out is not None and _LIKE_A_FILE.fullmatch(out.suffix) and not is_folder(out):
        raise ValueError(
            f"{out} ends like a file, but not like a picture's: {', '.join(sorted(WRITABLE))}; if "
            "it shall be a folder, make it first."
        )
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    for source, target in found:
        if isinstance(target, PictureError):
            jobs.append((source, target))
            continue
        if is_video_name(source):
            if target.suffix.lower() not in FORMATS:
                target = target.with_suffix(".mp4")
        elif target.suffix.lower() not in WRITABLE:
            target = target.with_suffix(".png")
        if target not in taken:
            taken[target] = source
            jobs.append((source, target))
        elif file_id(source) != file_id(taken[target]):
            clash = f"{source} and {taken[target]} would both become {target}; translate them apart"
            jobs.append((source, PictureError(f"{clash}.")))
    return jobs


def is_folder(path: Path) -> bool:
    """`Path.is_dir` that takes what can't be looked at for no folder."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _check_file_name(out: Path, *, num_pictures: int, single_file: bool) -> None:
    if not single_file:
        raise ValueError(f"{out} names one file, but there are several results; give a folder.")
    if num_pictures > 1:
        raise ValueError(f"{out} names one file, but there are {num_pictures} pictures.")
    kinds = FORMATS if is_video_name(out) else WRITABLE
    if out.suffix.lower() not in kinds:
        raise ValueError(f"{out} can't be written; use {', '.join(sorted(kinds))}.")


def _check_kind(source: Path, out: Path) -> None:
    """A video becomes a video, a picture a picture."""
    if is_video_name(source) == is_video_name(out):
        return
    kind, kinds = ("video", FORMATS) if is_video_name(source) else ("picture", WRITABLE)
    raise ValueError(
        f"{source} is a {kind}, and {out} none; name the result with {', '.join(sorted(kinds))}."
    )


def _expand(text: str, out: Path | None) -> list[Job]:
    """What a user typed -> the files, and where their results go, or what is wrong."""
    if not text:
        raise ValueError("the name of a picture is empty; give files, folders or globs.")
    path = Path(text)
    if is_folder(path):
        return _search(path, path / PAINTED if out is None else out)
    if file_id(path) is None and glob.has_magic(text):
        # pathlib's glob takes no absolute patterns; this one takes all.
        matches = [Path(name) for name in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207
        files = [match for match in matches if not is_folder(match)]
        if not files:
            return [(path, NotFoundError(f"{text} matches no file; check the pattern."))]
        return [(file, _beside(file, out)) for file in files]
    try:
        path.stat()
    except FileNotFoundError:
        return [(path, NotFoundError(f"{path} does not exist; check the path."))]
    except (OSError, ValueError) as error:
        return [(path, PictureError(f"{path} can't be read: {reason(error)}."))]
    return [(path, _beside(path, out))]


def _beside(file: Path, out: Path | None) -> Path:
    """Where a single file's result goes."""
    return (file.parent / PAINTED if out is None else out) / file.name


def _search(folder: Path, out: Path) -> list[Job]:
    """The pictures below a folder; not the hidden ones, nor the results of an earlier run."""
    jobs: list[Job] = []

    def note(error: OSError) -> None:
        place = Path(error.filename)
        jobs.append((place, PictureError(f"{place} can't be read: {reason(error)}.")))

    results = None if file_id(out) == file_id(folder) else file_id(out)
    for file in find_pictures(folder, leave_out=results, on_error=note):
        jobs.append((file, out / file.relative_to(folder)))
    if not jobs:
        return [(folder, NotFoundError(f"{folder} holds no pictures; choose another folder."))]
    return jobs
