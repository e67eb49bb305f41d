"""`cyclegan distill`: a student is made, and mistakes are one sentence before any work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ..commands import Shell, save
from ..folders import fill

TINY = [
    *("--base-channels", "2", "--num-blocks", "1", "--num-pairs", "2", "--crop-size", "16"),
    *("--load-size", "16", "--num-held-out", "1", "--max-steps", "1", "--batch-size", "1"),
]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a teacher of one direction and photographs; it is the current one."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "big.safetensors", directions=["a_to_b"])
    fill(tmp_path / "photos", 4)
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_a_student_is_made_and_described(shell, here) -> None:
    words = ["distill", here / "big.safetensors", "photos", "-o", "small.safetensors", *TINY]
    result = shell(*words, "--license", "mit", "--json")
    assert result.code == 0
    report = json.loads(result.out)
    assert (report["file"], report["teacher"]) == (
        "small.safetensors",
        str(here / "big.safetensors"),
    )
    assert report["num_pictures"] == 1
    described = json.loads(shell("info", "small.safetensors", "--json").out)
    assert described["training"]["license"] == "mit"
    assert described["training"]["teacher"] == "big.safetensors"  # and no folder of mine
    said = " ".join(shell("info", "small.safetensors").out.split())
    assert "teacher big.safetensors licence mit" in said
    again = shell(*words)
    assert (again.code, again.err.count("\n")) == (1, 1)
    assert "small.safetensors exists; add --overwrite to replace it." in again.err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("big.safetensors photos --base-channels 3", 2, "at most the teacher's 2"),
        ("big.safetensors photos --num-blocks 2", 2, "num_blocks must be at most the teacher's 1"),
        ("big.safetensors empty", 1, "empty holds no pictures"),
        ("big.safetensors photos --num-held-out 3", 1, "too few to hold 3 out"),
        ("big.safetensors nowhere", 1, "nowhere does not exist; check the path of the folder"),
        ("big.safetensors photos --direction b_to_a", 1, "only translates A→B"),
        ("big.safetensors photos -o no/folder.safetensors", 1, "can't be written"),
        ("big.safetensors photos -o small.pth", 2, "saved as .safetensors"),
        ("nothing.safetensors photos", 1, "nothing.safetensors"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(shell, here, words, code, sentence) -> None:
    before = sorted(here.rglob("*"))
    options = [] if "-o" in words.split() else ["-o", "small.safetensors"]
    result = shell("distill", *TINY, *words.split(), *options)
    lines = [line for line in result.err.splitlines() if line.strip()]  # a bar leaves an empty one
    assert (result.code, len(lines)) == (code, 1)
    assert sentence in result.err
    assert sorted(here.rglob("*")) == before


def test_a_log_tells_of_every_phase(shell, here) -> None:
    log = shell("distill", "big.safetensors", "photos", "-o", "small.safetensors", *TINY).err
    for phase in ("teacher translates: 2 of 2", "student learns: 1 of 1", "both compared: 1 of 1"):
        assert phase in log
