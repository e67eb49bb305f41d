"""Kinds of files: what is refused and with which words, and that nothing is run."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from cyclegan_core import CheckpointError, inspect_checkpoint, load_model
from cyclegan_core.checkpoint.weight_file import read_weights

from ..weights import torch_bytes, zip_bytes
from . import foreign

STATE = foreign.upstream(blocks=1, width=2).state_dict()


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
        load_model(tmp_path / "a\0b")


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
