"""Video files as people have them, made in the test: small, with what makes them odd."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason='needs the extra "video"')

RATE = 25


def picture(number: int, width: int = 48, height: int = 32) -> np.ndarray:
    """(H,W,3): a still scene, red at its left edge and green at its top, that something crosses."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([180 - 2 * x, 170 - 3 * y, 60 + x + y], -1).clip(0, 255).astype(np.uint8)
    pixels[:, :6] = (200, 30, 30)
    pixels[:4, 6:] = (30, 200, 30)
    place = width - 4 - 2 * number
    pixels[12:20, max(10, place) : max(14, place + 4)] = 250
    return pixels


def make_clip(  # what can be odd about a clip
    path: Path,
    *,
    frames: int = 7,
    size: tuple[int, int] = (48, 32),
    times: Sequence[int] | None = None,
    sound: str | None = None,
    rotation: int | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    colours: int | None = None,
) -> Path:
    """A clip of `picture`s; `times` are in hundredths of a second, for a variable frame rate."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = pix_fmt
        context.time_base = Fraction(1, 100)
        if codec == "libx264":
            context.options = {"crf": "10", "preset": "veryfast"}
        if colours is not None:
            context.colorspace = colours
        if rotation is not None:
            stream.set_display_rotation(rotation)
        track = None if sound is None else container.add_stream(sound, rate=16000)
        if track is not None:
            track.codec_context.layout = "mono"
        for number, time in enumerate(times or range(0, 4 * frames, 4)):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), format="rgb24")
            if colours is not None:
                frame = frame.reformat(format=pix_fmt, dst_colorspace=colours)
            frame.pts, frame.time_base = time, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            tone = np.sin(np.arange(16000 * frames // RATE) / 9)[None].astype(np.float32)
            form = track.codec_context.format.name
            if form.startswith("s16"):
                tone = (tone * 30000).astype(np.int16)
            piece = av.AudioFrame.from_ndarray(tone, format=form, layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = 16000, 0, Fraction(1, 16000)
            container.mux(track.encode(piece))
            container.mux(track.encode())
    return path


def forget_times(path: Path) -> Path:
    """Give every frame of a Matroska file the time 0, as damaged ones have."""
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content, place = bytearray(path.read_bytes()), 0
    for packet in packets:  # before each: track, time of two bytes, flags
        place = content.index(packet, place)
        content[place - 3 : place - 1] = bytes(2)
        place += len(packet)
    path.write_bytes(content)
    return path


def times_of(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def pixels_of(path: Path) -> np.ndarray:
    """All frames, (B,H,W,3) uint8."""
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def sound_of(path: Path) -> list[bytes]:
    """The packets of a clip's sound, as they are in the file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]
