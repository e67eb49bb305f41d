"""What a wheel holds: every module, the weights, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_a_wheel_holds_the_core_and_the_weights(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77", reason="the wheel is built without network")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("cyclegan_core", "weights", "nodes", "tests"):
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=without)
    subprocess.run(
        [sys.executable, "-c", "from setuptools import build_meta as b; b.build_wheel('../made')"],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "made").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {p.relative_to(ROOT).as_posix() for p in (ROOT / "cyclegan_core").rglob("*.py")}
    weights = [path for path in (ROOT / "weights").rglob("*") if path.is_file()]
    wanted |= {
        f"cyclegan_core/{path.relative_to(ROOT).as_posix()}"
        for path in weights
        if path.suffix != ".py"  # the script that made one of them
    }
    assert found == wanted | {"cyclegan_core/py.typed"}
    assert any(name.endswith(".safetensors") for name in found)
