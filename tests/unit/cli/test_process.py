"""The command as a process: exit codes, interruption, and what it needs to be installed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from cyclegan_core import ModelConfig
from cyclegan_core.cli.main import _MODULES

from ..commands import Shell, draw, save, start

ROOT = Path(__file__).parents[3]
SLOW = ModelConfig(base_channels=16, num_blocks=9)
"""Seconds of work on a picture of 4 million pixels."""


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors")
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no picture")
    name = os.fsdecode(b"caf\xe9.png")  # Latin-1, as from an old disk
    with suppress(OSError):  # on a file system whose names must be text
        draw(tmp_path / "in" / name)
    process = start(("translate", "in", "-o", "out", "-m", "m.safetensors"), cwd=tmp_path)
    out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    lines = err.splitlines()
    assert lines[:2] == [
        # Before a model is loaded.
        "failed: in/b.png is not a picture that can be read here; save it as PNG or JPEG.",
        "in/a.png → out/a.png",
    ]
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (13, 9)
    if (tmp_path / "in" / name).exists():
        assert lines[2].startswith("in/caf")
        assert (tmp_path / "out" / name).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_stops_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors", SLOW)
    draw(tmp_path / "a.png")
    Image.new("RGB", (2048, 2048)).save(tmp_path / "b.png")
    argv = ("translate", "a.png", "b.png", "-o", "out", "-m", "m.safetensors", "--device", "cpu")
    # Whoever runs the tests in the background makes them, and their children, deaf to Ctrl-C.
    process = start(
        argv, cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    assert "--work-size auto is quicker" in process.stderr.readline()
    assert "a.png → out/a.png" in process.stderr.readline()
    process.send_signal(signal.SIGINT)  # while it works on the second, which takes seconds
    out, err = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "cyclegan: interrupted."
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ("", "cyclegan: interrupted.\n")),
        (("--json",), ('{"error": "interrupted."}\n', "")),
    ],
)
def test_ctrl_c_during_the_imports(words, said, tmp_path: Path) -> None:
    """This tyro goes before the installed one, and presses Ctrl-C when it is imported."""
    (tmp_path / "tyro.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    process = start(("translate", "a.png", "-o", "out", "-m", "m", *words), cwd=tmp_path)
    assert (process.communicate(), process.returncode) == (said, 130)


@pytest.mark.parametrize("missing", ["tyro", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # what makes an import fail
    result = Shell(capsys)("info", "x")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"cyclegan: the command line needs {missing}; install it with: "
        'pip install "cyclegan[cli]"\n'
    )


@pytest.mark.parametrize("command", ["", *_MODULES])
def test_help_fits_a_terminal(command: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = Shell(capsys)(*command.split(), "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: cyclegan {command}".rstrip())
    usage, *lines = out.splitlines()
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    assert len(usage) < 100  # tyro shortens it where the options alone have 80
    assert not re.search(r"\b(None|STR|True,False)\b|default: \)", out)  # what tyro says by itself


LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[never]" in LARGE_PAGES.read_text(),
    reason="this system has no large pages on request",
)
def test_large_tensors_take_large_pages() -> None:
    code = """
import resource, torch
from cyclegan_core.cli import ask_for_large_pages
ask_for_large_pages()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(2**25)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    # 128 MB are 32768 small pages or 64 large ones; memory in pieces may deny some of these.
    assert int(done.stdout) < 16384


def test_the_overview_names_every_command(capsys) -> None:
    from cyclegan_core.cli.main import _GROUPS, _command

    shell = Shell(capsys)
    code, out, err = shell("--help")
    assert (code, err) == (0, "")
    for name in [name for group in _GROUPS.values() for name in group]:
        kind = _command(name)
        assert re.search(rf"^  {name}\b", out, re.MULTILINE)
        assert kind.__doc__.split(".")[0].split("\n")[0].split()[0] in out
    assert "--tyro-print-completion" in out
    assert shell() == (2, "", out)  # who says nothing is told the same
    assert shell("-h") == (0, out, "")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("trnslate", "there is no command 'trnslate'; did you mean translate?"),
        ("Lists", "there is no command 'Lists'; did you mean list?"),
        ("photo.jpg", "'photo.jpg' is no command; to translate pictures: cyclegan translate photo"),
        ("here", "'here' is no command; to translate pictures: cyclegan translate here"),
        ("magic", "there is no command 'magic'; `cyclegan --help` has all."),
    ],
)
def test_a_word_that_is_no_command(word, said, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    code, out, err = Shell(capsys)(word, "x")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"cyclegan: {said}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "list --jsn",
            "there is no option --jsn: did you mean --json? See `cyclegan list --help`.",
        ),
        (
            "translate a.jpg --modle=m",
            "no option --modle: did you mean --model? See `cyclegan tran",
        ),
        # What else is missing is not what went wrong.
        ("evaluate a b --modle m", "no option --modle: did you mean --model? See `cyclegan eval"),
        ("train a b --rn r", "no option --rn: did you mean --run? See `cyclegan train --help`."),
        ("train a b --run r --max_stesp 9", "no option --max_stesp: did you mean --max-steps? Se"),
        ("train a b --run r --no-compil", "no option --no-compil: did you mean --no-compile? See"),
        # What it is called elsewhere.
        ("train a b --run r --image-size 9", "no option --image-size: did you mean --crop-size?"),
        ("train a b --name r", "no option --name: did you mean --run? See `cyclegan train --help`"),
        ("train a b --run r --cuts", "no option --cuts; see `cyclegan train --help`."),
        ("translate a.jpg -q", "there is no option -q; see `cyclegan translate --help`."),
        ("--verson", "no option --verson: did you mean --version? See `cyclegan --help`."),
    ],
)
def test_a_mistyped_option_is_guessed(words: str, said: str, capsys) -> None:
    code, out, err = Shell(capsys)(*words.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(shell: str, capsys) -> None:
    code, out, _ = Shell(capsys)("--tyro-print-completion", shell)
    assert not code  # tyro ends with None
    assert "translate" in out
