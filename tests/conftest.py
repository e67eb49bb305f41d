"""One torch thread for all tests: their networks are tiny, and threads wait for each other.

Measured on two busy cores: a step of the plain trainer takes 0.09 s with one thread, 0.5-2 s with
two. The variable is for the processes that tests start, a ComfyUI among them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.host.comfyui import ProvisionError, provision
from tests.unavailable import unavailable
from tests.unit.hub.server import Hub, running

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def one_hub() -> Iterator[Hub]:
    """A Hub on loopback, the only one that the host knows."""
    with running() as hub:
        yield hub


@pytest.fixture(scope="session")
def app_dir() -> Path:
    """Folder of a runnable ComfyUI."""
    try:
        return provision()
    except ProvisionError as error:
        unavailable(str(error))
