"""The folder of a Space: small, complete by itself, and it shows the page."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.host.comfyui import free_port
from tests.unavailable import unavailable

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, built as its documentation says."""
    if importlib.util.find_spec("gradio") is None:
        unavailable('gradio is not installed; run pip install -e ".[demo]".')
    out = tmp_path_factory.mktemp("space") / "space"
    script = str(ROOT / "demo" / "space.py")
    for _ in range(2):  # again, over the first
        subprocess.run([sys.executable, script, str(out)], check=True)
    return out


def test_it_says_what_the_hub_wants_to_know(space: Path) -> None:
    front = (space / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    facts = dict(line.split(": ", 1) for line in front.splitlines())
    assert facts["sdk"] == "gradio"
    assert re.fullmatch(r"\d+\.\d+\.\d+", facts["sdk_version"])
    assert (space / facts["app_file"]).is_file()
    assert len(facts["short_description"]) <= 60  # the Hub refuses more
    sizes = [path.stat().st_size for path in space.rglob("*") if path.is_file()]
    assert max(sizes) < 10e6  # more would need Git LFS
    assert sum(sizes) < 30e6  # six models of 4 MB


def test_it_asks_for_what_the_package_needs(space: Path) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    needed = re.search(r"^dependencies = \[(.*?)\]", project, re.MULTILINE | re.DOTALL)[1]
    needed += re.search(r"^cli = \[(.*)\]", project, re.MULTILINE)[1]
    lines = (space / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert set(re.findall(r'"(.+?)"', needed)) == {line for line in lines if line[0] != "-"}


def test_it_shows_the_page_by_itself(space: Path) -> None:
    """As a Space runs it: `app.py` in the folder, and nothing of the clone."""
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    process = subprocess.Popen(
        [sys.executable, "-u", "app.py"],
        cwd=space,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = ""
        deadline = time.monotonic() + 120
        while "Running on" not in said and time.monotonic() < deadline:
            said += process.stdout.readline()
        with urlopen(f"http://127.0.0.1:{port}/config") as answer:
            page = answer.read().decode()
        for name in ("photo2monet", "photo2vintage", "Before and after"):
            assert name in page
    finally:
        process.terminate()
        process.communicate()
