"""Any file content: it loads, or a CheckpointError says why not; nothing else escapes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cyclegan_core import (
    CheckpointError,
    CycleGAN,
    ModelConfig,
    inspect_checkpoint,
    load_model,
    save_model,
)

from ..weights import torch_bytes

SETTINGS = settings(deadline=None, max_examples=150)


def valid_files(folder: Path) -> list[bytes]:
    model = CycleGAN(ModelConfig(base_channels=1, num_blocks=1), directions=("a_to_b",))
    save_model(model, folder / "m.safetensors")
    state = {f"netG.{key}": value for key, value in model.gen_ab.state_dict().items()}
    state["epoch"] = 3
    return [
        (folder / "m.safetensors").read_bytes(),
        torch_bytes(state),
        torch_bytes(state, is_zip=False),
    ]


def survives(path: Path, content: bytes) -> None:
    """Loads, or says in one sentence why not; nothing else may happen."""
    path.write_bytes(content)
    refusal = ""
    for call in (load_model, inspect_checkpoint):
        try:
            call(path)
        except CheckpointError as error:
            refusal = str(error)
        assert "\n" not in refusal
        assert len(refusal) < 500


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def originals(scratch: Path) -> list[bytes]:
    return valid_files(scratch)


@SETTINGS
@given(st.binary(max_size=600))
@example(b"\x08\x01\x12\x05")
@example(b"\x80\x02")
@example(b"PK\x03\x04")
@example(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.")
@example(struct.pack("<Q", 2) + b"{}")
@example(struct.pack("<Q", 60000) + b"{" * 60000)
def test_random_bytes(scratch: Path, content: bytes) -> None:
    survives(scratch / "random.pth", content)


@SETTINGS
@given(st.integers(0, 2), st.data())
def test_truncations(
    scratch: Path, originals: list[bytes], which: int, data: st.DataObject
) -> None:
    content = originals[which]
    survives(scratch / "cut.pth", content[: data.draw(st.integers(0, len(content) - 1))])


@SETTINGS
@given(st.integers(0, 2), st.data())
def test_flipped_bytes(
    scratch: Path, originals: list[bytes], which: int, data: st.DataObject
) -> None:
    content = bytearray(originals[which])
    # Headers and pickles are where flips hurt; they lie at the start, or at a zip's end.
    ends = st.one_of(
        st.integers(0, min(6000, len(content) - 1)),
        st.integers(max(0, len(content) - 4000), len(content) - 1),
    )
    for place in data.draw(st.lists(ends, min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    survives(scratch / "flipped.pth", bytes(content))
