"""Names that can't be, or that speak to a terminal: one sentence each, and nothing lies elsewhere.

Who types a command may lead it anywhere; but a name may come from somebody's archive.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ..commands import Shell, draw, save
from ..names import IMPOSSIBLE
from ..warm import Server

Door = Callable[[str], Sequence[object]]

QUICK = (
    *("--max-steps", 1, "--batch-size", 1, "--load-size", 24, "--crop-size", 24, "--device", "cpu"),
    *("--model.base-channels", 2, "--model.num-blocks", 1),
)
MODEL = ("-m", "m.safetensors", "--device", "cpu", "--precision", "fp32")
TRAIN = ("train", "a", "b", "--run", "run")

DOORS: dict[str, Door] = {
    "translate, pictures": lambda name: ("translate", name, *MODEL, "-o", "out"),
    "translate, model": lambda name: ("translate", "a/0.png", "-m", name, "-o", "out"),
    "translate, hub": lambda name: ("translate", "a/0.png", "-m", f"hub:{name}", "-o", "out"),
    "info": lambda name: ("info", name),
    "convert": lambda name: ("convert", name, "-o", "made.safetensors"),
    "export": lambda name: ("export", name, "-o", "made.pt2"),
    "train, A": lambda name: ("train", name, "b", "--run", "run", *QUICK),
    "train, B": lambda name: ("train", "a", name, "--run", "run", *QUICK),
    "train, start": lambda name: (*TRAIN, "--start", name, *QUICK),
    "train, test A": lambda name: (
        *(*TRAIN, "--test-a", name, "--test-b", "b", "--evaluate-every", 1),
        *("--evaluation.extractor", "builtin", *QUICK),
    ),
    "evaluate, A": lambda name: ("evaluate", name, "b", *MODEL, "--extractor", "builtin"),
    "evaluate, model": lambda name: ("evaluate", "a", "b", "-m", name),
    "distill, model": lambda name: ("distill", name, "a", "-o", "made.safetensors"),
    "distill, pictures": lambda name: ("distill", "m.safetensors", name, "-o", "made.safetensors"),
    "pull": lambda name: ("pull", name),
    "pull, file": lambda name: ("pull", "you/model", "--file", name),
    "push": lambda name: ("push", name, "you/model"),
    "push, repository": lambda name: ("push", "m.safetensors", f"you/{name}/model"),
    "no command": lambda name: (name,),
}
"""Where a word of a command becomes a path that is read."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a model and pictures; models are pulled to beside it."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path / "models"))
    save(path / "m.safetensors")
    for number in range(3):
        draw(path / "a" / f"{number}.png")
        draw(path / "b" / f"{number}.png")
    return path


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_one_sentence(here: Path, capsys: pytest.CaptureFixture[str], door: Door) -> None:
    run, before = Shell(capsys), everything(here.parent)
    for kind, name in IMPOSSIBLE.items():
        result = run(*door(name))
        assert result.code in (1, 2), kind
        lines = (result.out + result.err).splitlines()
        assert all(line.isprintable() for line in lines), kind
        told = [line for line in lines if line.startswith(("cyclegan: ", "failed: ", "not found:"))]
        assert len(told) == 1, (kind, lines)
    assert everything(here.parent) == before


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes that are no text")
def test_names_of_files_are_kept_and_do_not_speak(here: Path, server: Server) -> None:
    """From an archive, say: a name that moves the cursor, one in two lines, one in Latin-1."""
    names = ["\x1b]0;mine\x07.png", "two\nlines.png", os.fsdecode(b"\xe9t\xe9.png"), "夏.png"]
    (here / "odd").mkdir()
    for number, name in enumerate(names):
        draw(here / f"{number}.png", size=(13 + number, 9)).rename(here / "odd" / name)
    said = here.parent / "said"

    def run(*argv: object) -> str:
        code = server.run(argv, said, cwd=str(here), env={"COLUMNS": "200"})
        text = "".join((said / f"{name}.txt").read_text("utf-8") for name in ("out", "err"))
        assert code == 0, text
        assert all(line.isprintable() for line in text.splitlines()), ascii(text)
        return text

    made = ("-o", "out", *MODEL)
    assert "\\x1b]0;mine\\x07.png" in run("translate", "odd", *made, "--compare", "sheet.png")
    assert sorted(path.name for path in (here / "out").iterdir()) == sorted(names)
    run("reconstruct", "odd", "-o", "back", *MODEL)
    run("train", "odd", "b", "--run", "run", *QUICK)
    run("train", "odd", "b", "--run", "run", *QUICK, "--max-steps", 2)
    run("evaluate", "odd", "b", *MODEL, "--extractor", "builtin", "--subset-size", 2)
    small = ("--base-channels", 1, "--num-blocks", 0, "--num-pairs", 2, "--num-held-out", 1)
    steps = ("--max-steps", 1, "--batch-size", 1, "--crop-size", 16, "--load-size", 16)
    run("distill", "m.safetensors", "odd", "-o", "small.safetensors", *small, *steps)
