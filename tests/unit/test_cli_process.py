"""The command as a process: exit codes, interruption, and what it needs to be installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cyclegan_core import ModelConfig

from .commands import ROOT, draw, save, start

SLOW = ModelConfig(base_channels=16, num_blocks=9)
"""Seconds for a picture of 4 million pixels."""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_from_start_to_end(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors")
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_text("no picture")
    argv = ("translate", "in", "-o", "out", "-m", "m.safetensors", "--json")
    process = start(argv, cwd=tmp_path)
    out, err = process.communicate()
    assert (process.returncode, err) == (1, "")
    report = json.loads(out)
    assert [entry["input"] for entry in report["pictures"]] == ["in/a.png", "in/b.png"]
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.size == (13, 9)


def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors")
    name = os.fsdecode(b"caf\xe9.png")  # Latin-1, as from an old disk
    try:
        draw(tmp_path / name)
    except OSError:
        pytest.skip("this file system has only names that are text")
    argv = ("translate", name, "-o", "out", "-m", "m.safetensors")
    process = start(argv, cwd=tmp_path)
    out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert "caf" in err
    assert (tmp_path / "out" / name).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("extra", [(), ("--json",)])
def test_ctrl_c_stops_and_leaves_nothing_half_done(tmp_path: Path, extra) -> None:
    save(tmp_path / "m.safetensors", SLOW)
    draw(tmp_path / "a.png")
    Image.new("RGB", (2048, 2048)).save(tmp_path / "b.png")
    fifo = tmp_path / "c.png"
    os.mkfifo(fifo)
    pictures = ("a.png", "b.png") if not extra else ("a.png", "c.png")
    argv = ("translate", *pictures, "-o", "out", "-m", "m.safetensors", "--device", "cpu", *extra)
    # Whoever runs the tests in the background makes them, and their children, deaf to Ctrl-C.
    process = start(
        argv, cwd=tmp_path, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    if extra:  # nothing is printed, but the second picture is a pipe that can tell it is read
        with fifo.open("wb"):
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        assert json.loads(out) == {"error": "interrupted."}
        assert err == ""
    else:
        line = process.stderr.readline()
        assert "a.png → out/a.png" in line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert out == ""
        assert err.splitlines()[-1] == "cyclegan: interrupted."
        assert "Traceback" not in err
    assert process.returncode == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


@pytest.mark.parametrize("missing", ["tyro", "rich"])
def test_without_the_extra_it_says_what_to_install(missing: str) -> None:
    result = python(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from cyclegan_core.cli import main; sys.exit(main(['info', 'x']))"
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"cyclegan: the command line needs {missing}; "
        "install it with: pip install 'cyclegan[cli]'\n"
    )


@pytest.mark.parametrize("command", ["", "translate", "reconstruct", "info", "convert"])
def test_help_fits_a_terminal(command: str, capsys, monkeypatch) -> None:
    from cyclegan_core.cli import main

    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    out, err = capsys.readouterr()
    assert (caught.value.code, err) == (0, "")
    assert out.startswith(f"usage: cyclegan {command}".rstrip())
    boxes = [line for line in out.splitlines() if line.startswith(("│", "╭", "╰"))]
    assert boxes
    assert max(map(len, boxes)) <= 80
    for noise in ("None", "STR", "(default: )"):
        assert noise not in out
