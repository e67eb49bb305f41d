"""Pulling models over real HTTP: the layouts people publish, what is asked for, and when."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from cyclegan_core import load_model, save_model

from ..weights import NAMED, difference, same, torch_bytes
from .clients import User
from .expect import pulled, refused
from .samples import (
    OURS,
    header,
    holds_nothing,
    network,
    one_half,
    only_model,
    our_files,
    upit_file,
)
from .server import Hub

# --- layouts -------------------------------------------------------------------------------------


def test_our_own_layout(hub: Hub, stranger: User, tmp_path: Path) -> None:
    files = our_files(tmp_path / "files")
    repository = hub.add("you/model", files, card={"license": "cc0-1.0"})
    model = pulled(stranger, "you/model")
    assert same(model, OURS)
    assert model.config == NAMED
    source = header(only_model(stranger.models))["source"]
    digest = hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert source["repo"] == "you/model"
    assert source["commit"] == repository.head
    assert source["license"] == "cc0-1.0"
    assert source["files"]["model.safetensors"] == digest
    assert only_model(stranger.models).name == "you--model.safetensors"


def test_no_config_but_the_keys_say_it(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"pytorch_model.bin": one_half(), "README.md": b"# Hello"})
    model = pulled(stranger, "you/model")
    assert model.directions == ("a_to_b",)
    assert difference(model, "a_to_b", network()) == 0
    assert header(only_model(stranger.models))["source"]["license"] is None


@pytest.mark.parametrize(
    "config", [b'{"model_type": "gan", "hidden_size": 3}', b'{"image_size": 256, "ngf": 64}']
)
def test_a_config_of_somebody_else(hub: Hub, stranger: User, config: bytes) -> None:
    hub.add("you/model", {"pytorch_model.bin": one_half(), "config.json": config})
    assert difference(pulled(stranger, "you/model"), "a_to_b", network()) == 0


def test_both_generators_in_one_file(hub: Hub, stranger: User) -> None:
    content, to_b, to_a = upit_file()
    hub.add("you/horse2zebra", {"pytorch_model.bin": content})
    model = pulled(stranger, "you/horse2zebra")
    assert difference(model, "a_to_b", to_b) == 0
    assert difference(model, "b_to_a", to_a) == 0


@pytest.mark.parametrize(
    ("there", "back"),
    [
        ("gen_AB.pth", "gen_BA.pth"),
        ("netG_A2B.pth", "netG_B2A.pth"),
        ("latest_net_G_A.pth", "latest_net_G_B.pth"),
    ],
)
def test_a_pair_becomes_one_model(hub: Hub, stranger: User, there: str, back: str) -> None:
    judge = torch_bytes({"x": torch.zeros(1)})
    files = {there: one_half(1), back: one_half(2), "disc_A.pth": judge, "disc_B.pth": judge}
    hub.add("you/model", files)
    model = pulled(stranger, "you/model")
    assert difference(model, "a_to_b", network(1)) == 0
    assert difference(model, "b_to_a", network(2)) == 0
    source = header(only_model(stranger.models))["source"]
    assert sorted(source["files"]) == sorted([there, back])
    assert not hub.seen("disc_"), "nothing is fetched that is of no use"


def test_several_files_to_choose_from(hub: Hub, stranger: User) -> None:
    files = {f"{name}.pth": one_half(seed) for seed, name in enumerate(["van", "monet", "sub/z"])}
    hub.add("you/styles", files)
    message = refused(stranger, "you/styles")
    assert "van.pth" in message
    assert "monet.pth" in message
    assert "--file" in message
    assert not hub.seen("resolve"), "nothing was fetched yet"
    model = pulled(stranger, "you/styles", filename="monet.pth")
    assert difference(model, "a_to_b", network(1)) == 0
    model = pulled(stranger, "you/styles", filename="sub/z.pth")
    assert difference(model, "a_to_b", network(2)) == 0
    assert len(list(stranger.models.iterdir())) == 2, "each file is a model of its own"


def test_a_name_does_not_speak_to_the_terminal(hub: Hub, stranger: User) -> None:
    hub.add("you/styles", {"a\x1b[2J.pth": one_half(), "b.pth": one_half()})
    assert "(a\\x1b[2J.pth, b.pth)" in refused(stranger, "you/styles")


def test_a_file_that_does_not_exist(hub: Hub, stranger: User) -> None:
    hub.add("you/styles", {"monet.pth": one_half()})
    assert "monet.pth" in refused(stranger, "you/styles", filename="manet.pth")


def test_no_weights_at_all(hub: Hub, stranger: User) -> None:
    hub.add("you/notes", {"README.md": b"# Soon", "model.onnx": b"x"})
    assert "no weight file" in refused(stranger, "you/notes")


# --- what is asked for, and when -----------------------------------------------------------------


def test_a_pinned_commit_is_asked_for_once(hub: Hub, stranger: User, tmp_path: Path) -> None:
    repository = hub.add("you/model", our_files(tmp_path / "files"))
    pulled(stranger, "you/model", repository.head)
    hub.requests.clear()
    again = stranger.pull("you/model", repository.head).json
    assert hub.seen() == []
    assert again["commit"] == repository.head
    assert again["from_cache"]


def test_a_branch_costs_one_small_request(hub: Hub, stranger: User, tmp_path: Path) -> None:
    repository = hub.add("you/model", our_files(tmp_path / "files"))
    pulled(stranger, "you/model")
    hub.requests.clear()
    again = stranger.pull("you/model").json
    assert hub.seen() == ["GET /api/models/you/model"]
    assert again["commit"] == repository.head
    assert again["from_cache"]
    assert again["note"] == ""


def test_a_new_commit_is_fetched(hub: Hub, stranger: User) -> None:
    repository = hub.add("you/model", {"G.pth": one_half(1)})
    old = repository.head
    assert difference(pulled(stranger, "you/model"), "a_to_b", network(1)) == 0
    repository.commit({"G.pth": one_half(2)})
    assert difference(pulled(stranger, "you/model"), "a_to_b", network(2)) == 0
    assert header(only_model(stranger.models))["source"]["commit"] == repository.head
    assert difference(pulled(stranger, f"you/model@{old}"), "a_to_b", network(1)) == 0


def test_branches(hub: Hub, stranger: User) -> None:
    repository = hub.add("you/model", {"G.pth": one_half(1)})
    repository.branches["v/2"] = repository.head
    repository.commit({"G.pth": one_half(2)}, branch="v/2")
    assert difference(pulled(stranger, "you/model@v/2"), "a_to_b", network(2)) == 0
    assert difference(pulled(stranger, "you/model"), "a_to_b", network(1)) == 0
    hub.requests.clear()
    assert stranger.pull("you/model", "v/2").json["from_cache"]
    assert hub.seen() == ["GET /api/models/you/model/revision/v/2"]


def test_an_unchanged_file_is_not_sent_again(hub: Hub, stranger: User) -> None:
    repository = hub.add("you/model", {"G.pth": one_half(1), "README.md": b"old"})
    pulled(stranger, "you/model")
    repository.commit({"README.md": b"new"})
    hub.requests.clear()
    assert stranger.pull("you/model").json["commit"] == repository.head
    assert hub.cdn_bytes() == 0


def test_a_deleted_or_damaged_model_is_made_from_the_cache(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": one_half(1)})
    pulled(stranger, "you/model")
    hub.requests.clear()
    for damage in (Path.unlink, lambda path: path.write_bytes(b"rubbish")):
        damage(only_model(stranger.models))
        assert difference(pulled(stranger, "you/model"), "a_to_b", network(1)) == 0
    assert hub.cdn_bytes() == 0


def test_somebody_elses_file_is_left_alone(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": one_half(1)})
    stranger.models.mkdir(parents=True)
    own = stranger.models / "you--model.safetensors"
    save_model(OURS, own)
    before = own.read_bytes()
    answer = stranger.pull("you/model")
    assert answer.code == 1
    assert "was not pulled from you/model" in answer.json["message"]
    assert own.read_bytes() == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"revision": "v/1"}, {"revision": "v_1"}),
        ({"filename": "G.pth"}, {"filename": "G.bin"}),
        ({"revision": "G"}, {"filename": "G.pth"}),
    ],
)
def test_two_models_do_not_share_a_file(
    hub: Hub, stranger: User, first: dict[str, str], second: dict[str, str]
) -> None:
    """Their names become one on the disk; the second is not served, or replaced, by the first."""
    repository = hub.add("you/model", {"G.pth": one_half(1)})
    repository.branches |= dict.fromkeys(("v/1", "v_1", "G"), repository.head)
    repository.commit({"G.bin": one_half(2)})
    pulled(stranger, "you/model", **first)
    before = only_model(stranger.models).read_bytes()
    for options in ({}, {"local_files_only": True}):
        answer = stranger.pull("you/model", **second, **options)
        assert answer.code == 1
        for part in ("was not pulled from you/model", *second.values()):
            assert part in answer.json["message"]
    assert only_model(stranger.models).read_bytes() == before


@pytest.mark.parametrize(
    "options", [{"revision": "x" * 300}, {"filename": "x" * 300}, {"filename": "con.pth"}]
)
def test_what_is_no_file_name_is_not_asked_for(hub: Hub, stranger: User, options: dict) -> None:
    hub.add("you/model", {"G.pth": one_half(1)})
    answer = stranger.pull("you/model", **options)
    assert answer.json["error"] == "ValueError"
    assert len(answer.json["message"]) < 300
    assert not hub.requests
    assert holds_nothing(stranger.models)


def test_the_files_come_from_the_listed_commit(hub: Hub, stranger: User) -> None:
    """A push between the listing and the download does not mix two models."""
    repository = hub.add("you/model", {"gen_AB.pth": one_half(1), "gen_BA.pth": one_half(2)})
    listed = repository.head
    pause = hub.fail("resolve.*gen_AB", hold=0)
    pull = stranger.start_pull("you/model")
    hub.wait_for("gen_AB", 1)
    repository.commit({"gen_AB.pth": one_half(3), "gen_BA.pth": one_half(4)})
    pause.go.set()
    answer = pull.end().json
    assert answer["commit"] == listed
    assert difference(load_model(answer["path"]), "b_to_a", network(2)) == 0
    assert all(listed in path for path in hub.seen("resolve"))
