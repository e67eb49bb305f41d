"""Models by name: paths first, then what comes with the package."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from safetensors import safe_open

from cyclegan_core import CheckpointError, load_model
from cyclegan_core.checkpoint.checkpoint import inspect_checkpoint
from cyclegan_core.checkpoint.settings import header_checksum
from cyclegan_core.checkpoint.weight_file import checksum
from cyclegan_core.errors import plain
from cyclegan_core.hub.catalog import bundled_models
from cyclegan_core.hub.install import find_model

from ..pictures.test_bad import as_ordinary_user


def test_bundled_files_are_models_of_ours() -> None:
    for name, path in bundled_models().items():
        assert path.stem == name
        assert inspect_checkpoint(path).layout == "cyclegan"
        assert find_model(name) == path


def test_bundled_files_have_their_checksums() -> None:
    for path in bundled_models().values():
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            texts = file.metadata()
            assert texts["crc32"] == checksum(tensors)
            assert texts["crc32_header"] == header_checksum(texts)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the module where models lie beside it in both possible places."""
    for place, name in (("pkg/weights", "inside"), ("weights", "beside"), ("weights", "old.bak")):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        suffix = "" if name == "old.bak" else ".safetensors"
        (tmp_path / place / f"{name}{suffix}").write_bytes(b"x")
    own = tmp_path / "pkg" / "hub" / "catalog.py"
    monkeypatch.setattr("cyclegan_core.hub.catalog.__file__", str(own))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_load_model_takes_a_name() -> None:
    model = load_model("photo2monet")
    assert model.config.domain_b == "Monet"
    both = load_model("photo2monet", path_b_to_a="monet2photo")
    assert both.directions == ("a_to_b", "b_to_a")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("photo2mone", "There is no model 'photo2mone'; did you mean photo2monet?"),
        ("nothing", "There is no model 'nothing': give a weight file"),
        ("no.pth", "no.pth does not exist; check the name and the folder."),
        ("no/photo2monet", "no/photo2monet does not exist; check the name and the folder."),
        (Path("photo2monet"), "photo2monet does not exist; check the name and the folder."),
        (
            "hub:you/model",
            r"use CycleGAN.from_pretrained\('you/model'\), or `cyclegan pull",
        ),
    ],
)
def test_what_load_model_does_not_find(name, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        load_model(name)


def test_an_installed_package_looks_inside_itself_only(package: Path) -> None:
    inside = package / "pkg" / "weights" / "inside.safetensors"
    assert bundled_models() == {"inside": inside}
    assert find_model("inside") == inside


def test_a_clone_looks_beside_its_package(package: Path) -> None:
    shutil.rmtree(package / "pkg" / "weights")
    assert bundled_models() == {"beside": package / "weights" / "beside.safetensors"}


def test_a_path_comes_before_a_name(package: Path) -> None:
    Path("inside").write_bytes(b"mine")
    assert find_model("inside") == Path("inside")
    assert find_model(str(package / "weights")) == package / "weights"


def test_what_is_neither_names_what_there_is(package: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^The name of a model is empty; give a file, "):
        find_model("")
    for name in ("nothing", "in/side", "x\0y"):
        with pytest.raises(CheckpointError) as caught:
            find_model(name)
        assert str(caught.value) == (
            f"There is no model '{plain(name)}': give a weight file, a folder, hub:owner/repo, or "
            "a bundled model (inside)."
        )
    shutil.rmtree(package / "pkg")
    shutil.rmtree(package / "weights")
    with pytest.raises(CheckpointError, match=r"a folder, or hub:owner/repo\.$"):
        find_model("nothing")


def test_a_name_that_is_nearly_right(package: Path) -> None:
    for name in ("insde", "INSIDE", "inside2"):
        with pytest.raises(CheckpointError) as caught:
            find_model(name)
        said = f"There is no model '{name}'; did you mean inside? `cyclegan list` shows all names."
        assert str(caught.value) == said


def test_paths_that_can_not_be_looked_at() -> None:
    with pytest.raises(CheckpointError, match="can't be read: File name too long; check the path"):
        find_model("x" * 300)
    with tempfile.TemporaryDirectory() as name:
        shut = Path(name, "shut")
        shut.mkdir(mode=0)
        with (
            as_ordinary_user(Path(name)),
            pytest.raises(CheckpointError, match="can't be read: Permission denied"),
        ):
            find_model(f"{shut}/m.pth")
