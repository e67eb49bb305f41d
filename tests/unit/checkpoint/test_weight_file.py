"""Kinds of files: what is read, by its content and not by its name."""

from __future__ import annotations

import argparse
import io
import json
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cyclegan_core import CheckpointError, inspect_checkpoint, load_model, save_model
from cyclegan_core.checkpoint.weight_file import read_weights

from ..weights import make_model, same, torch_bytes, zip_bytes
from . import foreign

STATE = foreign.upstream(blocks=1, width=2).state_dict()


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors", "net.jpg", "net"])
def test_torch_files_by_content(name: str, is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / name
    path.write_bytes(torch_bytes(STATE, is_zip=is_zip))
    weights = read_weights(path)
    assert weights.tensors.keys() == STATE.keys()
    for key, tensor in STATE.items():
        assert torch.equal(weights.tensors[key], tensor)
    headers = read_weights(path, headers_only=True)
    assert {k: t.shape for k, t in headers.tensors.items()} == {
        k: t.shape for k, t in STATE.items()
    }
    # Only the zip kind can be mapped, so that its headers alone are read.
    assert all(tensor.is_meta == is_zip for tensor in headers.tensors.values())


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
def test_safetensors_by_content(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(STATE, path, {"format": "pt"})
    weights = read_weights(path)
    assert weights.metadata == {"format": "pt"}
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


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_a_changed_byte_of_ours_is_noticed(dtype: torch.dtype | None, tmp_path: Path) -> None:
    """In the middle of the weights, where no other check could see it."""
    path = tmp_path / "m.safetensors"
    save_model(make_model(), path, dtype=dtype)
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    load_model(path)
    for place in (header, (header + len(content)) // 2, len(content) - 1):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match="does not fit its checksum"):
            load_model(path)
    path.write_bytes(content.replace(b'"crc32"', b'"crc33"'))  # older files have none
    assert same(load_model(path), load_model(path))


def test_a_changed_digit_in_the_header_is_noticed(tmp_path: Path) -> None:
    """One that fits the tensors as well as the right one does."""
    path = tmp_path / "m.safetensors"
    save_model(make_model(), path)
    content = path.read_bytes()
    old = b"[-1.0, 1.0]"
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, b"[-9.0, 1.0]"))
    for read in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"header of m.safetensors is damaged"):
            read(path)
    # Older files have no checksum of it.
    path.write_bytes(content.replace(b'"crc32_header"', b'"crc33_header"'))
    assert same(load_model(path), load_model(path))
