"""Nothing asks the network unless it was told to: every connection and every name is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..commands import draw, save
from ..processes import environment

CODE = """
import socket, sys

def refuse(*words, **options):
    raise SystemExit(f"the network was asked: {words}")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse

import importlib, pkgutil
import cyclegan_core
for module in pkgutil.walk_packages(cyclegan_core.__path__, "cyclegan_core."):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if error.name is None or error.name.startswith("cyclegan_core"):
                raise

from cyclegan_core.cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        code = main(line.split("\\t"))
    except SystemExit as error:
        code = error.code
    print("==", code, line.replace("\\t", " "), flush=True)
"""


def test_no_import_and_no_command_asks_the_network(tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors")
    for side in "ab":
        (tmp_path / side).mkdir()
        for number in range(3):
            draw(tmp_path / side / f"{number}.png")
    commands = [
        "--version",
        "--help",
        "list",
        "info m.safetensors",
        "convert m.safetensors -o n.safetensors",
        "translate a/0.png -m m.safetensors -o out",
        "reconstruct a/0.png -m m.safetensors -o back",
        "translate a/0.png -m photo2monet -o named --dry-run",
        "doctor",
        "evaluate a b -m m.safetensors --extractor builtin --subset-size 2 --num-subsets 2",
        "export m.safetensors -o m.pt2",
        "distill m.safetensors a -o small.safetensors --base-channels 1 --num-blocks 0 "
        "--num-pairs 2 --num-held-out 1 --max-steps 1 --batch-size 1 --crop-size 16 --load-size 16",
        "train a b --run run --max-steps 1 --batch-size 1 --load-size 24 --crop-size 24 "
        "--model.base-channels 2 --model.num-blocks 1",
    ]
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input="\n".join("\t".join(command.split()) for command in commands),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    codes = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("== ")]
    assert codes == ["0"] * len(commands), done.stdout + done.stderr
