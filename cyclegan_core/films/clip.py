"""A video file's frames: upright, in RGB, each with the time that it is shown at."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from math import atan2, degrees
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from ..errors import PictureError
from ..files import check_file
from .names import DEMUXERS

_BT709, _BT601 = 1, 5
"""Matrices between RGB and YUV, by the numbers that FFmpeg gives them."""

EXACT = 0x4 | 0x2000 | 0x40000
"""FFmpeg's SWS_BICUBIC, SWS_FULL_CHR_H_INT and SWS_ACCURATE_RND for RGB from YUV and back; its
quick way makes pictures darker by a level in 255 each time."""

_HIGH_DEFINITION = 720
"""Rows from which on a clip that doesn't name its matrix is taken for BT.709."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a clip."""

    pixels: np.ndarray
    """(H,W,3) uint8, upright."""
    pts: int
    """When it is shown, in the clip's `time_base`; later than the frame before."""
    duration: int
    """How long, in the same unit; 0 where the file doesn't say."""


@dataclass(frozen=True, slots=True)
class Colours:
    """How RGB becomes the numbers in a video file, by FFmpeg's numbers."""

    matrix: int
    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True)
class Clip:
    """What a video file says of its picture."""

    path: Path
    width: int
    """Pixels of an upright frame."""
    height: int
    time_base: Fraction
    """Seconds of a unit of time."""
    rate: Fraction
    """Frames in a second, in the mean."""
    pixel_aspect: Fraction
    """Width of a pixel of an upright frame, divided by its height."""
    colours: Colours
    frames: int
    """How many there are; where the file says it wrongly, so does this."""
    orientation: tuple[bool, bool, bool]
    """Whether stored frames have to be transposed, then mirrored left to right, then turned upside
    down, to be upright."""
    has_times: bool
    """Whether its frames say when they are shown; otherwise each is shown equally long."""
    notes: tuple[str, ...]
    """What of the file is not kept, for people."""


def import_av(path: Path) -> ModuleType:
    """PyAV, which is an extra.

    Raises:
        PictureError: it is not installed; `path` is the clip that it is needed for.
    """
    try:
        import av
    except ImportError:
        raise PictureError(
            f'{path} is a video, which needs PyAV: pip install "cyclegan[video]".'
        ) from None
    return av


@contextmanager
def opened(path: Path) -> Generator[tuple[Any, Any]]:
    """A video file and its video stream; what goes wrong with them becomes a `PictureError`."""
    av = import_av(path)
    try:
        check_file(path)
        # Absolute, for it takes "concat:a.mp4" or "x://y" for one of its protocols.
        allowed = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
        # A title may be written in any old code page.
        name = str(path.absolute())
        with av.open(name, options=allowed, metadata_errors="replace") as container:
            yield container, _video_stream(path, container)
    except FileNotFoundError:
        raise PictureError(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise PictureError(f"{path} is a folder; name a video file.") from None
    except av.error.ArgumentError:
        raise PictureError(
            f"{path} is damaged, or holds something else than its name says, which is not read; "
            "use a clip as MP4, MOV, Matroska, WebM, AVI, MPEG, WMV, FLV, Ogg or YUV4MPEG."
        ) from None
    except av.error.FFmpegError as error:
        raise PictureError(
            f"{path} is damaged, or not a video that can be read ({why(error)})."
        ) from None
    except OSError as error:
        raise PictureError(f"{path} can't be read: {why(error)}.") from None


def read_clip(path: Path, *, count: bool = True) -> Clip:
    """What a video file says of its picture; its first frames are decoded.

    Where a file doesn't say how many frames it holds, it is read to its end to count them, unless
    not `count`; then they are 0.

    Raises:
        PictureError: it is missing, damaged, without video, or turned by an odd angle; or PyAV is.
    """
    with opened(path) as (container, stream):
        beginning = list(islice(container.decode(stream), 4))
        if not beginning:
            raise PictureError(f"{path} has no frame that can be decoded.")
        first = beginning[0]
        orientation = _orientation(path, first)
        width, height = first.width, first.height
        aspect = stream.sample_aspect_ratio or Fraction(1)
        if orientation[0]:
            width, height, aspect = height, width, 1 / aspect
        matrix = _matrix(first)
        colours = Colours(matrix, int(first.color_primaries), int(first.color_trc))
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        # Damaged files have the same time on all frames, so that all would be over in a moment.
        has_times = len({frame.pts for frame in beginning}) > 1 or len(beginning) == 1
        notes = _notes(container, first, orientation)
        if not has_times:
            notes = (*notes, f"its frames have no times: taken as {float(rate):.4g} a second")
        clip = Clip(
            path=path,
            width=width,
            height=height,
            time_base=stream.time_base,
            rate=rate,
            pixel_aspect=aspect,
            colours=colours,
            frames=stream.frames,
            orientation=orientation,
            has_times=has_times,
            notes=notes,
        )
    if clip.frames > 0 or not count:
        return clip
    with opened(path) as (container, stream):
        packets = sum(packet.size > 0 for packet in container.demux(stream))
    return replace(clip, frames=max(1, packets))


def read_frames(clip: Clip, start: int = 0, *, step: int = 1, offset: int = 0) -> Iterator[Frame]:
    """The clip's frames in order, from number `start` on.

    Args:
        clip: the file.
        start: frames before it are decoded, as others may build on them, but not converted.
        step: of the frames from `offset` on, only each so-manieth one.
        offset: the first frame that is given, counted from `start`.

    Raises:
        PictureError: the file is damaged, or changed since `read_clip`.
    """
    transposed, mirrored, upside_down = clip.orientation
    width, height = (clip.height, clip.width) if transposed else (clip.width, clip.height)
    with opened(clip.path) as (container, stream):
        stream.thread_type = "AUTO"
        last = -(2**62)
        tick = max(1, round(1 / (clip.rate * clip.time_base)))
        for number, frame in enumerate(container.decode(stream)):
            # Times that are missing or not in order are mended, as encoders take no others.
            pts = frame.pts if clip.has_times else None
            if pts is None:
                pts = last + tick if number else 0
            last = max(pts, last + 1)
            place = number - start - offset
            if place < 0 or place % step:
                continue
            frame.colorspace = clip.colours.matrix
            pixels = frame.to_ndarray(
                format="rgb24", width=width, height=height, interpolation=EXACT
            )
            if transposed:
                pixels = pixels.swapaxes(0, 1)
            if mirrored:
                pixels = pixels[:, ::-1]
            if upside_down:
                pixels = pixels[::-1]
            yield Frame(np.ascontiguousarray(pixels), last, frame.duration or 0)


def first_image(path: Path) -> Image.Image:
    """A clip's first frame as a Pillow image of mode RGB.

    Raises:
        PictureError: see `read_clip`.
    """
    return Image.fromarray(next(read_frames(read_clip(path, count=False))).pixels)


def why(error: Exception) -> str:
    """The reason of an error of PyAV's or the system's, without number and path."""
    return getattr(error, "strerror", None) or str(error)


def _video_stream(path: Path, container: Any) -> Any:  # noqa: ANN401 - PyAV is imported late
    """The first stream of moving pictures; the cover of a song is none."""
    av = import_av(path)
    cover = av.stream.Disposition.attached_pic
    for stream in container.streams.video:
        if not stream.disposition & cover:
            return stream
    raise PictureError(f"{path} has no video stream; name a clip with one.")


def _matrix(frame: Any) -> int:  # noqa: ANN401
    """The matrix of a frame's colours, or the usual one for its size where it names none."""
    named = int(frame.colorspace)
    if named in (1, 4, 5, 6, 7, 9):
        return {6: _BT601}.get(named, named)
    return _BT709 if min(frame.width, frame.height) >= _HIGH_DEFINITION else _BT601


def _orientation(path: Path, frame: Any) -> tuple[bool, bool, bool]:  # noqa: ANN401
    """How a stored frame becomes upright: transposed, mirrored, upside down.

    The display matrix (ISO/IEC 14496-12, 6.2.2) sends (x,y) to (a x + c y, b x + d y).
    """
    parts = [data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    if not parts:
        return False, False, False
    a, b, _, c, d, *_ = (int(x) for x in np.frombuffer(bytes(parts[0]), np.int32))
    if (b, c) == (0, 0) and a and d:
        return False, a < 0, d < 0
    if (a, d) == (0, 0) and b and c:
        return True, c < 0, b < 0
    angle = abs(round(degrees(atan2(b, a))))
    raise PictureError(
        f"{path} is to be shown turned by {angle}°, and only quarter turns can be done; turn "
        "it upright with a video editor first."
    )


def _notes(container: Any, frame: Any, orientation: tuple[bool, bool, bool]) -> tuple[str, ...]:  # noqa: ANN401
    """What of a file is changed or not kept."""
    notes = ["turned upright"] if any(orientation) else []
    deepest = max(part.bits for part in frame.format.components)
    if deepest > 8:
        notes.append(f"{deepest}-bit, read as 8")
    if any(part.is_alpha for part in frame.format.components):
        notes.append("transparency dropped")
    if container.streams.subtitles:
        notes.append("subtitles dropped")
    return tuple(notes)
