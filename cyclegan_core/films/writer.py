"""Frames into segments that stand for themselves, and segments and sound into one file.

Every segment begins anew, with a key frame, and no frame refers to a later one: so what they hold
can be put one behind the other, and each is the same whether the run before it was killed or not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import PictureError
from ..files import partial_file
from .clip import EXACT, Clip, Frame, import_av, opened, why
from .names import FORMATS

_H264 = ("libx264", {"crf": "18", "preset": "fast", "bf": "0", "threads": "1"})
_VP9 = ("libvpx-vp9", {"crf": "24", "b": "0", "auto-alt-ref": "0", "lag-in-frames": "0"})
"""Encoder and settings: losses that no eye finds, frames in the order of their times, and for H.264
one thread, as the bytes depend on their number: a run may go on elsewhere."""


def check_target(clip: Clip, target: Path) -> None:
    """Make sure that a file can hold what a clip's translation has.

    Raises:
        PictureError: its ending is none of `FORMATS`, it can't hold the clip's sound, or PyAV has
            no encoder for it.
    """
    av = import_av(clip.path)
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise PictureError(f"{target} can't be written: use one of {', '.join(sorted(FORMATS))}.")
    codec = _encoder(target)[0]
    if codec not in av.codecs_available:
        raise PictureError(f"{target} needs the encoder {codec}, which this PyAV lacks.")
    lost = ", ".join(_lost_sounds(clip, suffix))
    if lost:
        raise PictureError(
            f"{target} can't hold the sound of {clip.path} ({lost}); name the result .mkv."
        )


def fitting_suffix(clip: Clip) -> str:
    """The ending of a file for a clip's translation: .mp4, or .mkv where its sound asks for it.

    Raises:
        PictureError: the clip can't be read.
    """
    return ".mkv" if _lost_sounds(clip, ".mp4") else ".mp4"


def write_segment(path: Path, clip: Clip, target: Path, frames: Iterable[Frame]) -> None:
    """Encode frames as `target` will hold them into a segment, which is whole or not there.

    Raises:
        PictureError: it can't be written.
    """
    av = import_av(clip.path)
    codec, options = _encoder(target)
    # Both sides of 4:2:0 are even; a clip with an odd one keeps its size in 4:4:4.
    is_even = clip.width % 2 == clip.height % 2 == 0
    try:
        with partial_file(path) as partial, av.open(str(partial), "w", format="nut") as output:
            rate = clip.rate.limit_denominator(1_000_000)
            stream = output.add_stream(codec, rate=rate, options=options)
            context = stream.codec_context
            context.width, context.height = clip.width, clip.height
            context.pix_fmt = "yuv420p" if is_even else "yuv444p"
            context.time_base = clip.time_base
            context.sample_aspect_ratio = clip.pixel_aspect
            context.colorspace = clip.colours.matrix
            context.color_primaries = clip.colours.primaries
            context.color_trc = clip.colours.transfer
            context.color_range = 1  # MPEG's, 16 to 235
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(frame.pixels, format="rgb24")
                picture = picture.reformat(
                    format=context.pix_fmt,
                    dst_colorspace=clip.colours.matrix,
                    interpolation=EXACT,
                )
                picture.pts, picture.duration = frame.pts, frame.duration
                picture.time_base = clip.time_base
                output.mux(stream.encode(picture))
            output.mux(stream.encode())
    except (av.error.FFmpegError, OSError) as error:
        raise _unwritable(path, error) from None


def join(segments: list[Path], clip: Clip, target: Path) -> int:
    """Put segments and the clip's own sound together under `target`, whole or not at all.

    Returns:
        How many frames it has.

    Raises:
        PictureError: it can't be written, or the clip can't be read.
    """
    av = import_av(clip.path)
    written = 0
    with opened(clip.path) as (source, _):
        sounds = list(source.streams.audio)
        try:
            with (
                partial_file(target) as partial,
                av.open(
                    str(partial),
                    "w",
                    format=FORMATS[target.suffix.lower()],
                    container_options={"fflags": "+bitexact"},  # Matroska's ids are random else
                ) as output,
            ):
                output.metadata.update(source.metadata)
                with av.open(str(segments[0]), format="nut") as first:
                    video = output.add_stream_from_template(first.streams.video[0])
                    video.time_base = clip.time_base
                    ours = {sound.index: output.add_stream_from_template(sound) for sound in sounds}
                    # By their times, so that no side waits in memory for the other.
                    parts = [_pictures(av, segments, clip)]
                    parts += [_sounds(source, sounds)] if sounds else []
                    for _, stream, packet in heapq.merge(*parts, key=lambda part: part[0]):
                        packet.stream = video if stream is None else ours[stream]
                        output.mux_one(packet)
                        written += stream is None
        except (av.error.FFmpegError, OSError) as error:
            raise _unwritable(target, error) from None
    return written


_Part = tuple[Fraction, int | None, Any]
"""When a packet is needed, in seconds; of which stream of the source, None for pictures; it."""


def _pictures(av: Any, segments: list[Path], clip: Clip) -> Iterator[_Part]:  # noqa: ANN401
    for segment in segments:
        with av.open(str(segment), format="nut") as container:
            for packet in container.demux(video=0):
                if packet.size:
                    yield packet.pts * packet.time_base, None, packet


def _sounds(source: Any, sounds: list[Any]) -> Iterator[_Part]:  # noqa: ANN401
    for packet in source.demux(sounds):
        if packet.size and packet.dts is not None:
            yield packet.dts * packet.time_base, packet.stream_index, packet


def _encoder(target: Path) -> tuple[str, dict[str, str]]:
    return _VP9 if target.suffix.lower() == ".webm" else _H264


def _lost_sounds(clip: Clip, suffix: str) -> list[str]:
    """The codecs of a clip's sound that a file with this ending can't hold, by name."""
    with opened(clip.path) as (container, _):
        sounds = [stream.codec_context for stream in container.streams.audio]
        names = {
            "an unknown codec" if sound is None else sound.codec.canonical_name for sound in sounds
        }
    return sorted(names - _supported_codecs(FORMATS[suffix]))


def _supported_codecs(container: str) -> set[str]:
    """The codecs that a container can hold, by name."""
    import io

    import av

    with av.open(io.BytesIO(), "w", format=container) as output:
        return set(output.supported_codecs)


def _unwritable(path: Path, error: Exception) -> PictureError:
    return PictureError(
        f"{path} can't be written: {why(error)}; free some space or choose another folder."
    )
