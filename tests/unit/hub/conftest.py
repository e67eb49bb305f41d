"""One Hub and one warm process for all tests of this folder; each test finds them empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import Clients, User
from .pages import TOKEN
from .server import Hub, running


@pytest.fixture(scope="session")
def one_hub() -> Iterator[Hub]:
    with running() as hub:
        yield hub


@pytest.fixture(scope="session")
def clients(one_hub: Hub) -> Iterator[Clients]:
    with Clients(one_hub.url) as clients:
        yield clients


@pytest.fixture
def hub(one_hub: Hub) -> Iterator[Hub]:
    one_hub.reset()
    yield one_hub
    for fault in one_hub.faults:
        fault.go.set()  # nobody is left waiting
    assert one_hub.errors == []


@pytest.fixture
def stranger(hub: Hub, clients: Clients, tmp_path: Path) -> User:
    """Without a login, and with an empty cache."""
    return User(clients, tmp_path / "stranger")


@pytest.fixture
def me(hub: Hub, clients: Clients, tmp_path: Path) -> User:
    """Logged in, and with an empty cache."""
    return User(clients, tmp_path / "me", HF_TOKEN=TOKEN)
