"""CUDA graphs: work is recorded once, then launched whole instead of kernel by kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def on_side_stream(work: Callable[[], Tensor], device: torch.device) -> Tensor:
    """Do `work` on a stream of its own, as its runs before the recording have to be done."""
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    try:
        with torch.cuda.stream(stream):
            return work()
    finally:
        current.wait_stream(stream)


def record(work: Callable[[], Tensor], device: torch.device) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """Run the Python of `work` without computing anything.

    Returns:
        The graph, and the tensor into which each replay writes the result.

    Raises:
        RuntimeError: it can't be recorded.
    """
    graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(device)
    # Torch's own stream for this belongs to the device of the process's first recording.
    stream = torch.cuda.Stream(device)
    try:
        # Other threads may pin memory meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            output = work()
    finally:
        torch.cuda.set_stream(current)  # what torch may not do after a recording that failed
    return graph, output
