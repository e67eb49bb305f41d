"""Which files are videos, by their names."""

from __future__ import annotations

from pathlib import Path

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""FFmpeg's name of the container by the ending of a file that can be written."""

READABLE = frozenset(
    [*FORMATS, ".avi", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".3gp", ".ogv", ".y4m"]
)
"""Endings of files that are taken for videos."""
DEMUXERS = "mov,matroska,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg,yuv4mpegpipe,nut"
"""FFmpeg's names of what such a file may hold, whatever its ending; others, such as lists of files
(ffconcat, HLS, DASH), would have it read other files, or fetch them. The parts of an unfinished
film are NUT."""


def is_video_name(path: Path) -> bool:
    """Whether a file of this name counts as a video."""
    return path.suffix.lower() in READABLE
