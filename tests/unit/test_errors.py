"""Texts from files and servers: whatever they hold, they are shown on one line and do nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cyclegan_core import (
    CheckpointError,
    CycleGANError,
    ModelConfig,
    inspect_checkpoint,
    load_model,
)
from cyclegan_core.errors import plain

from .commands import Shell, save

EVIL = "\x1b]0;owned\x07\x1b[2Jok\nsecond line\u202e\udcff"


def test_a_message_is_one_line_of_bounded_length() -> None:
    message = str(CycleGANError(f"{EVIL} {'x' * 200_000} the end."))
    assert message.isprintable()
    assert message.startswith("\\x1b]0;owned\\x07\\x1b[2Jok\\nsecond line")
    assert message.endswith(" the end.")
    assert len(message) < 2100
    assert plain("Übung → 絵") == "Übung → 絵"


@pytest.mark.parametrize("name", [EVIL, "x" * 201])
def test_domains_are_names_on_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="domain_a must be a name on one line") as caught:
        ModelConfig(domain_a=name)
    assert str(caught.value).isprintable()


def test_keys_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({f"gen_ab.{EVIL[:-1]}{'y' * 100_000}": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2100


def test_what_the_commands_show(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notes of a training and the licence, which are anybody's."""
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    path = tmp_path / "x.safetensors"
    save(path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] |= {
        "training": json.dumps({"note": EVIL, "step": 3}),
        "source": json.dumps({"repo": EVIL, "license": EVIL, "commit": EVIL, "revision": None}),
    }
    del header["__metadata__"]["crc32_header"]  # as whoever writes such a file would
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    shell = Shell(capsys)
    for words in (["info", path], ["list"]):
        answer = shell(*words)
        assert answer.code == 0, answer.err
        shown = (answer.out + answer.err).replace("\n", "")
        assert shown.isprintable(), ascii(shown)


@pytest.mark.parametrize("call", [load_model, inspect_checkpoint])
def test_no_name_is_no_folder(call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="is empty"):
        call("")
