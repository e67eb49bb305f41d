"""What can go wrong between here and the Hub: one sentence each, and nothing is left behind."""

from __future__ import annotations

import shutil
import socket

import pytest

from .clients import PULL, User
from .expect import CDN, WEIGHTS, refused, works
from .pages import TOKEN
from .server import Hub

# --- answers that say no -------------------------------------------------------------------------


@pytest.mark.parametrize("login", [False, True])
def test_an_unknown_repository(hub: Hub, stranger: User, login: bool) -> None:  # noqa: FBT001
    if login:
        stranger.env["HF_TOKEN"] = TOKEN
    message = refused(stranger, "you/nothing")
    assert "There is no you/nothing on the Hub, or it is private" in message
    assert "hf auth login" in message


@pytest.mark.parametrize("revision", ["v9", "0" * 40])
def test_an_unknown_revision(hub: Hub, stranger: User, revision: str) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    assert f"you/model has no revision '{revision}'" in refused(stranger, "you/model", revision)


def test_a_wrong_login(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    stranger.env["HF_TOKEN"] = "hf_expiredToken"
    message = refused(stranger, "you/model")
    assert "login" in message
    assert "hf auth login" in message
    assert "expiredToken" not in stranger.said()


@pytest.mark.parametrize("login", [False, True])
def test_a_gated_repository(hub: Hub, stranger: User, login: bool) -> None:  # noqa: FBT001
    """Anybody may list it; the files are for those who accepted its terms."""
    hub.add("you/model", {"G.pth": WEIGHTS}, gated=True)
    if login:
        stranger.env["HF_TOKEN"] = TOKEN
    message = refused(stranger, "you/model")
    assert "gated" in message
    assert f"{hub.url}/you/model" in message.replace("https://", "http://")
    hub.repositories["you/model"].gated = False
    assert works(stranger)


def test_a_token_without_the_right(hub: Hub, me: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail("GET /api", status=403, headers={"X-Error-Message": "no right"})
    assert "Your login may not" in refused(me, "you/model")


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "77"}, {"RateLimit": '"api";r=0;t=77'}, {"X": "nothing said"}]
)
def test_too_many_requests(hub: Hub, stranger: User, headers: dict[str, str]) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail("GET /api", status=429, headers=headers)
    message = refused(stranger, "you/model")
    assert "too many requests" in message
    assert ("77 seconds" in message) == ("X" not in headers)
    assert works(stranger)


def test_too_many_requests_for_the_file_are_waited_for(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail(CDN, status=429, headers={"Retry-After": "0"})
    assert works(stranger)


@pytest.mark.parametrize("status", [500, 503])
def test_a_fault_of_the_hub(hub: Hub, stranger: User, status: int) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail("GET /api", status=status)
    message = refused(stranger, "you/model")
    assert f"status {status}" in message
    assert "try again later" in message
    assert works(stranger)
    hub.fail("GET /api", status=status)
    answer = stranger.pull("you/model").json
    assert f"status {status}" in answer["note"], "what was fetched before serves meanwhile"


def test_a_fault_of_the_storage(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail(CDN, status=503)
    assert "status 503" in refused(stranger, "you/model")
    assert works(stranger)


def test_a_page_that_is_no_hub(hub: Hub, stranger: User) -> None:
    """A company's proxy, or a mistyped HF_ENDPOINT, answers everything with 200."""
    hub.fail("GET /api", status=200)
    assert "HF_ENDPOINT" in refused(stranger, "you/model")


def test_a_listed_file_that_is_gone(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail("resolve", status=404, headers={"X-Error-Code": "EntryNotFound"})
    assert "lists G.pth but does not have it" in refused(stranger, "you/model")


# --- no answer, or a part of one -----------------------------------------------------------------


def test_a_refused_connection(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # ours, but nobody listens
        unplugged = {"HF_ENDPOINT": f"http://127.0.0.1:{closed.getsockname()[1]}"}
        cut_off = User(stranger.clients, stranger.home, **unplugged)
        message = refused(cut_off, "you/model")
        assert "can't be reached" in message
        assert "check the network" in message
        assert works(stranger)
        later = cut_off.pull("you/model").json
        assert "can't be reached" in later["note"], "the installed copy serves, and says so"
        shutil.rmtree(stranger.models)
        assert works(cut_off), "so does the cache"


def test_an_address_that_is_none(hub: Hub, stranger: User) -> None:
    stranger.env["HF_ENDPOINT"] = "http://[bad"
    assert "the server in HF_ENDPOINT can't be reached" in refused(stranger, "you/model")


def test_a_cut_answer(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail("GET /api", cut=10)
    assert "was cut" in refused(stranger, "you/model")
    assert works(stranger)


def test_a_cut_file_goes_on_where_it_was_cut(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    half = len(WEIGHTS) // 2
    hub.fail(CDN, cut=half)
    assert works(stranger)
    first, second = (request for request in hub.requests if request.is_cdn)
    assert (first.sent, first.range) == (half, None)
    assert (second.sent, second.range) == (len(WEIGHTS) - half, f"bytes={half}-")


def test_a_connection_that_is_always_cut(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail(CDN, cut=0, times=100)
    answer = stranger.python(IN_A_HURRY + PULL, arguments=["you/model"], options={}, folder="x")
    assert "was cut" in answer.json["message"]
    assert answer.err == "", "the library keeps its warnings to itself"
    assert len([request for request in hub.requests if request.is_cdn]) == 6
    hub.faults.clear()
    assert works(stranger)


IN_A_HURRY = """
from cyclegan_core.hub import transfer
transfer.PATIENCE, transfer.PAUSE = 0.5, 0.01
"""


@pytest.mark.parametrize("request_", ["GET /api", CDN])
def test_a_server_that_drips(hub: Hub, stranger: User, request_: str) -> None:
    """A byte now and then is no answer, though each comes in time."""
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail(request_, drip=0.05)
    answer = stranger.python(IN_A_HURRY + PULL, arguments=["you/model"], options={}, folder="x")
    assert "sends next to nothing" in answer.json["message"], answer.err
    assert not list(stranger.cache.rglob(".*.partial"))
    assert works(stranger)


def test_a_server_that_asks_for_an_endless_wait(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    hub.fail(CDN, status=429, headers={"Retry-After": "9" * 30})
    assert "try again in 999999999 seconds" in refused(stranger, "you/model")
    assert works(stranger)
