"""What `import cyclegan_core` offers, needs, and does not do."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import subprocess
import sys

import pytest

import cyclegan_core

from .processes import ROOT, environment

HOST = ("comfy", "comfy_api", "comfy_execution", "folder_paths", "nodes", "server")

EVERY_MODULE = sorted(
    module.name
    for module in pkgutil.walk_packages(cyclegan_core.__path__, "cyclegan_core.")
    if not module.name.endswith(".__main__")  # which is the command
)


def test_the_public_names_are_frozen() -> None:
    """A name here is a promise: adding one is a decision, removing one breaks somebody."""
    assert sorted(cyclegan_core.__all__) == [
        "CheckpointError",
        "CheckpointInfo",
        "Comparison",
        "CompilerError",
        "CycleGAN",
        "CycleGANError",
        "DataConfig",
        "DatasetError",
        "Direction",
        "DistillConfig",
        "DownloadError",
        "EquivarianceLosses",
        "ExportReport",
        "Losses",
        "MissingDirectionError",
        "ModelConfig",
        "PairedFolders",
        "PairedLosses",
        "Picture",
        "PictureError",
        "Reconstruction",
        "RunFolder",
        "StepReport",
        "TrainConfig",
        "Trainer",
        "TrainingDivergedError",
        "UnpairedFolders",
        "__version__",
        "distill",
        "export_model",
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
        # NonFiniteError tells the core itself to try again in float32; people catch its base.
        assert kind.__name__ in cyclegan_core.__all__ or kind is errors.NonFiniteError


@pytest.mark.parametrize("room", ["checkpoint", "hub"])
def test_a_lazy_face_has_all_its_names(room: str) -> None:
    face = importlib.import_module(f"cyclegan_core.{room}")
    assert set(dir(face)) >= set(face.__all__)
    for name in face.__all__:
        assert getattr(face, name) is not None
    with pytest.raises(AttributeError, match=f"'cyclegan_core.{room}' has no attribute 'nothing'"):
        _ = face.nothing


WITH_RAY = ("cyclegan_core.bulk.bulk",)
"""Importing Ray puts a folder of its own before sys.path; only `cyclegan bulk` imports it."""

ALONE = f"""
import json, logging, os, sys, threading
for name in {HOST}:
    sys.modules[name] = None
import torch

def state():
    return [dict(os.environ), sys.path[:], len(logging.getLogger().handlers),
            torch.get_num_threads(), torch.random.initial_seed(), torch.get_default_dtype(),
            threading.active_count(), torch.cuda.is_initialized(), torch.is_grad_enabled()]

before = state()
import cyclegan_core
assert state() == before and not torch.cuda.is_initialized()
print(json.dumps(sorted({{"torchvision", "tyro", "rich"}} & set(sys.modules))))
import {", ".join(name for name in EVERY_MODULE if name not in WITH_RAY)}
assert state() == before
model = cyclegan_core.CycleGAN(cyclegan_core.ModelConfig(base_channels=2, num_blocks=0))
print(json.dumps(model.translate(torch.rand(1, 3, 5, 7)).shape))
"""


def test_importing_needs_no_host_and_has_no_effect() -> None:
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    loaded, shape = map(json.loads, process.stdout.splitlines())  # and nothing else was printed
    assert loaded == []
    assert shape == [1, 3, 5, 7]


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


def test_the_documentation_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\.\. auto\w+:: (\w+)$", page, re.MULTILINE)
    kinds = {"Direction", "__version__"}
    assert set(cyclegan_core.__all__) - kinds - set(shown) == set()
