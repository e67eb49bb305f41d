"""What the registry hands out: the files that git tracks, without those of .comfyignore."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from .processes import ROOT
from .tracked import copy_tracked, tracked_files

COMFY = shutil.which("comfy")

# What ComfyUI loads, shows or installs, and what a user may want to read or run beside it.
FOLDERS = {
    "cyclegan_core",
    "example_workflows",
    "locales",
    "nodes",
    "subgraphs",
    "web",
    "weights",
}
FILES = {
    ".comfyignore",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "__init__.py",
    "pyproject.toml",
    "requirements.txt",
    "setup.py",
}


@pytest.fixture(scope="module")
def pack() -> set[str]:
    """By git's reading of .comfyignore, whose patterns are those of .gitignore."""
    ignored = tracked_files("--cached", "--ignored", "--exclude-from=.comfyignore")
    return set(tracked_files()) - set(ignored)


def test_the_pack_holds_what_comfyui_needs_and_nothing_else(pack: set[str]) -> None:
    """Exactly: a new folder or file at the top is in the pack by decision only."""
    assert {name.partition("/")[0] for name in pack} == FOLDERS | FILES
    needed = {name for name in tracked_files() if name.partition("/")[0] in FOLDERS}
    assert needed <= pack
    assert {"web/cyclegan.js", "locales/en/nodeDefs.json"} <= pack
    for pattern in ("web/docs/*.md", "example_workflows/*.json", "subgraphs/*.json"):
        assert any(Path(name).match(pattern) for name in pack), pattern


@pytest.mark.skipif(COMFY is None, reason="comfy-cli is not installed")
def test_the_registrys_tool_packs_the_same_and_finds_no_fault(
    pack: set[str], tmp_path: Path
) -> None:
    copy_tracked(tmp_path)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "--all", "--force"], cwd=tmp_path, check=True)
    said = ""
    for order in ("validate", "pack"):
        done = subprocess.run(
            [COMFY, "--skip-prompt", "node", order],
            cwd=tmp_path,
            env={**os.environ, "DO_NOT_TRACK": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        said += done.stdout + done.stderr
    assert "All validation checks passed" in said
    assert "Warning" not in said
    with zipfile.ZipFile(tmp_path / "node.zip") as archive:
        assert set(archive.namelist()) == pack


def test_comfyui_manager_installs_the_dependencies_and_no_other_torch() -> None:
    """The Manager reads requirements.txt: the same packages, the host's versions."""
    tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w-]+", one)[0] for one in project["dependencies"]]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert lines == names  # bare names: no pins
