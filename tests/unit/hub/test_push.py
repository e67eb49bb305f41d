"""Publishing models over real HTTP, and getting them back the same."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from cyclegan_core import load_model, save_model

from ..processes import Result
from ..run_files import run as train
from ..weights import NAMED, same
from .clients import User
from .pages import TOKEN
from .repositories import Repository
from .samples import OURS, header, only_model, our_files
from .server import Hub

PUSH = """
from cyclegan_core.hub.publish import push
result = push(model, repo, **options)
"""
PUSH_TO_HUB = """
from cyclegan_core import load_model
result = load_model(model).push_to_hub(repo, **options)
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_model(OURS, path)
    return path


def push(user: User, model: Path, repo: str = "me/model", how: str = PUSH, **options) -> Result:
    return user.python(how, model=str(model), repo=repo, options=options)


def refused(user: User, *arguments, **options) -> str:
    answer = push(user, *arguments, **options)
    assert answer.code == 1, answer.out + answer.err
    assert answer.json["error"] == "DownloadError"
    message = answer.json["message"]
    assert "\n" not in message
    assert TOKEN not in user.said()
    return message


def card(repository: Repository) -> ModelCard:
    return ModelCard(repository.files["README.md"].content.decode())


# --- what is published --------------------------------------------------------------------------


@pytest.mark.parametrize("how", [PUSH, PUSH_TO_HUB])
def test_a_pushed_model(hub: Hub, me: User, weights: Path, how: str) -> None:
    answer = push(me, weights, how=how)
    assert answer.code == 0, answer.out + answer.err
    assert answer.json.startswith(f"{hub.url}/me/model")
    repository = hub.repositories["me/model"]
    assert not repository.private
    assert {"config.json", "model.safetensors", "README.md"} <= set(repository.files)
    data = card(repository).data
    assert {"cyclegan", "image-to-image", "unpaired"} <= set(data.tags)
    assert data.library_name == "cyclegan"
    settings = json.loads(repository.files["config.json"].content)
    assert settings["config"] == json.loads(json.dumps(NAMED.to_dict()))
    assert len(repository.commits) == 2, "the Hub's first commit, and one of ours"


@pytest.mark.parametrize("how", [PUSH, PUSH_TO_HUB])
def test_for_my_eyes_only(hub: Hub, me: User, stranger: User, weights: Path, how: str) -> None:
    assert push(me, weights, how=how, private=True).code == 0
    assert hub.repositories["me/model"].private
    assert stranger.pull("me/model").code == 1
    assert same(load_model(me.pull("me/model").json["path"]), OURS)


@pytest.mark.parametrize("how", [PUSH, PUSH_TO_HUB])
def test_a_private_model_is_not_put_where_everybody_sees_it(
    hub: Hub, me: User, weights: Path, how: str
) -> None:
    hub.add("me/model", {"README.md": b"mine"})
    message = refused(me, weights, how=how, private=True)
    assert "me/model exists and is public, so nothing was uploaded" in message
    assert set(hub.repositories["me/model"].files) == {"README.md"}


def test_a_pulled_model_keeps_its_licence(hub: Hub, me: User, tmp_path: Path) -> None:
    hub.add("you/model", our_files(tmp_path / "files"), card={"license": "cc-by-nc-4.0"})
    path = Path(me.pull("you/model").json["path"])
    assert push(me, path).code == 0
    assert card(hub.repositories["me/model"]).data.license == "cc-by-nc-4.0"


@pytest.mark.parametrize(("noted", "stated"), [("mit", "mit"), ("ask me first", None), ("", None)])
def test_a_student_has_its_teachers_licence(
    hub: Hub, me: User, weights: Path, noted: str, stated: str | None
) -> None:
    """As far as the Hub can read it; what somebody wrote in words stands in the card's table."""
    model = load_model(weights)
    model.training_info |= {"teacher": "big", "license": noted}
    save_model(model, weights)
    assert push(me, weights).code == 0
    assert card(hub.repositories["me/model"]).data.license == stated


def test_the_card_shows_how_to_use_it(hub: Hub, me: User, weights: Path) -> None:
    assert push(me, weights, license="cc0-1.0").code == 0
    text = str(card(hub.repositories["me/model"]))
    for part in (
        "cyclegan pull me/model",
        'CycleGAN.from_pretrained("me/model")',
        "ComfyUI",
        "photo",
        "Monet",
        "license: cc0-1.0",
    ):
        assert part in text
    assert me.pull("me/model").code == 0
    assert header(only_model(me.models))["source"]["files"]


def test_a_second_push_is_a_new_commit(hub: Hub, me: User, weights: Path) -> None:
    push(me, weights)
    repository = hub.repositories["me/model"]
    first = repository.head
    changed = load_model(weights)
    with torch.no_grad():
        changed.gen_ab.model[1].bias += 1
    save_model(changed, weights)
    assert push(me, weights).code == 0
    assert repository.head != first
    assert same(load_model(me.pull("me/model").json["path"]), changed)
    assert same(load_model(me.pull("me/model", first).json["path"]), OURS)


# --- there and back -----------------------------------------------------------------------------


def translate(user: User, model: object, pictures: Path, out: Path) -> dict[str, bytes]:
    """The pictures as the command paints them."""
    answer = user.cyclegan("translate", pictures, "-o", out, "--model", model, "--device", "cpu")
    assert answer.code == 0, answer.err
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_train_push_pull_translate(hub: Hub, me: User, stranger: User, tmp_path: Path) -> None:
    """Two steps of training come back bit for bit, and the samples go along."""
    run, photos = tmp_path / "run", tmp_path / "data" / "a"
    train(run, tmp_path / "data", max_steps=2)
    newest = max((run / "samples").glob("step_*.jpg"))
    (tmp_path / "secret").write_text("what is none of the run is not published")
    with suppress(OSError):  # of a system without links
        (run / "samples" / "step_9999999.jpg").symlink_to(tmp_path / "secret")
    pushed = me.cyclegan("push", run, "me/painter")
    assert pushed.code == 0, pushed.err
    repository = hub.repositories["me/painter"]
    (sample,) = [name for name in repository.files if name.endswith(".jpg")]
    assert repository.files[sample].content == newest.read_bytes()
    assert f"]({sample})" in str(card(repository))
    assert not [name for name in repository.files if "state" in name], "states are not published"

    pulled = stranger.cyclegan("pull", "me/painter", "--json")
    assert pulled.code == 0, pulled.err
    here = load_model(run / "model.safetensors")
    there = load_model(only_model(stranger.models))
    assert same(here, there)
    assert there.config == here.config
    assert there.training_info["steps"] == here.training_info["steps"] == 2
    picture = torch.rand(1, 3, 21, 17, generator=torch.Generator().manual_seed(1))
    assert torch.equal(here.translate(picture), there.translate(picture))
    ours = translate(me, run / "model.safetensors", photos, tmp_path / "ours")
    theirs = translate(stranger, "hub:me/painter", photos, tmp_path / "theirs")
    assert ours == theirs
    assert len(ours) == 3


# --- what can go wrong --------------------------------------------------------------------------


def test_without_a_login(hub: Hub, stranger: User, weights: Path) -> None:
    assert "me/model needs a login; log in with `hf auth login`." in refused(stranger, weights)
    assert hub.repositories == {}


def test_with_a_wrong_login(hub: Hub, stranger: User, weights: Path) -> None:
    stranger.env["HF_TOKEN"] = "hf_expiredToken"
    assert "hf auth login" in refused(stranger, weights)
    assert "expiredToken" not in stranger.said()


def test_into_somebody_elses_account(hub: Hub, me: User, weights: Path) -> None:
    hub.add("you/model", {"G.pth": b"theirs"})
    before = hub.repositories["you/model"].head
    for repo in ("you/model", "you/new"):
        assert "permission" in refused(me, weights, repo)
    assert hub.repositories["you/model"].head == before


@pytest.mark.parametrize("path", ["/api/repos/create", "/preupload/", "/info/lfs", "/commit/"])
def test_a_refusal_on_the_way(hub: Hub, me: User, weights: Path, path: str) -> None:
    hub.fail(f"POST .*{path}", status=403, headers={"X-Error-Message": f"not with {TOKEN}"})
    hub.fail("GET /api/models", status=403)  # asked for when creating is refused
    assert "permission" in refused(me, weights)
    hub.faults.clear()
    assert push(me, weights).code == 0, "and again without the fault"


def test_a_fault_at_the_last_moment(hub: Hub, me: User, weights: Path) -> None:
    hub.fail("POST .*/commit/", status=500)
    assert "status 500" in refused(me, weights)
    repository = hub.repositories["me/model"]
    assert set(repository.files) == {".gitattributes"}, "all or nothing"


def test_a_connection_cut_by_the_commit(hub: Hub, me: User, weights: Path) -> None:
    hub.fail("POST .*/commit/", cut=0)
    assert "was cut" in refused(me, weights)


@pytest.mark.parametrize("repo", ["model", "me/model@v2", "me/../you", ""])
def test_no_such_name(hub: Hub, me: User, weights: Path, repo: str) -> None:
    answer = push(me, weights, repo)
    assert answer.code == 1
    assert answer.json["error"] == "ValueError"
    assert hub.seen() == []


def test_nothing_to_push(hub: Hub, me: User, tmp_path: Path) -> None:
    answer = push(me, tmp_path / "nothing.safetensors")
    assert answer.json["error"] == "CheckpointError"
    assert hub.seen() == []


def test_the_token_is_not_published(hub: Hub, me: User, weights: Path) -> None:
    push(me, weights)
    for name, file in hub.repositories["me/model"].files.items():
        assert TOKEN.encode() not in file.content, name
    assert all(not request.has_token for request in hub.requests if request.is_cdn)
