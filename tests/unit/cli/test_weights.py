"""`cyclegan info` and `cyclegan convert`, and how a model is found by its name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cyclegan_core import CycleGAN, ModelConfig, inspect_checkpoint, load_model, save_model

from ..checkpoint import foreign
from ..commands import SMALL, Shell, save


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    """A generator as the original implementation saves it."""
    torch.save(foreign.scramble(foreign.upstream(width=2)).state_dict(), tmp_path / "net_G.pth")
    return tmp_path / "net_G.pth"


# --- info --------------------------------------------------------------------------------------


def test_info_on_our_file(run, tmp_path: Path) -> None:
    model = save(tmp_path / "m.safetensors")
    model.training_info = {"steps": 7}
    model.save_pretrained(tmp_path / "repo")
    for path in (tmp_path / "repo", tmp_path / "repo" / "model.safetensors"):
        result = run("info", path, "--json")
        assert (result.code, result.err) == (0, "")
        assert result.json == {
            "file": str(tmp_path / "repo" / "model.safetensors"),
            "layout": "cyclegan",
            "directions": ["a_to_b", "b_to_a"],
            "knows_direction": True,
            "parameters": sum(p.numel() for p in model.parameters()),
            "dtype": "float32",
            "config": SMALL.to_dict(),
            "training": {"steps": 7},
            "source": {},
        }


def test_info_on_a_foreign_file(run, pth: Path) -> None:
    report = run("info", pth, "--json").json
    assert report["layout"] == "upstream"
    assert (report["directions"], report["knows_direction"]) == (["a_to_b"], False)
    assert report["config"]["base_channels"] == 2
    assert report["training"] == {}


def test_info_for_people(run, tmp_path: Path) -> None:
    # Brackets and colons are markup to the printing library, but not here.
    config = replace(SMALL, domain_a="[red]horse[/red]", domain_b="a :cat: [/b]")
    path = tmp_path / "[bold]m.safetensors"
    save(path, config)
    result = run("info", path)
    assert (result.code, result.err) == (0, "")
    text = "".join(line.strip() for line in result.out.splitlines())
    for expected in ("layout cyclegan", "resnet, 1 blocks, 2 channels", "numbers in float32"):
        assert expected in " ".join(result.out.split())
    for expected in ("[red]horse[/red]", "a :cat: [/b]", "[bold]m.safetensors"):
        assert expected in text


def test_info_for_people_leaves_hashes_to_programs(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = run("info", "photo2monet")
    digest = run("info", "photo2monet", "--json").json["training"]["data"]
    assert digest not in "".join(result.out.split())
    assert "photo → Monet" in result.out
    assert re.search(r"training +\d+ steps", result.out)


def test_list_fits_a_terminal(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    result = run("list")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert max(map(len, lines)) <= 80
    at = [line.split()[0] if line.strip() else "" for line in lines]
    assert at.index("photo2monet") < at.index("On") < at.index("horse2zebra-johko")
    assert re.search(r"^  photo2monet +photo → Monet$", result.out, re.MULTILINE)
    assert re.search(r"^  horse2zebra-johko +horse ↔ zebra$", result.out, re.MULTILINE)
    assert "tmabraham/horse2zebra_cyclegan" in result.out
    assert "Pulled to" not in result.out
    assert f"Pulled models go to {tmp_path}" in result.out
    save(tmp_path / "[bold]mine.safetensors", directions=["b_to_a"])
    result = run("list")
    assert f"Pulled to {tmp_path}:" in result.out
    assert re.search(r"^  \[bold\]mine +zebra → horse$", result.out, re.MULTILINE)


def test_info_on_what_is_no_model(run, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_text("hello")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "x.pth", tmp_path / "no.pth", tmp_path / "empty"):
        result = run("info", path, "--json")
        assert (result.code, result.err) == (1, "")
        assert path.name in result.json["error"]
        result = run("info", path)
        assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.int8])
def test_one_broken_file_does_not_hide_the_others(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    save(tmp_path / "good.safetensors")
    save(tmp_path / "odd.safetensors")
    with safe_open(tmp_path / "odd.safetensors", framework="pt") as file:
        header = file.metadata()
        tensors = {key: file.get_tensor(key).to(dtype) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, tmp_path / "odd.safetensors", header)
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    said = f"stores 'gen_ab.model.1.weight' as {str(dtype).removeprefix('torch.')}, which"
    result = run("info", "odd")
    assert (result.code, result.out) == (1, "")
    assert said in result.err
    result = run("list", "--json")
    assert (result.code, result.err) == (0, "")
    models = {model["name"]: model for model in result.json["models"]}
    assert models["good"]["domains"] == ["horse", "zebra"]
    assert "error" not in models["good"]
    assert said in models["odd"]["error"]
    assert {"text", "gone"} <= {name for name, model in models.items() if "error" in model}
    result = run("list")
    assert (result.code, result.err) == (0, "")
    assert "good" in result.out


# --- convert -----------------------------------------------------------------------------------


def same(one, other) -> bool:
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
def test_convert_one_file(run, pth: Path, tmp_path: Path, direction: str) -> None:
    out = tmp_path / "m.safetensors"
    result = run("convert", pth, "-o", out, "-d", direction, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json["layout"] == "cyclegan"
    assert result.json["directions"] == [direction]
    assert result.json["file"] == str(out)
    expected = load_model(pth, direction=direction)
    converted = load_model(out)
    assert same(converted.state_dict(), expected.state_dict())
    assert converted.config == expected.config


def test_convert_two_files_with_names(run, pth: Path, tmp_path: Path) -> None:
    back, out = tmp_path / "other.pth", tmp_path / "m.safetensors"
    torch.save(foreign.scramble(foreign.upstream(width=2), 9).state_dict(), back)
    argv = ["convert", pth, back, "-o", out, "--domain-a", "photo", "--domain-b", "Monet – 'x'"]
    result = run(*argv, "--image-size", 512, "--value-range", 0, 1)
    assert result.code == 0
    assert "photo ↔ Monet – 'x'" in result.out
    converted = load_model(out)
    assert same(converted.state_dict(), load_model(pth, path_b_to_a=back).state_dict())
    expected = ModelConfig(
        base_channels=2,
        num_blocks=2,
        domain_a="photo",
        domain_b="Monet – 'x'",
        image_size=512,
        value_range=(0.0, 1.0),
    )
    assert converted.config == expected


@pytest.mark.parametrize("only", ["a_to_b", "b_to_a"])
def test_convert_keeps_one_direction(run, tmp_path: Path, only: str) -> None:
    model = CycleGAN(ModelConfig(base_channels=4, num_blocks=1))
    save_model(model, tmp_path / "two.safetensors")
    argv = ["convert", tmp_path / "two.safetensors", "-o", tmp_path / "one.safetensors"]
    assert run(*argv, "--only", only).code == 0
    one = load_model(tmp_path / "one.safetensors")
    assert one.directions == (only,)
    picture = torch.rand(1, 3, 8, 8)
    assert torch.equal(one.translate(picture, only), model.translate(picture, only))


def test_convert_to_half_precision(run, tmp_path: Path) -> None:
    model = save(tmp_path / "m.safetensors")
    argv = ("convert", tmp_path / "m.safetensors", "-o", tmp_path / "h.safetensors")
    assert run(*argv, "--half", "--json").json["dtype"] == "float16"
    assert inspect_checkpoint(tmp_path / "h.safetensors").dtype == "float16"
    for key, value in load_model(tmp_path / "h.safetensors").state_dict().items():
        assert torch.equal(value, model.state_dict()[key].half().float())


def test_convert_replaces_on_demand_only(run, pth: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    out.write_bytes(b"precious")
    result = run("convert", pth, "-o", out)
    assert (result.code, result.out) == (1, "")
    assert f"{out} exists; add --overwrite to replace it." in result.err
    assert out.read_bytes() == b"precious"
    assert run("convert", pth, "-o", out, "--overwrite").code == 0
    assert load_model(out).directions == ("a_to_b",)


@pytest.mark.parametrize(
    ("argv", "code", "sentence"),
    [
        (("-o", "m.safetensors"), 2, "convert takes one weight file, or two"),
        (("a", "b", "c", "-o", "m.safetensors"), 2, "convert takes one weight file, or two"),
        (("net_G.pth", "-o", "m.pth"), 2, "a model is saved as .safetensors; got the name 'm.pth'"),
        (("net_G.pth", "-o", "no/m.safetensors"), 1, "check that the folder exists"),
        (("net_G.pth", "-o", "m.safetensors", "--image-size", "0"), 2, "image_size must be"),
        (("net_G.pth", "-o", "m.safetensors", "--value-range", "1", "0"), 2, "value_range must be"),
        (("net_G.pth", "no.pth", "-o", "m.safetensors"), 1, "There is no model 'no.pth'"),
        (("x.txt", "-o", "m.safetensors"), 1, "x.txt"),
    ],
)
def test_convert_faults(run, pth, tmp_path, monkeypatch, argv, code: int, sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.txt").write_text("hello")
    before = sorted(tmp_path.iterdir())
    result = run("convert", *argv)
    assert (result.code, result.out, result.err.count("\n")) == (code, "", 1)
    assert sentence in result.err
    result = run("convert", *argv, "--json")
    assert (result.code, result.err) == (code, "")
    assert sentence in result.json["error"]
    assert sorted(tmp_path.iterdir()) == before
