"""Files that are no whole training state: one sentence, and the trainer stays as it was."""

from __future__ import annotations

import json
import math
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from cyclegan_core import CheckpointError, CycleGAN, save_model
from cyclegan_core.training.trainer import Trainer

from ..tiny import MODEL, assert_same, everything, make_config, open_folders, train


@pytest.fixture(scope="module")
def whole(tmp_path_factory, pictures):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    train(make_config(pool_size=2), open_folders(pictures), until=3).save_state(path)
    return path.read_bytes()


@pytest.fixture
def state(tmp_path, whole):
    path = tmp_path / "state.safetensors"
    path.write_bytes(whole)
    return path


def rewrite(path, edit):
    """Change tensors and metadata of a state in place."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    metadata.pop("crc32")  # older files have none, and all else must hold nevertheless
    edit(tensors, metadata)
    save_file(tensors, path, metadata)


def edit_state(**changes):
    def edit(tensors, metadata):
        metadata["state"] = json.dumps(json.loads(metadata["state"]) | changes)

    return edit


WEIGHT = "model.gen_ab.model.1.weight"

BROKEN = {
    "missing tensor": lambda t, m: t.pop("disc_a.model.0.weight"),
    "missing average": lambda t, m: t.pop("ema.gen_ab.model.1.weight"),
    "missing moment": lambda t, m: t.pop("opt_gen.3.exp_avg"),
    "moment of another size": lambda t, m: t.update({"opt_disc.0.exp_avg_sq": torch.zeros(3)}),
    "missing history": lambda t, m: t.pop("history"),
    "history of another length": edit_state(step=4),
    "other weights": lambda t, m: t.update({"model.gen_ab.model.1.weight": torch.zeros(1)}),
    "no state": lambda t, m: m.pop("state"),
    "state is no JSON": lambda t, m: m.update(state="{"),
    "state is a list": lambda t, m: m.update(state="[]"),
    "no config": edit_state(config=None),
    "unknown setting": edit_state(config={"charm": 1}),
    "no rng": edit_state(pool_rngs=[[3, [1, 2], None]]),
    "no step": edit_state(step=None),
    "a step before the first": edit_state(step=-1),
    "an endless step": edit_state(step=math.inf),
    "a step far away": edit_state(step=10**30),
    "a position before the first": edit_state(position=-1),
    "a position far away": edit_state(position=10**30),
    "a scale of nothing": edit_state(loss_scale={"factor": 0.0, "sound_steps": 0}),
    "an endless scale": edit_state(loss_scale={"factor": math.inf, "sound_steps": 0}),
    "nested too deep": lambda t, m: m.update(state="[" * 100_000),
    "whole numbers": lambda t, m: t.update({k: v.int() for k, v in t.items() if k == WEIGHT}),
    "moments in half": lambda t, m: t.update({k: v.half() for k, v in t.items() if "exp" in k}),
    "NaN in a weight": lambda t, m: t[WEIGHT].fill_(math.nan),
    "infinity in a moment": lambda t, m: t["opt_gen.3.exp_avg"].fill_(math.inf),
    "NaN in the pool": lambda t, m: t["pool_a.0.1"].fill_(math.nan),
    "newer": lambda t, m: m.update(format_version="2"),
    "another format": lambda t, m: m.update(format="cyclegan"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_state_that_is_not_whole_is_refused(state, pictures, name):
    rewrite(state, BROKEN[name])
    assert_refused(state, pictures)


def test_a_changed_byte_is_noticed(state, pictures):
    """In the middle of the weights, where no other check could see it."""
    content = bytearray(state.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    state.write_bytes(content)
    trainer = Trainer(make_config(pool_size=2), open_folders(pictures))
    with pytest.raises(CheckpointError, match="does not fit its checksum"):
        trainer.load_state(state)


def test_what_is_not_finite_is_named(state, pictures):
    """At the file, and not as a fault of the pictures at the next step."""
    rewrite(state, BROKEN["NaN in a weight"])
    trainer = Trainer(make_config(pool_size=2), open_folders(pictures))
    with pytest.raises(CheckpointError, match=f"NaN or infinite values in '{WEIGHT}'"):
        trainer.load_state(state)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95", b"PK\x03\x04" + bytes(50)])
def test_a_file_of_another_kind_is_refused(state, pictures, content):
    state.write_bytes(content)
    assert_refused(state, pictures)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.99])
def test_a_cut_file_is_refused(state, pictures, part):
    content = state.read_bytes()
    state.write_bytes(content[: int(part * len(content))])
    assert_refused(state, pictures)


def test_missing_folder_and_model_files_are_refused(state, pictures, tmp_path):
    assert_refused(tmp_path / "nothing.safetensors", pictures)
    assert_refused(tmp_path, pictures)
    save_model(CycleGAN(MODEL), state)
    assert_refused(state, pictures)


def assert_refused(path, pictures):
    trainer = Trainer(make_config(pool_size=2), open_folders(pictures))
    before = everything(trainer)
    with pytest.raises(CheckpointError) as caught:
        trainer.load_state(path)
    message = str(caught.value)
    assert path.name in message
    assert re.fullmatch(r"[^\n]+\.", message)
    assert not re.search(r"\.\s+[A-Z]", message), "more than one sentence"
    assert_same(everything(trainer), before)


def test_the_file_is_plain_safetensors_that_nothing_holds_open(state, pictures):
    """No pickle, and loaded tensors are no views of the file, which Windows could not replace."""
    assert state.read_bytes()[8:9] == b"{"
    trainer = Trainer(make_config(pool_size=2), open_folders(pictures))
    trainer.load_state(state)
    before = everything(trainer)
    state.write_bytes(bytes(state.stat().st_size))
    assert_same(everything(trainer), before)
