"""What an sdist and its wheel hold, and what the wheel's types are worth to who installs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

from .processes import ROOT
from .tracked import copy_tracked, tracked_files


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of what git tracks, unpacked."""
    pytest.importorskip("setuptools", minversion="77", reason="packages are built without network")
    folder = tmp_path_factory.mktemp("packages")
    copy_tracked(folder / "clone")
    build(folder / "clone", "sdist")
    (made,) = (folder / "sdist").iterdir()
    with tarfile.open(made) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def installed(source: Path) -> Path:
    """What pip makes of the sdist's wheel: a folder for `sys.path`."""
    build(source, "wheel")
    (made,) = (source.parent / "wheel").iterdir()
    with zipfile.ZipFile(made) as archive:
        archive.extractall(source.parent / "site")
    return source.parent / "site"


def build(folder: Path, kind: str) -> None:
    """Into a folder named after the kind, beside the source."""
    call = f"from setuptools import build_meta as b; b.build_{kind}('../{kind}')"
    done = subprocess.run(
        [sys.executable, "-c", call], cwd=folder, check=True, capture_output=True, text=True
    )
    assert "Deprecat" not in done.stderr
    assert "absent from the `packages` configuration" not in done.stderr


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_sdist_holds_what_git_tracks(source: Path) -> None:
    made = {"PKG-INFO", "setup.cfg"}
    found = {
        name for name in files(source) if not name.startswith(("cyclegan.egg-info/", "build/"))
    }
    assert found == set(tracked_files()) | made


def test_a_wheel_holds_the_core_and_the_weights(installed: Path) -> None:
    found = {name for name in files(installed) if ".dist-info/" not in name}
    tracked = tracked_files()
    wanted = {name for name in tracked if name.startswith("cyclegan_core/")}
    wanted |= {
        f"cyclegan_core/{name}"
        for name in tracked
        if name.startswith("weights/") and not name.endswith(".py")  # the script that made one
    }
    assert found == wanted
    assert "cyclegan_core/py.typed" in found
    assert any(name.endswith(".safetensors") for name in found)


@pytest.mark.skipif(find_spec("pyright") is None, reason="pyright is not installed")
def test_the_types_satisfy_a_strict_user(installed: Path, tmp_path: Path) -> None:
    """Judged as pyright judges an installed package: without py.typed it would ask for stubs."""
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.10",
        "venvPath": ".",
        "venv": "env",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    # An environment of pyright's own: in the tester's it would find the repository as well.
    packages = tmp_path / "env" / "lib" / "python3.10" / "site-packages"
    packages.mkdir(parents=True)
    torch = Path(find_spec("torch").origin).parents[1]
    (packages / "user.pth").write_text(f"{installed}\n{torch}\n")
    shutil.copy(ROOT / "tests" / "unit" / "consumer.py", tmp_path)
    wrong = """\
        from cyclegan_core import TrainConfig, load_model

        load_model(3)
        TrainConfig(max_steps="many")
        load_model("photo2monet").translate("photo.jpg")
    """
    (tmp_path / "wrong.py").write_text(dedent(wrong))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,  # it fails for wrong.py
    )
    complaints = json.loads(done.stdout)["generalDiagnostics"]
    assert {(Path(c["file"]).name, c["rule"]) for c in complaints} == {
        ("wrong.py", "reportArgumentType")
    }, complaints
    assert len(complaints) == 3
