"""One torch thread for all tests: their networks are tiny, and threads wait for each other.

Measured on two busy cores: a step of the plain trainer takes 0.09 s with one thread, 0.5-2 s with
two. The variable is for the processes that tests start, a ComfyUI among them.
"""

from __future__ import annotations

import os

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
