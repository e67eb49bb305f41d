"""`cyclegan translate` of videos: names, reports, refusals."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cyclegan_core.cli import common

from ..commands import SMALL, Shell, draw, save
from .clips import make_clip, times_of


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    save(path)
    return path


def test_a_video_becomes_a_video(run: Shell, model: Path, tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "clip.mp4", sound="aac"), tmp_path / "out.mp4"
    sheet = tmp_path / "sheet.jpg"
    words = ("translate", source, "-o", target, "-m", model, "--precision", "fp32")
    result = run(*words, "--json", "--work-size", 24, "--compare", sheet)
    assert result.code == 0
    report = json.loads(result.out)
    (entry,) = report["pictures"]
    assert (entry["output"], entry["size"], entry["frames"]) == (str(target), [48, 32], 7)
    assert times_of(target) == times_of(source)
    assert sheet.exists()

    before = target.read_bytes()
    assert (
        f"left alone: {target} exists (--overwrite replaces it, -o writes elsewhere)"
        in run(*words).err
    )
    assert "exists already: skipped" in run(*words, "--skip-existing").err
    assert target.read_bytes() == before
    assert run(*words, "--overwrite", "--statistics", "smoothed").code == 0
    assert target.read_bytes() != before


def test_a_log_gets_a_line_a_minute(run: Shell, model: Path, tmp_path: Path, monkeypatch) -> None:
    """A video of seven frames, of which all are measured first; and a picture, from then on."""
    clip, photo = make_clip(tmp_path / "clip.mp4"), draw(tmp_path / "photo.png")
    words = ("translate", clip, photo, "-m", model, "--overwrite")

    def told() -> list[str]:
        return re.findall(r"^(\w+\.\w+): (\d+) of 14 frames(.*)$", run(*words).err, re.MULTILINE)

    assert told() == [("clip.mp4", "1", "")]
    monkeypatch.setattr(common, "LINE_EVERY", 0.0)
    lines = told()
    assert [int(done) for _, done, _ in lines] == list(range(1, 15))
    assert all(re.fullmatch(r", \d+ s left", left) for *_, left in lines[1:-1])
    assert (lines[0][2], lines[-1][2]) == ("", "")
    assert "photo.png: 100%" in run(*words).err
    assert "frames" not in run(*words, "--json").err


def test_pictures_and_videos_go_together(run: Shell, model: Path, tmp_path: Path) -> None:
    draw(tmp_path / "photo.png")
    make_clip(tmp_path / "clip.avi", codec="mpeg4")
    words = ("translate", tmp_path / "photo.png", tmp_path / "clip.avi", "-m", model)
    done = run(*words, "--dry-run")
    assert done.err.splitlines()[-1] == "1 picture, 1 video, nothing was written, 0 failed"
    assert list(tmp_path.glob("painted*")) == []
    assert run(*words).code == 0
    names = sorted(path.name for path in (tmp_path / "painted").iterdir())
    assert names == ["clip.mp4", "photo.png"]


def test_what_does_not_fit_is_said_before_any_work(run: Shell, model: Path, tmp_path: Path) -> None:
    clip, photo = make_clip(tmp_path / "clip.mp4"), draw(tmp_path / "photo.png")
    endings = ".m4v, .mkv, .mov, .mp4, .webm"
    result = run("translate", clip, "-o", tmp_path / "out.png", "-m", model)
    assert result.code == 2
    assert f"is a video, and {tmp_path / 'out.png'} none; name the result with {endings}" in (
        result.err
    )
    result = run("translate", photo, "-o", tmp_path / "out.mp4", "-m", model)
    assert (result.code, "is a picture, and" in result.err) == (2, True)
    result = run("translate", clip, "-o", tmp_path / "out.avi", "-m", model)
    assert (result.code, f"out.avi can't be written; use {endings}." in result.err) == (2, True)
    result = run("reconstruct", clip, "-o", tmp_path / "out", "-m", model)
    assert result.code == 1
    assert f"{clip} is a video; only `cyclegan translate` takes those." in result.err
    (tmp_path / "text.mp4").write_text("no video")
    result = run("translate", tmp_path / "text.mp4", "-o", tmp_path / "out", "-m", model)
    assert (result.code, "text.mp4 is damaged, or not a video" in result.err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_a_note_says_that_there_is_nothing_to_share(run: Shell, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", config=replace(SMALL, norm="none"))
    source = make_clip(tmp_path / "clip.mp4", frames=2)
    result = run("translate", source, "-o", tmp_path / "out.mp4", "-m", tmp_path / "m.safetensors")
    assert "(no instance norm, so nothing to share)" in " ".join(result.err.split())
