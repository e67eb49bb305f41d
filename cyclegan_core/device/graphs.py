"""CUDA graphs, recorded once and launched whole instead of kernel by kernel; torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor

from ..errors import CompilerError


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


@contextmanager
def compiled(*, wanted: bool) -> Generator[None]:
    """Say in a sentence that torch.compile can't work here, which shows at the first step.

    Raises:
        CompilerError: it can't.
    """
    if not wanted:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # importing it takes a second

    try:
        yield
    except TorchDynamoException as error:
        lines = [line for line in str(error).splitlines() if line and not line.endswith(":")]
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        raise CompilerError(
            f"The networks can't be compiled here ({reason}); do without compile, or install what "
            "is missing."
        ) from error
