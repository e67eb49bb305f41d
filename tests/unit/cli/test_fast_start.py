"""Help and mistakes are answered before torch is imported, which costs more than all the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..commands import draw, save

ROOT = Path(__file__).parents[3]

CODE = """
import sys
from cyclegan_core.cli import run
sys.argv[0] = "cyclegan"
try:
    code = run()
except SystemExit as error:
    code = error.code
loaded = {"torch", "numpy", "torchvision", "matplotlib"} & set(sys.modules)
print(f"code {code or 0}, loaded {sorted(loaded)}")
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--help", 0),
        ("--version", 0),
        ("translate --help", 0),
        ("train --preset style --help", 0),
        ("--tyro-print-completion bash", 0),
        ("", 2),
        ("trnslate a.jpg", 2),
        ("translate a.jpg -o out -m photo2monet --bogus", 2),
        ("translate a.jpg -o out -m photo2monet --memory huge", 2),
        ("train a b --run r --batch-size 0", 2),
        ("list", 0),
        ("list --json", 0),
        ("translate nothing.jpg -o out -m photo2monet", 1),
        ("translate nothing.jpg --json", 1),
        ("translate here.jpg --dry-run", 0),
        ("translate here.jpg -o out -m nothing", 1),
        ("info missing.safetensors", 1),
        ("convert missing.safetensors -o new.safetensors", 1),
        ("export missing.safetensors -o new.onnx", 1),
        ("distill photo2monet missing -o small.safetensors", 1),
        ("push missing.safetensors you/model", 1),
        ("pull no/such/repository", 2),
        ("train missing_a missing_b --run r", 1),
        ("train --run run", 1),
    ],
)
def test_torch_is_not_imported(words: str, code: int, tmp_path: Path) -> None:
    draw(tmp_path / "here.jpg")
    (tmp_path / "models").mkdir()
    (tmp_path / "run").mkdir()
    run = {"config": {}, "command": {"dir_a": "missing_a", "dir_b": "missing_b"}}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    save(tmp_path / "models" / "mine.safetensors")
    process = subprocess.run(
        [sys.executable, "-c", CODE, *words.split()],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CYCLEGAN_MODELS": str(tmp_path / "models"),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.splitlines()[-1] == f"code {code}, loaded []", process.stderr


def test_the_package_alone_is_light_and_its_names_are_there() -> None:
    code = """
import sys
import cyclegan_core
assert set(cyclegan_core.__all__) <= set(dir(cyclegan_core))
assert not hasattr(cyclegan_core, "no_such_name")
assert "torch" not in sys.modules
from cyclegan_core import load_model
assert "torch" in sys.modules and cyclegan_core.load_model is load_model
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
