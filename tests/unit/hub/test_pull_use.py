"""Pulling models without a network, with a login, two at a time, and into the model class."""

from __future__ import annotations

from pathlib import Path

import pytest

from cyclegan_core import CycleGAN, load_model

from ..weights import difference, same
from .clients import User
from .expect import CDN, pulled, refused
from .samples import OURS, holds_nothing, network, one_half, only_model, our_files
from .server import Hub

# --- without a network ---------------------------------------------------------------------------


def test_offline_uses_what_was_fetched_and_says_so(hub: Hub, stranger: User) -> None:
    commit = hub.add("you/model", {"gen_AB.pth": one_half(1), "gen_BA.pth": one_half(2)}).head
    pulled(stranger, "you/model")
    hub.requests.clear()
    installed = stranger.pull("you/model", local_files_only=True)
    only_model(stranger.models).unlink()
    cached = stranger.pull("you/model", local_files_only=True)
    assert hub.seen() == []
    for answer in (installed, cached):
        assert answer.json["commit"] == commit
        assert answer.json["from_cache"]
        assert "offline" in answer.json["note"]
    assert difference(load_model(cached.json["path"]), "b_to_a", network(2)) == 0


def test_offline_by_the_librarys_own_switch(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": one_half(1)})
    pulled(stranger, "you/model")
    hub.requests.clear()
    stranger.env["HF_HUB_OFFLINE"] = "1"
    answer = stranger.pull("you/model")
    assert answer.code == 0, answer.out
    assert "HF_HUB_OFFLINE" in answer.json["note"]
    assert hub.seen() == []
    newcomer = User(stranger.clients, stranger.home / "new", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in refused(newcomer, "you/model")


@pytest.mark.parametrize("length", [40, 64])
def test_offline_where_the_cache_has_no_links(hub: Hub, stranger: User, length: int) -> None:
    """There a file's name is its own, however much its length is that of a checksum."""
    name = "G".ljust(length - 4, "x") + ".pth"
    commit = hub.add("you/model", {name: one_half(1)}).head
    pulled(stranger, "you/model")
    links = [path for path in stranger.cache.rglob("*") if path.is_symlink()]
    assert name in {link.name for link in links}
    for link in links:
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content)
    only_model(stranger.models).unlink()
    answer = stranger.pull("you/model", local_files_only=True)
    assert answer.code == 0, answer.out
    assert answer.json["commit"] == commit
    assert difference(load_model(answer.json["path"]), "a_to_b", network(1)) == 0


def test_offline_without_a_copy(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": one_half(1)})
    message = refused(stranger, "you/model", local_files_only=True)
    assert "you/model" in message
    assert "network" in message
    assert hub.seen() == []


FETCH = """
from huggingface_hub import hf_hub_download
hf_hub_download("you/model", "gen_AB.pth", revision=revision)
"""


@pytest.mark.parametrize("is_pinned", [False, True])
def test_half_a_pair_in_the_cache_is_completed_later(
    hub: Hub,
    stranger: User,
    is_pinned: bool,  # noqa: FBT001
) -> None:
    """Other programs share the cache, and without the Hub's list nobody knows what it lacks."""
    files = {"gen_AB.pth": one_half(1), "gen_BA.pth": one_half(2)}
    commit = hub.add("you/model", files).head
    revision = commit if is_pinned else None
    assert stranger.python(FETCH, revision=revision).code == 0
    half = pulled(stranger, "you/model", revision, local_files_only=True)
    assert half.directions == ("a_to_b",)
    whole = pulled(stranger, "you/model", revision)
    assert whole.directions == ("a_to_b", "b_to_a")
    assert hub.cdn_bytes() == sum(map(len, files.values())), "each was sent once"
    hub.requests.clear()
    assert stranger.pull("you/model", revision).json["from_cache"]
    assert len(hub.requests) == (0 if is_pinned else 1)


# --- who may ------------------------------------------------------------------------------------


def test_a_private_repository(hub: Hub, me: User, stranger: User) -> None:
    hub.add("me/secret", {"G.pth": one_half(1)}, private=True)
    message = refused(stranger, "me/secret")
    assert "private" in message
    assert "hf auth login" in message
    assert difference(pulled(me, "me/secret"), "a_to_b", network(1)) == 0
    assert not any(request.has_token for request in hub.requests if request.is_cdn)


def test_a_stored_login(hub: Hub, me: User) -> None:
    """As `hf auth login` leaves it."""
    hub.add("me/secret", {"G.pth": one_half(1)}, private=True)
    (me.home / "hf").mkdir(parents=True)
    (me.home / "hf" / "token").write_text(me.env.pop("HF_TOKEN"))
    assert difference(pulled(me, "me/secret"), "a_to_b", network(1)) == 0


# --- two at once, progress, cancel ---------------------------------------------------------------


def test_two_processes_pull_the_same_model(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": one_half(1)})
    pause = hub.fail(CDN, hold=1000)
    first = stranger.start_pull("you/model")
    assert pause.held.wait(60)
    second = stranger.start_pull("you/model")
    hub.wait_for("GET /api", 2)  # the second one waits for the first, or is about to
    pause.go.set()
    one, other = first.end(), second.end()
    assert (one.code, other.code) == (0, 0), one.out + other.out
    assert one.json["path"] == other.json["path"]
    assert hub.cdn_bytes() == len(one_half(1)), "it was sent once"
    assert difference(load_model(only_model(stranger.models)), "a_to_b", network(1)) == 0


WAITING = """
from pathlib import Path
from cyclegan_core.hub import install as hub
class Enough(Exception):
    pass
def stop(done, total):
    raise Enough
try:
    hub.pull("you/model", folder=Path(folder), on_bytes=stop)
except Enough:
    result = "came through"
"""


def test_who_waits_for_another_process_is_told_so_and_may_leave(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": one_half(1)})
    pause = hub.fail(CDN, hold=1000)
    first = stranger.start_pull("you/model")
    assert pause.held.wait(60)
    second = stranger.python(WAITING, folder=stranger.models)
    assert second.json == "came through"
    assert second.err == "Another process is fetching G.pth of you/model; waiting for it.\n"
    pause.go.set()
    assert first.end().code == 0


PROGRESS = """
from pathlib import Path
from cyclegan_core.hub import install as hub
result = []
hub.pull("you/model", folder=Path(folder), on_bytes=lambda *numbers: result.append(numbers))
"""


def test_progress_in_bytes(hub: Hub, stranger: User) -> None:
    files = {"gen_AB.pth": one_half(1), "gen_BA.pth": one_half(2)}
    hub.add("you/model", files)
    calls = stranger.python(PROGRESS, folder=stranger.models).json
    total = sum(map(len, files.values()))
    assert {of for _, of in calls} == {total}
    done = [bytes_done for bytes_done, _ in calls]
    assert done == sorted(done)
    assert done[-1] == total


@pytest.mark.parametrize("kind", ["RuntimeError", "OSError", "KeyboardInterrupt"])
def test_a_callback_cancels_by_raising(hub: Hub, stranger: User, kind: str) -> None:
    """Whatever it raises comes out as it is."""
    hub.add("you/model", {"G.pth": one_half(1)})
    code = f"""
from pathlib import Path
from cyclegan_core.hub import install as hub
class Enough({kind}):
    pass
def stop(done, total):
    if done:
        raise Enough
try:
    hub.pull("you/model", folder=Path(folder), on_bytes=stop)
except Enough:
    result = "came through"
"""
    answer = stranger.python(code, folder=stranger.models)
    assert answer.code == 0, answer.out + answer.err
    assert answer.json == "came through"
    assert holds_nothing(stranger.models)
    assert difference(pulled(stranger, "you/model"), "a_to_b", network(1)) == 0


# --- the model class -----------------------------------------------------------------------------

LOAD = """
from cyclegan_core import CycleGAN, load_model, save_model
model = CycleGAN.from_pretrained(repo, **options)
save_model(model, path)
result = [list(model.directions), model.training]
"""


def from_pretrained(user: User, repo: str, **options) -> CycleGAN:
    path = user.home / "loaded.safetensors"
    answer = user.python(LOAD, repo=repo, options=options, path=path)
    assert answer.code == 0, answer.out + answer.err
    assert answer.json[1] is False, "ready for use"
    return load_model(path)


def test_from_pretrained(hub: Hub, stranger: User, tmp_path: Path) -> None:
    repository = hub.add("you/model", our_files(tmp_path / "files"))
    assert same(from_pretrained(stranger, "you/model"), OURS)
    hub.requests.clear()
    assert same(from_pretrained(stranger, "you/model", revision=repository.head), OURS)
    assert same(from_pretrained(stranger, "you/model", local_files_only=True), OURS)
    assert hub.cdn_bytes() == 0


def test_from_pretrained_of_others(hub: Hub, stranger: User) -> None:
    hub.add("you/pair", {"gen_AB.pth": one_half(1), "gen_BA.pth": one_half(2)})
    model = from_pretrained(stranger, "you/pair")
    assert difference(model, "a_to_b", network(1)) == 0
    assert difference(model, "b_to_a", network(2)) == 0


@pytest.mark.parametrize("name", ["you/nothing", "no folder", "a/b/c"])
def test_from_pretrained_of_nothing(hub: Hub, stranger: User, name: str) -> None:
    answer = stranger.python(LOAD, repo=name, options={}, path="x")
    assert answer.json["error"] in ("DownloadError", "CheckpointError")
    assert name in answer.json["message"]
    assert answer.err == ""
