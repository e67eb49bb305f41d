"""Kinds of files: what is read, what is refused and with which words, and that nothing is run."""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cyclegan_core import (
    CheckpointError,
    inspect_checkpoint,
    load_model,
)
from cyclegan_core.containers import read_weights

from . import foreign
from .weights import torch_bytes

STATE = foreign.upstream(blocks=1, width=2).state_dict()


def zip_bytes(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_bytes(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def picture_bytes(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, kind)
    return buffer.getvalue()


def numpy_bytes(*, is_archive: bool) -> bytes:
    buffer = io.BytesIO()
    if is_archive:
        np.savez(buffer, a=np.zeros(3))
    else:
        np.save(buffer, np.zeros(3))
    return buffer.getvalue()


class Payload:
    """Creates a file when it is unpickled by a loader that runs code."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (os.mkdir, (str(self.target),))


# --- what is read ------------------------------------------------------------------------------


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.jpg", "net"])
def test_torch_files_by_content(name: str, is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / name
    path.write_bytes(torch_bytes(STATE, is_zip=is_zip))
    weights = read_weights(path)
    assert weights.container == ("torch zip" if is_zip else "torch legacy")
    assert weights.tensors.keys() == STATE.keys()
    for key, tensor in STATE.items():
        assert torch.equal(weights.tensors[key], tensor)
    headers = read_weights(path, headers_only=True)
    assert {k: t.shape for k, t in headers.tensors.items()} == {
        k: t.shape for k, t in STATE.items()
    }
    if is_zip:
        assert all(tensor.is_meta for tensor in headers.tensors.values())


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
def test_safetensors_by_content(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(STATE, path, {"format": "pt"})
    weights = read_weights(path)
    assert (weights.container, weights.metadata) == ("safetensors", {"format": "pt"})
    assert all(torch.equal(weights.tensors[key], tensor) for key, tensor in STATE.items())
    assert load_model(path).directions == ("a_to_b",)


def test_safetensors_data_is_not_read_for_a_description(tmp_path: Path) -> None:
    """The data part is a hole of 64 GiB, which nobody could read in a test."""
    path, channels = tmp_path / "big.safetensors", 1 << 17
    length = 4 * channels * channels
    header = {"w": {"dtype": "F32", "shape": [channels, channels], "data_offsets": [0, length]}}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + length)
    weights = read_weights(path, headers_only=True)
    assert weights.tensors["w"].shape == (channels, channels)
    assert weights.tensors["w"].is_meta


def test_nested_content_is_flattened_and_the_rest_is_left_out(tmp_path: Path) -> None:
    loop: dict[str, object] = {"w": torch.ones(1)}
    loop["self"] = loop
    content = {
        "epoch": 3,
        "best": np.float64(0.5),
        "random": (np.arange(3, dtype=np.uint32), np.bool_(True), torch.float16),
        "options": argparse.Namespace(lr=0.1, names=["a"]),
        "nets": [OrderedDict(a=torch.ones(2)), {"b": nn.Parameter(torch.ones(3))}],
        7: (torch.zeros(4, dtype=torch.long), None, "text", {1, 2}),
        "sparse": torch.eye(3).to_sparse(),
        "repeated": torch.ones(1).expand(10**9),
        "loop": loop,
    }
    path = tmp_path / "x.pth"
    torch.save(content, path)
    shapes = {key: tuple(t.shape) for key, t in read_weights(path).tensors.items()}
    assert shapes == {"nets.0.a": (2,), "nets.1.b": (3,), "7.0": (4,), "loop.w": (1,)}


@pytest.mark.parametrize("is_zip", [True, False])
def test_cuda_tensors_load_on_the_cpu(is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    content = torch_bytes({"w": torch.ones(3)}, is_zip=is_zip)
    assert content.count(b"X\x03\x00\x00\x00cpu") == 1
    tagged = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    path = tmp_path / "x.pth"
    if is_zip:  # the archive must be written anew, because the pickle grew
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members = {
            name: part.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            for name, part in members.items()
            if not name.endswith((".format_version", ".storage_alignment"))
        }
        tagged = zip_bytes(members)
    path.write_bytes(tagged)
    tensor = read_weights(path).tensors["w"]
    assert tensor.device.type == "cpu"
    assert torch.equal(tensor, torch.ones(3))


# --- what is refused ---------------------------------------------------------------------------

ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.0.0:\xff\x01\x0a" + b"\x00" * 64
SAFETENSORS = struct.pack("<Q", 4000) + b'{"a":{"dtype":"F32"'

REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; download"),
    "text": (b"hello, these are no weights\n", "is a text file"),
    "text with umlauts": ("Größe, 日本語\n".encode() * 900, "is a text file"),
    "json": (b'{"num_blocks": 9}', "is a text file"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS pointer"),
    "html": (b"\n<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
    "html without doctype": (b"<HTML><head>", "is a web page"),
    "random": (bytes(range(128, 256)) * 9, "is no weight file of a known kind"),
    "onnx": (ONNX, "is an ONNX model"),
    "core ml": (b"\x08\x04\x12\x9e\x01\x0a\x10\x0a\x05input" + b"\0" * 50, "is a Core ML model"),
    "h5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 99, "is a Keras or other HDF5 file"),
    "tflite": (b"\x1c\0\0\0TFL3" + b"\0" * 99, "is a TensorFlow Lite model"),
    "gguf": (b"GGUF\x03\0\0\0", "is a GGUF file"),
    "t7": (b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\x0d\0\0\0nn.Sequential", r"Lua Torch \(.t7\)"),
    "t7 table": (b"\x03\0\0\0\x01\0\0\0\x02\0\0\0", r"Lua Torch \(.t7\)"),
    "t7 ascii": (b"4\n1\n3\nV 1\n13\nnn.Sequential\n", r"Lua Torch \(.t7\)"),
    "npy": (numpy_bytes(is_archive=False), "is a NumPy array"),
    "npz": (numpy_bytes(is_archive=True), "is a NumPy archive"),
    "jpeg": (picture_bytes("JPEG"), "is a JPEG picture"),
    "png": (picture_bytes("PNG"), "is a PNG picture"),
    "gif": (picture_bytes("GIF"), "is a GIF picture"),
    "webp": (picture_bytes("WEBP"), "is a WebP picture"),
    "gzip": (gzip.compress(b"weights"), "is a gzip archive; unpack it"),
    "tar": (tar_bytes(["net.pth"]), "is a tar archive; unpack it"),
    "torch tar": (tar_bytes(["storages", "tensors", "pickle"]), "PyTorch from before 2017"),
    "zip": (zip_bytes({"net.pth": b"x"}), "is a zip archive; unpack it"),
    "empty zip": (zip_bytes({}), "is an empty zip archive"),
    "keras": (zip_bytes({"config.json": b"{}", "model.weights.h5": b""}), "is a Keras model"),
    "ml package": (zip_bytes({"a/Data/com.apple.CoreML/model.mlmodel": b""}), "Core ML model"),
    "export": (zip_bytes({"m/archive_format": b"pt2", "m/models/m.json": b""}), "exported program"),
    "squeezed": (
        zip_bytes({"a/data.pkl": b"x" * 99, "a/data/0": b"0" * 99}, zipfile.ZIP_DEFLATED),
        "was zipped again with compression",
    ),
    "pickle": (pickle.dumps({"w": [1.0]}, protocol=4), "Python pickle that torch.save did not"),
    "truncated zip": (torch_bytes(STATE)[:-300], "is damaged or was cut off"),
    "half a zip": (torch_bytes(STATE)[:5000], r"cut off \(5,000 bytes are there\)"),
    "truncated legacy": (torch_bytes(STATE, is_zip=False)[:-300], "is damaged or was cut off"),
    "legacy pickle cut": (torch_bytes(STATE, is_zip=False)[:230], "is damaged or was cut off"),
    "safetensors header cut": (SAFETENSORS, "is damaged or was cut off"),
    "safetensors header bad": (SAFETENSORS + b" " * 4000, "is damaged or was cut off"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_refusals(kind: str, name: str, tmp_path: Path) -> None:
    content, expected = REFUSED[kind]
    path = tmp_path / name
    path.write_bytes(content)
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=expected) as caught:
            call(path)
        text = str(caught.value)
        assert text.startswith(f"{name} ")
        assert text.endswith(".")
        assert ";" in text, "says what to do"
        assert "\n" not in text


def test_truncated_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-1])
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match="is damaged or was cut off"):
            call(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"nothing.pth does not exist; check the name"):
            call(tmp_path / "nothing.pth")
        with pytest.raises(CheckpointError, match="holds no weight file"):
            call(tmp_path)
    with pytest.raises(CheckpointError, match="is a folder; give a weight file inside it"):
        read_weights(tmp_path)
    with pytest.raises(CheckpointError, match=r"can't be read \(File name too long\); check"):
        load_model(tmp_path / ("n" * 300))
    with pytest.raises(CheckpointError, match="can't be read"):
        load_model("a\0b")


def test_torchscript(tmp_path: Path) -> None:
    # What torch.jit.save writes: its pickles and its source, told by their names.
    members = {"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/__torch__.py": b""}
    path = tmp_path / "m.pt"
    path.write_bytes(zip_bytes(members))
    with pytest.raises(CheckpointError, match=r"m.pt is a TorchScript program; load it with"):
        load_model(path)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("where", ["alone", "beside weights"])
def test_no_code_runs(is_zip: bool, where: str, tmp_path: Path) -> None:  # noqa: FBT001
    proof, path = tmp_path / "proof", tmp_path / "evil.pth"
    content = Payload(proof) if where == "alone" else {**STATE, "x": Payload(proof)}
    path.write_bytes(torch_bytes(content, is_zip=is_zip))
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"mkdir\) that could run code, so it was not"):
            call(path)
    assert not proof.exists()
    torch.load(path, weights_only=False)
    assert proof.exists(), "the payload works where it is let"


def test_no_code_runs_from_a_plain_pickle(tmp_path: Path) -> None:
    proof, path = tmp_path / "proof", tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Payload(proof)))
    with pytest.raises(CheckpointError, match="is a Python pickle"):
        load_model(path)
    assert not proof.exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_other_pickle_protocols(is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / "x.pth"
    for protocol in (2, 3, 4, 5):
        torch.save(STATE, path, pickle_protocol=protocol, _use_new_zipfile_serialization=is_zip)
        if protocol < 4:
            assert read_weights(path).tensors.keys() == STATE.keys()
            continue
        with pytest.raises(
            CheckpointError, match=f"x.pth was saved with pickle protocol {protocol}"
        ):
            load_model(path)


@pytest.mark.parametrize("is_zip", [True, False])
def test_whole_modules_are_refused(is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / "whole.pth"
    path.write_bytes(torch_bytes({"net": nn.Conv2d(1, 1, 1)}, is_zip=is_zip))
    with pytest.raises(CheckpointError, match=r"Conv2d\) .* save only `model.state_dict\(\)`"):
        load_model(path)
