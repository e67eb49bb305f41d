"""Exported files, run by the programs they are for, against the library's own translation."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cyclegan_core import CycleGAN, CycleGANError, MissingDirectionError, ModelConfig, export_model

from .checkpoint.foreign import scramble
from .commands import Shell, save
from .processes import ROOT

SMALL = ModelConfig(base_channels=2, num_blocks=1, domain_a="horse", domain_b="zebra")
CUT = replace(SMALL, num_blocks=0, downsample="blur", upsample="bilinear")
SIZES = [(1, 1, 2), (3, 5, 7), (1, 8, 300), (2, 41, 38)]
"""Batch, height, width."""


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


leaves_sizes_open = pytest.mark.skipif(
    torch.__version__ < (2, 8), reason="torch 2.7 can't export for pictures of every size"
)

makes_programs = pytest.mark.skipif(
    torch.__version__ < (2, 10), reason="torch 2.8 can't either, and 2.9 not for small pictures"
)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@leaves_sizes_open
def test_an_onnx_file_translates_by_itself(tmp_path: Path) -> None:
    model = scramble(CycleGAN(replace(SMALL, channels_b=1, norm_affine=True)))
    model.train()  # without batch norm it makes no difference, and the model keeps its mode
    model.training_info = {"steps": 7}
    path = tmp_path / "m.onnx"
    report = export_model(model, path, facts={"license": "mit"})
    assert model.training
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    assert (report.direction, report.half, report.bytes) == ("a_to_b", False, path.stat().st_size)
    assert len(report.checked) == 4
    assert 0 < report.largest_error < 1e-4

    # What it says about itself, and nothing about the computer where it was made.
    content = onnx.load(path)
    onnx.checker.check_model(content, full_check=True)
    notes = {note.key: note.value for note in content.metadata_props}
    wanted = {"direction": "a_to_b", "source_domain": "horse", "target_domain": "zebra"}
    assert notes.items() >= wanted.items()
    assert (notes["license"], notes["format"]) == ("mit", "cyclegan export")
    assert ModelConfig.from_dict(json.loads(notes["config"])) == model.config
    assert json.loads(notes["training"]) == {"steps": 7}
    assert str(ROOT).encode() not in path.read_bytes()
    assert b"site-packages" not in path.read_bytes()

    session = onnxruntime.InferenceSession(path)
    assert session.get_inputs()[0].shape == ["batch", 3, "height", "width"]
    assert session.get_outputs()[0].shape == ["batch", 1, "height", "width"]
    for batch, height, width in SIZES:
        images = noise(batch, 3, height, width)
        (found,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(found, model.translate(images).numpy(), rtol=0, atol=2e-5)
    # A flat picture has no statistics, only their rounding: any valid picture is right.
    (found,) = session.run(None, {"images": noise(1, 3, 1, 1).numpy()})
    assert found.shape == (1, 1, 1, 1)
    assert 0 <= found.item() <= 1


@leaves_sizes_open
def test_half_precision_keeps_statistics_in_float32(run, tmp_path: Path) -> None:
    model = save(tmp_path / "m.safetensors", CUT)
    out = tmp_path / "m.onnx"
    result = run("export", tmp_path / "m.safetensors", "-o", out, "-d", "b_to_a", "--half")
    assert (result.code, result.err) == (0, "exporting, which takes about half a minute\n")
    assert "zebra → horse" in result.out
    graph = onnx.load(out).graph
    kinds = {i.name: i.data_type for i in graph.initializer if i.name.endswith("weight")}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT16}
    made_by = {name: node for node in graph.node for name in node.output}
    norms = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    assert len(norms) == 5
    for norm in norms:
        before = made_by[norm.input[0]]
        while before.op_type == "Reshape":
            before = made_by[before.input[0]]
        assert before.op_type == "Cast"
        assert before.attribute[0].i == onnx.TensorProto.FLOAT
    images = noise(2, 3, 41, 38)
    (found,) = onnxruntime.InferenceSession(out).run(None, {"images": images.numpy()})
    expected = model.translate(images, "b_to_a").numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.02)
    assert np.abs(found - expected).max() > 1e-6


@makes_programs
def test_a_program_of_torch_export_translates_by_itself(run, tmp_path: Path) -> None:
    config = ModelConfig(generator="unet", num_downs=5, base_channels=2, norm="batch")
    model = save(tmp_path / "m.safetensors", config, directions=["b_to_a"])
    out = tmp_path / "m.pt2"
    result = run("export", tmp_path / "m.safetensors", "-o", out, "--license", "mit", "--json")
    assert result.code == 0
    report = result.json
    assert (report["path"], report["format"]) == (str(out), "pt2")
    assert (report["direction"], report["half"]) == ("b_to_a", False)
    assert report["largest_error"] == max(size["largest_error"] for size in report["checked"])
    notes = {"cyclegan.json": ""}
    program = torch.export.load(out, extra_files=notes)
    assert json.loads(notes["cyclegan.json"])["license"] == "mit"
    for batch, height, width in [*SIZES, (1, 1, 1)]:
        images = noise(batch, 3, height, width)
        found = program.module()(images)
        torch.testing.assert_close(found, model.translate(images, "b_to_a"), rtol=0, atol=1e-5)


def test_what_can_not_be_exported_leaves_no_file(monkeypatch, tmp_path: Path) -> None:
    model = CycleGAN(SMALL, directions=["a_to_b"]).eval()
    with pytest.raises(ValueError, match=r"exported as \.onnx or \.pt2; got the name 'm\.pth'"):
        export_model(model, tmp_path / "m.pth")
    with pytest.raises(MissingDirectionError, match="only translates A→B"):
        export_model(model, tmp_path / "m.pt2", "b_to_a")
    with pytest.raises(
        CycleGANError, match=r"can't be written to .*; check that the folder exists"
    ):
        export_model(model, tmp_path / "no" / "m.pt2")
    batch = CycleGAN(replace(SMALL, norm="batch")).train()
    with pytest.raises(CycleGANError, match=r"statistics from each batch; call model\.eval\(\)"):
        export_model(batch, tmp_path / "m.pt2")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(CycleGANError, match="needs onnxscript; install with: pip install") as e:
        export_model(model, tmp_path / "m.onnx")
    assert '"cyclegan[onnx]"' in str(e.value)
    assert list(tmp_path.iterdir()) == []


@leaves_sizes_open
def test_a_file_that_computes_something_else_does_not_appear(tmp_path: Path) -> None:
    config = replace(SMALL, norm="none", num_blocks=0)
    model = scramble(CycleGAN(config, directions=["a_to_b"]))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2000)  # beyond what float16 can hold
    (tmp_path / "m.pt2").write_text("earlier")
    with pytest.raises(CycleGANError, match=r"differ from PyTorch .* without half precision"):
        export_model(model, tmp_path / "m.pt2", half=True)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["earlier"]


def test_what_this_torch_can_not_export_is_a_sentence(tmp_path: Path, monkeypatch) -> None:
    """As PyTorch 2.7 can't export a U-Net."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Constraints violated (height, width)! For more\nand so on")

    monkeypatch.setattr(torch.export, "export", fail)
    expected = r"can't export this model .* \(Constraints violated .*\); install a newer PyTorch"
    with pytest.raises(CycleGANError, match=expected):
        export_model(CycleGAN(SMALL), tmp_path / "m.pt2", "a_to_b")
    assert list(tmp_path.iterdir()) == []


def test_the_command_asks_before_it_replaces(run, tmp_path: Path) -> None:
    save(tmp_path / "m.safetensors")
    (tmp_path / "m.onnx").touch()
    result = run("export", tmp_path / "m.safetensors", "-o", tmp_path / "m.onnx")
    assert (result.code, result.out) == (1, "")
    assert "exists; add --overwrite" in result.err
    result = run("export", tmp_path / "m.safetensors", "-o", tmp_path / "m.pth", "--json")
    assert (result.code, result.err) == (2, "")
    assert "got the name 'm.pth'" in result.json["error"]
