"""Pickles that torch's safe reader takes, and that would fill the memory, or never end."""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import random
import resource
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclegan_core import CheckpointError, inspect_checkpoint, load_model
from cyclegan_core.checkpoint.weight_file import read_weights

from ..weights import make_model, torch_bytes, zip_bytes

STATE = {f"netG.{key}": value for key, value in make_model().gen_ab.state_dict().items()}


class Calls:
    """Pickled as a call of `function`."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def doubled_tuples(times: int) -> bytes:
    """((a, a), (a, a)) and so on, each made once: 2 to the power of `times` values to visit."""
    steps = b"K\x01" + b"".join(b"q%c" % n + b"h%c" % n + b"\x86" for n in range(times))
    return b"\x80\x02}" + steps + b"K\x01s."


def hex_of_hex(times: int) -> bytes:
    steps = b"c_codecs\nencode\n" * times + b"X\x04\x00\x00\x00abcd"
    return b"\x80\x02" + steps + (text("hex") + b"\x86R") * times + b"."


def deep_tuples(depth: int) -> bytes:
    return b"\x80\x02}K\x01" + b"\x85" * depth + b"K\x01s."


def copies(function: bytes, length: int, times: int) -> bytes:
    """`function` of one long list, again and again."""
    many = b"](" + b"K\x01" * length + b"eq\x00"
    return b"\x80\x02" + many + (b"c" + function + b"h\x00\x85R") * times + b"."


HOSTILE = {
    "a bytearray": pickle.dumps({"x": Calls(bytearray, 10**10)}, 2),
    "objects": pickle.dumps({"x": Calls(np.ndarray, (10**9,), "O")}, 2),
    "an array": pickle.dumps({"x": Calls(np.empty(0).__reduce__()[0], np.ndarray, (10**10,))}, 2),
    "a tensor": pickle.dumps({"x": Calls(torch.Tensor, 10**10)}, 2),
    "a storage": pickle.dumps({"x": Calls(torch.UntypedStorage, 10**11)}, 2),
    "hex of hex": hex_of_hex(40),
    "punycode": pickle.dumps({"x": Calls(__import__("_codecs").encode, "é" * 9, "punycode")}, 2),
    "doubled tuples": doubled_tuples(60),
    "deep tuples": deep_tuples(500_000),
    "copied sets": copies(b"builtins\nset\n", 100_000, 20_000),
    "copied sizes": copies(b"torch\nSize\n", 100_000, 20_000),
    "a call of a list": b"\x80\x02](K\x01e)R.",
}
ALLOWED = ("objects", "an array")
"""Numpy's are not made at all."""


def legacy(content: bytes) -> bytes:
    """As torch.save wrote until 1.6: a number, a version, the system, the content, the storages."""
    whole = torch_bytes({}, is_zip=False)
    head = whole[: whole.rindex(b"\x80\x02}q")]
    return head + content + b"\x80\x02]."


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_be_too_much(name: str, is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    path = tmp_path / "x.pth"
    content = HOSTILE[name]
    members = {"x/data.pkl": content, "x/version": b"3\n", "x/byteorder": b"little"}
    path.write_bytes(zip_bytes(members) if is_zip else legacy(content))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError) as caught:
            call(path)
        message = str(caught.value)
        assert ("much more than it holds" in message) == (name not in ALLOWED), message
        assert len(message) < 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KB


def test_many_tensors_of_one_storage(tmp_path: Path) -> None:
    """A small file whose tensors are all the same one, and would be copied."""
    one = torch.zeros(2**20)
    torch.save({f"{number}.weight": one for number in range(200)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"\(tensors larger than the file\)"):
        load_model(tmp_path / "x.pth")


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_trainings_store_beside_the_weights(is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    content = {
        "netG": make_model().gen_ab.state_dict(),
        "options": argparse.Namespace(lr=2e-4, names=["a", "b"]),
        "best": np.float64(0.25),
        "curve": np.arange(1000.0),
        "rng": random.Random(1).getstate(),
        "milestones": collections.Counter([30, 80]),
        "seen": {1, 2, 3},
        "bytes": b"\xff\x00" * 40,
        "shape": torch.Size((3, 4)),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "sparse": torch.eye(3).to_sparse(),
        "long": 2**70,
    }
    path = tmp_path / "x.pth"
    path.write_bytes(torch_bytes(content, is_zip=is_zip))
    assert load_model(path).directions == ("a_to_b",)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    """In the middle of the weights, where no other check could see it."""
    content = bytearray(torch_bytes(STATE))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
    content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="does not fit its checksum"):
        load_model(tmp_path / "x.pth")


def test_a_file_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "x.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_weights(tmp_path / "x.pth").tensors.keys() == STATE.keys()


def test_two_members_of_one_name(tmp_path: Path) -> None:
    """Of which one reader would take the first, and another the last."""
    content = torch_bytes(STATE)
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(name, b"\x80\x02}.")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_model(path)


def test_two_pickles_in_one_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(torch_bytes(STATE))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("another/data.pkl", b"\x80\x02}.")
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match="is damaged"):
            call(path)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("wrap", [lambda tensor: tensor, torch.nn.Parameter])
def test_a_tensor_without_numbers(wrap, is_zip: bool, tmp_path: Path) -> None:  # noqa: FBT001
    key = next(iter(STATE))
    hollow = {**STATE, key: wrap(STATE[key].to("meta"))}
    path = tmp_path / "net.pth"
    path.write_bytes(torch_bytes(hollow, is_zip=is_zip))
    for call in (load_model, inspect_checkpoint):
        with pytest.raises(CheckpointError, match=r"^net.pth holds the shape of a tensor without"):
            call(path)
