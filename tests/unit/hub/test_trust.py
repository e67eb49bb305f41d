"""What a server says is not trusted, and what is secret stays here."""

from __future__ import annotations

import pickle
import shutil
import signal
from pathlib import Path

import pytest

from ..weights import torch_bytes
from .clients import User
from .expect import CDN, WEIGHTS, refused, works
from .pages import TOKEN
from .repositories import File
from .samples import holds_nothing, network, our_files
from .server import Hub

# --- what must not be trusted ---------------------------------------------------------------------


def flip(content: bytes) -> bytes:
    """The same size; one bit of the middle differs."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def test_wrong_bytes_are_not_installed_and_not_kept(hub: Hub, stranger: User) -> None:
    repository = hub.add("you/model", {"G.pth": File(WEIGHTS, sent=flip(WEIGHTS))})
    message = refused(stranger, "you/model")
    assert "G.pth" in message
    assert "nothing was installed" in message
    assert not [path for path in stranger.cache.rglob("*") if path.name == "G.pth"]
    assert not [path for path in stranger.cache.rglob("*") if path.name == File(WEIGHTS).sha256]
    repository.files["G.pth"] = File(WEIGHTS)
    assert works(stranger)


def test_a_wrong_config_is_noticed_too(hub: Hub, stranger: User, tmp_path: Path) -> None:
    """Git's own files have git's own checksum."""
    files = our_files(tmp_path / "files")
    config = File(files["config.json"], sent=files["config.json"].replace(b"Monet", b"Manet"))
    hub.add("you/model", {**files, "config.json": config})
    assert "config.json of you/model was damaged" in refused(stranger, "you/model")


@pytest.mark.parametrize("extra", [-7, 7])
def test_another_size_than_stated(hub: Hub, stranger: User, extra: int) -> None:
    sent = WEIGHTS + b"x" * extra if extra > 0 else WEIGHTS[:extra]
    hub.add("you/model", {"G.pth": File(WEIGHTS, sent=sent, announced=len(sent))})
    assert "G.pth of you/model was damaged" in refused(stranger, "you/model")


@pytest.mark.parametrize(
    "name",
    [
        "../evil.pth",
        "/tmp/evil.pth",
        "sub/../../../evil.pth",
        "..\\evil.pth",
        "C:evil.pth",
        "\\\\server\\share\\evil.pth",
    ],
)
def test_names_that_lead_out(hub: Hub, stranger: User, name: str) -> None:
    hub.add("you/model", {name: WEIGHTS})
    before = everything(stranger.home.parent)
    message = refused(stranger, "you/model")
    assert "leads out" in message or "no weight file" in message
    assert not hub.seen("resolve")
    after = everything(stranger.home.parent)
    assert not [path for path in after - before if "evil" in path]
    assert not Path("/tmp/evil.pth").exists()


@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag", "X-Repo-Commit"])
def test_tags_that_lead_out(hub: Hub, stranger: User, header: str) -> None:
    """The library names files in its cache after what a server calls them."""
    hub.add("you/model", {"G.pth": WEIGHTS})
    evil = stranger.home.parent / "evil"
    hub.fail("resolve", times=9, more={header: f'"{"../" * 30}{evil}.pth"'})
    assert works(stranger)
    outside = everything(stranger.home.parent) - everything(stranger.home)
    assert outside == {str(stranger.home)}
    (link,) = stranger.cache.rglob("G.pth")
    assert link.resolve().is_relative_to(stranger.cache.resolve())


def test_a_link_in_the_cache_that_leads_out(hub: Hub, stranger: User, tmp_path: Path) -> None:
    """Left there by another program; what it leads to is neither used nor deleted."""
    commit = hub.add("you/model", {"G.pth": WEIGHTS}).head
    outside = tmp_path / "outside.pth"
    outside.write_bytes(b"precious")
    link = stranger.cache / "models--you--model" / "snapshots" / commit / "G.pth"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    assert "leads out of the cache" in refused(stranger, "you/model")
    assert outside.read_bytes() == b"precious"


def test_a_server_that_sends_more_than_it_stated(hub: Hub, stranger: User) -> None:
    """However much it sends, no more than was stated is kept."""
    sent = WEIGHTS + bytes(10**6)
    repository = hub.add("you/model", {"G.pth": File(WEIGHTS, sent=sent)})
    hub.fail(CDN, more={"Content-Length": str(len(sent))})
    assert "sends more than" in refused(stranger, "you/model")
    repository.files["G.pth"] = File(WEIGHTS)
    assert works(stranger)


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


def test_a_file_too_large_for_the_disk(hub: Hub, stranger: User) -> None:
    """Announced with 5 GB more than there is room for; refused before a byte is sent."""
    room = shutil.disk_usage(stranger.home.parent).free
    hub.add("you/model", {"G.pth": File(WEIGHTS, announced=room + 5 * 10**9)})
    message = refused(stranger, "you/model")
    assert "MB left" in message
    assert not hub.seen("resolve")


def test_a_disk_that_fills_up(hub: Hub, stranger: User) -> None:
    """The limit on a file's size is the nearest thing to a full disk that needs no rights."""
    hub.add("you/model", {"G.pth": WEIGHTS})
    answer = stranger.start_pull("you/model", limit=len(WEIGHTS) // 2).end()
    assert answer.code == 1, answer.err
    assert answer.json["error"] == "DownloadError"
    assert "can't be stored" in answer.json["message"]
    assert holds_nothing(stranger.models)
    assert works(stranger)


class Payload:
    """Its unpickling would make a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.mkdir, (self.marker,)


@pytest.mark.parametrize("is_zip", [False, True])
def test_a_malicious_pickle(hub: Hub, stranger: User, tmp_path: Path, is_zip: bool) -> None:  # noqa: FBT001
    marker = tmp_path / "pwned"
    content = {"state_dict": network().state_dict(), "x": Payload(marker)}
    evil = torch_bytes(content) if is_zip else pickle.dumps(content)
    hub.add("you/model", {"pytorch_model.bin": evil})
    message = refused(stranger, "you/model")
    assert not marker.exists()
    assert "pytorch_model.bin" in message
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists(), "the payload works where it is allowed to"


def test_something_else_than_a_cyclegan(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"pytorch_model.bin": b"PK\x03\x04 not really"})
    answer = stranger.pull("you/model")
    assert answer.code == 1
    assert answer.json["error"] in ("DownloadError", "CheckpointError")
    assert "pytorch_model.bin" in answer.json["message"]
    assert holds_nothing(stranger.models)


# --- secrets, and the end -----------------------------------------------------------------------


def holds(folder: Path, secret: str) -> list[Path]:
    """The files that contain a text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if secret.encode() in path.read_bytes()]


LOUD = """
import logging
import huggingface_hub
from pathlib import Path
from cyclegan_core.hub import install as hub
logging.basicConfig(level=logging.DEBUG)
huggingface_hub.logging.set_verbosity_debug()
huggingface_hub.logging.enable_propagation()
result = vars_of(hub.pull("me/secret", folder=Path(folder)))
"""


def test_the_token_appears_nowhere(hub: Hub, me: User) -> None:
    """Neither in the most talkative log, nor in any file, nor in an error."""
    hub.add("me/secret", {"G.pth": WEIGHTS, "config.json": b"{}"}, private=True)
    for fault in ({"status": 403}, {"status": 500}, {"status": 401}, {"cut": 5}, {"times": 0}):
        hub.fail("GET /api", **fault)
        me.python(LOUD, folder=me.models)
    assert me.python(LOUD, folder=me.models).code == 0
    assert "GET" in me.said(), "it was talkative"
    assert holds(me.home, TOKEN) == []
    assert any(request.has_token for request in hub.requests)


def test_a_server_that_repeats_the_token_is_not_quoted(hub: Hub, me: User) -> None:
    hub.add("me/secret", {"G.pth": WEIGHTS}, private=True)
    for request in ("GET /api", "resolve"):
        hub.fail(request, status=403, headers={"X-Error-Message": f"{TOKEN} has no right"})
        assert "Your login may not" in refused(me, "me/secret")
    assert holds(me.home, TOKEN) == []


def test_ctrl_c_in_mid_file(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    pause = hub.fail(CDN, hold=len(WEIGHTS) // 2)
    pull = stranger.start_pull("you/model")
    assert pause.held.wait(60)
    pull.interrupt()
    pull.end()
    pause.go.set()
    assert holds_nothing(stranger.models)
    assert works(stranger)


def test_killed_in_mid_file(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    pause = hub.fail(CDN, hold=len(WEIGHTS) // 2)
    pull = stranger.start_pull("you/model")
    assert pause.held.wait(60)
    pull.interrupt(signal.SIGKILL)
    assert pull.end().code == -signal.SIGKILL
    pause.go.set()
    assert holds_nothing(stranger.models)
    assert works(stranger)
