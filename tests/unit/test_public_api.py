"""What `import cyclegan_core` offers, needs, and does not do."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cyclegan_core

ROOT = Path(__file__).parents[2]

HOST = ("comfy", "comfy_api", "comfy_execution", "folder_paths", "nodes", "server")

EVERY_MODULE = sorted(
    f"cyclegan_core.{module.name}" for module in pkgutil.iter_modules(cyclegan_core.__path__)
)


def python(code: str) -> dict[str, object]:
    """Run code that leaves its answer in `result`; importing must not print anything."""
    prologue = f"import json, sys\nfor name in {HOST}: sys.modules[name] = None\n"
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{prologue}{code}\nprint(json.dumps(result))"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    (line,) = process.stdout.splitlines()
    return json.loads(line)


def test_the_public_names_are_frozen() -> None:
    """A name here is a promise: adding one is a decision, removing one breaks somebody."""
    assert sorted(cyclegan_core.__all__) == [
        "CheckpointError",
        "CheckpointInfo",
        "CycleGAN",
        "CycleGANError",
        "DatasetError",
        "Direction",
        "DownloadError",
        "MissingDirectionError",
        "ModelConfig",
        "Picture",
        "PictureError",
        "Reconstruction",
        "TrainingDivergedError",
        "__version__",
        "inspect_checkpoint",
        "load_model",
        "read_picture",
        "save_model",
        "write_picture",
    ]
    for name in cyclegan_core.__all__:
        assert hasattr(cyclegan_core, name)


def test_the_version_is_the_packages() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"', text, re.MULTILINE)[1] == cyclegan_core.__version__


def test_errors_are_one_family() -> None:
    from cyclegan_core import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert len(kinds) >= 7
    for kind in kinds:
        assert issubclass(kind, cyclegan_core.CycleGANError)
        assert kind.__name__ in cyclegan_core.__all__


def test_importing_has_no_effect() -> None:
    result = python(
        "import os, logging, threading, torch\n"
        "def state():\n"
        "    return [dict(os.environ), sys.path[:], len(logging.getLogger().handlers),\n"
        "            torch.get_num_threads(), torch.random.initial_seed(),\n"
        "            torch.get_default_dtype() is torch.float32, threading.active_count()]\n"
        "before = state()\n"
        "import cyclegan_core\n"
        "loaded = {name.split('.')[0] for name in sys.modules}\n"
        "result = dict(same=state() == before, cuda=torch.cuda.is_initialized(),\n"
        "              loaded=sorted(loaded & {'torchvision', 'tyro', 'rich', 'matplotlib'}))"
    )
    assert result == {"same": True, "cuda": False, "loaded": []}


@pytest.mark.parametrize("module", EVERY_MODULE)
def test_every_module_can_be_imported_first(module: str) -> None:
    """No circle of imports works only because another module was imported before."""
    # One process for all would prove less and one each costs seconds, so: forget and import.
    ours = {name: found for name, found in sys.modules.items() if name.startswith("cyclegan_core")}
    for name in ours:
        del sys.modules[name]
    try:
        assert importlib.import_module(module).__doc__
    finally:
        for name in [name for name in sys.modules if name.startswith("cyclegan_core")]:
            del sys.modules[name]
        sys.modules.update(ours)


def test_the_whole_core_works_without_the_host() -> None:
    imports = "\n".join(f"import {module}" for module in EVERY_MODULE)
    result = python(
        f"{imports}\n"
        "import torch\n"
        "model = cyclegan_core.CycleGAN(cyclegan_core.ModelConfig(base_channels=2, num_blocks=0))\n"
        "result = list(model.translate(torch.rand(1, 3, 5, 7)).shape)"
    )
    assert result == [1, 3, 5, 7]
