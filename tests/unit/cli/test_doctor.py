"""`cyclegan doctor`: what it finds on this very computer, and what it calls a problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from cyclegan_core import __version__
from cyclegan_core.cli.computer.doctor import EXTRAS, PACKAGES

from ..commands import Shell
from ..processes import ROOT


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_it_knows_this_computer(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    result = run("doctor", "--json")
    assert (result.code, result.err) == (0, "")
    facts = result.json
    assert (facts["cyclegan"], facts["problems"]) == (__version__, [])
    assert facts["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert facts["models"]["pulled"] == {"folder": str(tmp_path), "models": []}
    assert "photo2monet" in facts["models"]["bundled"]["models"]
    assert facts["extras"]["cli"] is True
    assert "hub" not in facts
    cpu = facts["devices"][0]
    assert (cpu["device"], cpu["threads"]) == ("cpu", torch.get_num_threads())
    assert {"fp32", cpu["precision"]} == set(cpu["seconds"])
    assert all(0 < seconds < 600 for seconds in cpu["seconds"].values())


def test_it_tells_people(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    for name in EXTRAS:  # whatever is installed here
        module = "no_such_module" if name == "tensorboard" else "torch"
        monkeypatch.setitem(EXTRAS, name, (module,))
    monkeypatch.setenv("COLUMNS", "80")
    result = run("doctor")
    assert (result.code, result.err) == (0, "")
    assert max(map(len, result.out.splitlines())) <= 80
    text = " ".join(result.out.split())
    assert re.search(r"a picture of 256×256 takes [\d.e-]+ s in fp32", text)
    assert 'not installed: tensorboard (pip install "cyclegan[tensorboard]")' in text
    assert text.endswith("All is well.")


def test_what_is_wrong_is_said(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("cyclegan_core.cli.computer.doctor.PACKAGES", ("torch", "no-such-thing"))
    result = run("doctor")
    assert result.code == 1
    assert "Problem: no-such-thing is missing; install it with: pip install no-such-thing" in (
        result.out
    )


def test_it_knows_what_the_package_declares() -> None:
    tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.split("[>=]", text)[0] for text in project["dependencies"]}
    assert names == set(PACKAGES)
    extras = project["optional-dependencies"]
    assert set(EXTRAS) == set(extras) - {"test", "browser", "docs", "dev"}
    for name, modules in EXTRAS.items():
        assert len(extras[name]) == len(modules)
