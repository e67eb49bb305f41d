"""Video files through a small model: what stays, what is refused, and what a killed run leaves."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cyclegan_core import CycleGAN, PictureError, save_model
from cyclegan_core.config import FilmSettings
from cyclegan_core.films import translate as module
from cyclegan_core.films.clip import Clip, Frame, read_clip, read_frames
from cyclegan_core.films.translate import FilmReport, translate_film
from cyclegan_core.films.writer import write_segment

from ..processes import environment
from ..weights import SMALL, make_model
from .clips import RATE, av, forget_times, make_clip, picture, pixels_of, sound_of, times_of

SHARED = FilmSettings(statistics="shared")
SMOOTHED = FilmSettings(statistics="smoothed", smoothing_frames=3, steadiness=0.8)
STEADY = FilmSettings(statistics="shared", steadiness=0.8)
NAMES = ("frame", "shared", "smoothed and steady")


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    return make_model()


def every_frame(
    source: Path, model: CycleGAN, settings: FilmSettings | None = None, strength: float = 1.0
) -> np.ndarray:
    """What the library makes of the clip's frames as one batch, (B,H,W,3) uint8."""
    frames = np.stack([frame.pixels for frame in read_frames(read_clip(source))])
    batch = torch.from_numpy(frames).movedim(-1, 1).float() / 255
    settings = settings or FilmSettings()
    how = {"smoothing_frames": 3, "steadiness": settings.steadiness}
    result = model.translate(batch, statistics=settings.statistics, **how)
    result = torch.lerp(batch, result, strength)
    return result.mul(255).round().byte().movedim(1, -1).numpy()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize(
    ("settings", "strength"),
    [(FilmSettings(), 1.0), (SHARED, 1.0), (SMOOTHED, 1.0), (SHARED, 0.5)],
    ids=[*NAMES, "half"],
)
def test_the_frames_are_those_of_the_library(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: CycleGAN,
    settings: FilmSettings,
    strength: float,
) -> None:
    """Bit for bit when they go to the encoder."""
    encoded: list[np.ndarray] = []

    def write(path: Path, clip: Clip, target: Path, frames: Iterator[Frame]) -> None:
        kept = list(frames)
        encoded.extend(frame.pixels for frame in kept)
        write_segment(path, clip, target, kept)

    monkeypatch.setattr(module, "write_segment", write)
    source = make_clip(tmp_path / "clip.mp4")
    how = {"settings": settings, "strength": strength}
    report = translate_film(model, source, tmp_path / "out.mp4", **how)
    assert report == FilmReport(48, 32, 7, 0, ())
    assert np.array_equal(np.stack(encoded), every_frame(source, model, settings, strength))
    assert len(times_of(tmp_path / "out.mp4")) == 7


def test_sound_and_times_stay(tmp_path: Path, model: CycleGAN) -> None:
    source = make_clip(tmp_path / "clip.mp4", sound="aac")
    target = tmp_path / "new" / "out.mp4"
    translate_film(model, source, target)
    assert times_of(target) == times_of(source) == [Fraction(i, RATE) for i in range(7)]
    assert sound_of(target) == sound_of(source) != []
    with av.open(str(target)) as container:
        assert container.streams.video[0].average_rate == RATE
    assert list(target.parent.iterdir()) == [target]


def test_a_variable_frame_rate_stays(tmp_path: Path, model: CycleGAN) -> None:
    times = [0, 4, 5, 30, 31, 90, 97]
    source = make_clip(tmp_path / "clip.mp4", times=times)
    for name in ("out.mp4", "out.mkv", "again.mkv"):
        translate_film(model, source, tmp_path / name)
        assert times_of(tmp_path / name) == [Fraction(time, 100) for time in times]
    assert (tmp_path / "out.mkv").read_bytes() == (tmp_path / "again.mkv").read_bytes()


@pytest.mark.parametrize("frames", [2, 7])
def test_a_clip_without_times_runs_at_its_rate(tmp_path: Path, model: CycleGAN, frames) -> None:
    source = forget_times(make_clip(tmp_path / "clip.mkv", frames=frames))
    assert set(times_of(source)) == {0}
    report = translate_film(model, source, tmp_path / "out.mp4")
    assert report.notes == ("its frames have no times: taken as 25 a second",)
    assert times_of(tmp_path / "out.mp4") == [Fraction(number, 25) for number in range(frames)]


def test_progress_is_told_after_each_frame(tmp_path: Path, model: CycleGAN) -> None:
    told: list[tuple[int, int]] = []
    source = make_clip(tmp_path / "clip.mp4")
    translate_film(model, source, tmp_path / "out.mp4", on_progress=lambda *now: told.append(now))
    assert told == [(number, 7) for number in range(1, 8)]


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_turned_clip_comes_out_upright(tmp_path: Path, rotation: int) -> None:
    source = make_clip(tmp_path / "clip.mp4", rotation=rotation)
    clip = read_clip(source)
    first = next(read_frames(clip)).pixels
    # Stored turned by that angle counterclockwise means: shown turned back.
    expected = np.rot90(picture(0), rotation // 90)
    assert (clip.height, clip.width) == expected.shape[:2]
    assert difference(first, expected) < 6
    assert clip.notes == ("turned upright",)


def test_an_odd_angle_is_refused(tmp_path: Path, model: CycleGAN) -> None:
    source = make_clip(tmp_path / "clip.mp4", rotation=30)
    with pytest.raises(PictureError, match=r"clip\.mp4 is to be shown turned by 30°, and only"):
        translate_film(model, source, tmp_path / "out.mp4")


@pytest.mark.parametrize("matrix", [1, 5])
def test_colours_are_read_and_written_by_the_same_matrix(
    tmp_path: Path, model: CycleGAN, matrix: int
) -> None:
    source = make_clip(tmp_path / "clip.mp4", pix_fmt="yuv444p", colours=matrix)
    clip = read_clip(source)
    assert clip.colours.matrix == matrix
    assert difference(next(read_frames(clip)).pixels, picture(0)) < 3
    module.write_segment(tmp_path / "s.nut", clip, tmp_path / "out.mp4", read_frames(clip))
    again = read_clip(tmp_path / "s.nut")
    assert again.colours.matrix == matrix
    assert difference(next(read_frames(again)).pixels, picture(0)) < 5


def test_colours_grow_no_darker(tmp_path: Path) -> None:
    """FFmpeg's quick conversion takes a level off, each time."""
    clip = read_clip(make_clip(tmp_path / "clip.mp4", frames=1, colours=1))
    y, x = np.mgrid[:32, :48]
    even = np.stack([200 - 2 * x, 90 + 2 * y, 60 + x + y], -1).astype(np.uint8)
    module.write_segment(tmp_path / "s.nut", clip, tmp_path / "out.mp4", iter([Frame(even, 0, 4)]))
    again = next(read_frames(read_clip(tmp_path / "s.nut"))).pixels
    assert abs(again.mean() - even.mean()) < 0.4


def test_an_odd_size_stays(tmp_path: Path, model: CycleGAN) -> None:
    source = make_clip(tmp_path / "clip.mkv", size=(33, 21), codec="ffv1", pix_fmt="yuv444p")
    assert translate_film(model, source, tmp_path / "out.mp4").width == 33
    assert pixels_of(tmp_path / "out.mp4").shape == (7, 21, 33, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_name_is_no_protocol(tmp_path: Path, monkeypatch) -> None:
    """FFmpeg would read the other clip, or ask another computer."""
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "other.mp4", size=(16, 16))
    make_clip(tmp_path / "clip.mp4").rename("concat:other.mp4")
    assert read_clip(Path("concat:other.mp4")).width == 48


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1\nother.ts\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_list_of_files_is_no_clip(tmp_path: Path, text: str) -> None:
    """FFmpeg would read what it names, and show it as this one."""
    make_clip(tmp_path / "other.mp4")
    make_clip(tmp_path / "other.ts")
    path = tmp_path / "clip.mp4"
    path.write_text(text)
    with pytest.raises(PictureError, match=r"clip\.mp4 is damaged, or "):
        read_clip(path)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        *((".m4v", "libx264"), (".mov", "mpeg4"), (".3gp", "libx264"), (".mkv", "libx264")),
        *((".avi", "mpeg4"), (".mpg", "mpeg2video"), (".ts", "libx264"), (".wmv", "wmv2")),
        *((".flv", "flv"), (".ogv", "libvpx"), (".y4m", "rawvideo")),
    ],
)
def test_clips_of_all_kinds_are_read(tmp_path: Path, suffix: str, codec: str) -> None:
    assert read_clip(make_clip(tmp_path / f"clip{suffix}", codec=codec)).width == 48


def test_webm_is_written(tmp_path: Path, model: CycleGAN) -> None:
    source = make_clip(tmp_path / "clip.webm", codec="libvpx-vp9", sound="libopus")
    translate_film(model, source, tmp_path / "out.webm", settings=SHARED)
    assert len(times_of(tmp_path / "out.webm")) == 7
    assert sound_of(tmp_path / "out.webm") == sound_of(source)


def test_grey_models_make_grey_films(tmp_path: Path) -> None:
    grey = make_model(replace(SMALL, channels_b=1))
    translate_film(grey, make_clip(tmp_path / "clip.mp4"), tmp_path / "out.mp4")
    pixels = pixels_of(tmp_path / "out.mp4").astype(int)
    assert np.abs(pixels[..., 0] - pixels[..., 1]).max() <= 2


# --- what is refused -----------------------------------------------------------------------------


def refused(tmp_path: Path, source: Path, target: Path, model: CycleGAN) -> str:
    """The sentence; nothing is left behind."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(PictureError) as caught:
        translate_film(model, source, target)
    assert sorted(tmp_path.iterdir()) == before
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_what_is_no_video_is_named(tmp_path: Path, model: CycleGAN) -> None:
    out = tmp_path / "out.mp4"
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    sound = tmp_path / "sound.m4a"
    with av.open(str(sound), "w") as container:
        track = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        track.codec_context.layout = "mono"
        container.mux(track.encode(silence))
        container.mux(track.encode())
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(make_clip(tmp_path / "clip.mp4").read_bytes()[:-400])

    def sentence(name: str) -> str:
        return refused(tmp_path, tmp_path / name, out, model)

    damaged = (
        "is damaged, or not a video that can be read (Invalid data found when processing input)."
    )
    assert sentence("text.mp4") == f"text.mp4 {damaged}"
    assert re.fullmatch(r"cut\.mp4 is damaged, or not a video .*\.", sentence("cut.mp4"))
    assert sentence("sound.m4a") == "sound.m4a has no video stream; name a clip with one."
    assert sentence("none.mp4") == "none.mp4 does not exist; check the path."


def test_what_can_not_be_written_is_named(tmp_path: Path, model: CycleGAN) -> None:
    source = make_clip(tmp_path / "clip.mp4", sound="aac")
    assert refused(tmp_path, source, tmp_path / "out.avi", model) == (
        "out.avi can't be written: use one of .m4v, .mkv, .mov, .mp4, .webm."
    )
    assert refused(tmp_path, source, tmp_path / "out.webm", model) == (
        "out.webm can't hold the sound of clip.mp4 (aac); name the result .mkv."
    )
    sentence = refused(tmp_path, source, source / "out.mp4", model)
    assert re.fullmatch(
        r"clip.mp4/out\.mp4 can't be written: .*; choose another folder\.", sentence
    )


def test_without_pyav_a_sentence_says_what_to_install(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["av"] = None
from pathlib import Path
from cyclegan_core.films.clip import read_clip
try:
    read_clip(Path("clip.mp4"))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    sentence = 'clip.mp4 is a video, which needs PyAV: pip install "cyclegan[video]".'
    assert done.stdout.strip() == f"PictureError {sentence}"


# --- what a killed run leaves --------------------------------------------------------------------


class StopError(Exception):
    """What stands for the end of a run."""


@pytest.mark.parametrize("settings", [FilmSettings(), STEADY, SMOOTHED], ids=NAMES)
@pytest.mark.parametrize("last", [1, 8, 9])
def test_a_run_that_ended_early_goes_on_and_the_result_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: CycleGAN, settings, last: int
) -> None:
    monkeypatch.setattr(module, "SEGMENT_FRAMES", 3)
    monkeypatch.setattr(module, "_PIXELS_AT_A_TIME", 1)
    source = make_clip(tmp_path / "clip.mp4", frames=8, sound="aac")
    whole, target = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    translate_film(model, source, whole, settings=settings)
    measured = 8 if settings == STEADY else 0

    def stop(done: int, total: int) -> None:
        if done == measured + last:
            raise StopError

    def stop_joining(*_: object) -> int:
        raise StopError

    with monkeypatch.context() as patch:
        if last == 9:  # when all segments are there
            patch.setattr(module, "join", stop_joining)
        with pytest.raises(StopError):
            translate_film(model, source, target, settings=settings, on_progress=stop)
    assert not target.exists()
    report = translate_film(model, source, target, settings=settings)
    assert report.resumed_frames == {1: 0, 8: 6, 9: 8}[last]
    assert report.frames == 8
    assert target.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "out.mp4", "whole.mp4"]


@pytest.mark.parametrize(
    "other", [{"settings": SMOOTHED}, {"strength": 0.5}, {"segment": 3}], ids=str
)
def test_other_settings_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: CycleGAN, other: dict[str, Any]
) -> None:
    monkeypatch.setattr(module, "SEGMENT_FRAMES", 2)
    source, target = make_clip(tmp_path / "clip.mp4"), tmp_path / "out.mp4"

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise StopError

    with pytest.raises(StopError):
        translate_film(model, source, target, on_progress=stop)
    other = dict(other)
    if segment := other.pop("segment", 0):  # of another version
        monkeypatch.setattr(module, "SEGMENT_FRAMES", segment)
    report = translate_film(model, source, target, **other)
    assert report.resumed_frames == 0
    translate_film(model, source, tmp_path / "other.mp4", **other)
    assert target.read_bytes() == (tmp_path / "other.mp4").read_bytes()


KILLED = """
import sys
from pathlib import Path
from cyclegan_core import load_model
from cyclegan_core.config import FilmSettings
from cyclegan_core.films import translate as module
import torch
torch.set_num_threads(1)
module.SEGMENT_FRAMES = 2
model = load_model(Path(sys.argv[1]))
module._PIXELS_AT_A_TIME = 1
settings = FilmSettings(statistics="smoothed", smoothing_frames=3, steadiness=0.8)
module.translate_film(model, Path(sys.argv[2]), Path(sys.argv[3]), settings=settings,
    on_progress=lambda done, total: print(done, flush=True))
"""


def test_a_run_killed_for_real_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: CycleGAN
) -> None:
    """Kill -9 while frame 6 is worked on; meanwhile nobody else may write the same result."""
    save_model(model, tmp_path / "model.safetensors")
    source, target = make_clip(tmp_path / "clip.mp4", frames=60), tmp_path / "out.mp4"
    words = [tmp_path / "model.safetensors", source, target]
    monkeypatch.setattr(module, "_PIXELS_AT_A_TIME", 1)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        for line in process.stdout:
            if int(line) >= 4:
                break
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(PictureError, match=r"another process is writing .*out\.mp4"):
            translate_film(model, source, target)
        process.kill()
    assert not target.exists()
    finished = len(list((tmp_path / ".out.mp4.film").glob("*.nut")))
    assert finished > 0
    monkeypatch.setattr(module, "SEGMENT_FRAMES", 2)
    report = translate_film(model, source, target, settings=SMOOTHED)
    assert (report.resumed_frames, report.frames) == (2 * finished, 60)
    whole = tmp_path / "whole.mp4"
    translate_film(model, source, whole, settings=SMOOTHED)
    assert target.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_a_title_in_an_old_code_page_stops_nothing(
    suffix: str, model: CycleGAN, tmp_path: Path
) -> None:
    source, target = tmp_path / f"clip{suffix}", tmp_path / "made.mp4"
    with av.open(str(source), "w") as container:
        container.metadata["title"] = "Cafe by day"
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height = 48, 32
        for number in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number))))
        container.mux(stream.encode())
    source.write_bytes(source.read_bytes().replace(b"Cafe", b"Caf\xe9"))
    assert translate_film(model, source, target).frames == 2
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "Caf\ufffd by day"


@pytest.mark.parametrize("frames", [2, 7])
def test_a_clip_that_ends_before_its_header_says_is_measured(
    frames: int, model: CycleGAN, tmp_path: Path
) -> None:
    source, target = make_clip(tmp_path / "clip.avi", frames=frames), tmp_path / "made.mp4"
    content = bytearray(source.read_bytes())
    for place in (content.index(b"avih") + 24, content.index(b"strh") + 40):
        content[place : place + 4] = bytes([232, 3, 0, 0])  # a thousand
    source.write_bytes(content)
    assert read_clip(source).frames == 1000
    assert translate_film(model, source, target, settings=SHARED).frames == frames
