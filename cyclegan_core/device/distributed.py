"""Data-parallel training: what the ranks of `torch.distributed` have to agree on."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import CycleGANError

log = logging.getLogger(__name__)

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """This process's number and how many there are: (0, 1) outside `torchrun`."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def was_restarted() -> bool:
    """Whether `torchrun` started this process again after another one had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


@contextmanager
def losing_others() -> Generator[None]:
    """Say in a sentence that another process is gone; torch says it in a page.

    Raises:
        CycleGANError: it is.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        what = re.sub(r"^\[\S*\] ", "", str(error).partition("\n")[0]).partition(". ")[0]
        rank = os.environ.get("RANK", "0")  # there may be no group to ask
        raise CycleGANError(
            f"Rank {rank} can't talk to the other processes of this training any more "
            f"({what}); with --max-restarts torchrun starts all of them again from the last state."
        ) from error


def own_meeting_place() -> dict[str, Any]:
    """What to tell `init_process_group` so that processes that were restarted find each other.

    `torchrun` lets all attempts meet at one store, where the addresses of those that died are still
    written: who reads them waits for ever, or for as long as gloo does (pytorch issue 135712). So
    each attempt has a part of the store to itself. On several machines only `torchrun` can see to
    that, as they count their attempts each for itself: with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1.
    """
    environment = os.environ
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return {}
    if environment["LOCAL_WORLD_SIZE"] != environment["WORLD_SIZE"]:
        if environment["RANK"] == "0" and environment["TORCHELASTIC_MAX_RESTARTS"] != "0":
            log.warning(
                "Processes that torchrun starts again may wait for those that died: set "
                "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 on every machine before torchrun."
            )
        return {}
    world_size = int(environment["WORLD_SIZE"])
    address, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    # Public by torch's documentation, if not by its types.
    store = dist.TCPStore(address, port, world_size, is_master=False)  # pyright: ignore[reportPrivateImportUsage]
    attempt = environment["TORCHELASTIC_RESTART_COUNT"]
    part = dist.PrefixStore(f"cyclegan/attempt_{attempt}", store)  # pyright: ignore[reportPrivateImportUsage]
    return {"store": part, "rank": int(environment["RANK"]), "world_size": world_size}


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the ranks, in one message."""
    _, world_size = rank_and_world_size()
    gradients = [p.grad for p in parameters if p.grad is not None]
    if world_size == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    flat /= world_size
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def gather(value: T) -> list[T]:
    """Every rank's value, on every rank; tensors in it must be on the CPU."""
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return [value]
    values: list[T | None] = [None] * world_size
    dist.all_gather_object(values, value)
    return cast(list[T], values)


def gather_on_rank_0(value: T) -> list[T]:
    """Every rank's value on rank 0, and nothing on the others; tensors must be on the CPU."""
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return [value]
    values: list[T | None] = [None] * (world_size if rank == 0 else 0)
    dist.gather_object(value, values if rank == 0 else None)
    return cast(list[T], values)


def together(work: Callable[[], object]) -> None:
    """Do something on all ranks, and go on when all have done it; none waits for one that gave up.

    Raises:
        CycleGANError: the first rank's that failed, on all.
    """
    problem: CycleGANError | None = None
    try:
        work()
    except CycleGANError as error:
        problem = error
    for found in gather(problem):
        if found is not None:
            raise found


def spread(verdict: Tensor) -> Tensor:
    """Whether the truth of `verdict`, a boolean on the device, holds on some rank; the same."""
    if rank_and_world_size()[1] == 1:
        return verdict
    number = verdict.to(torch.uint8)
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return number.bool()


def any_rank(verdict: bool, device: torch.device) -> bool:  # noqa: FBT001 - it is the argument
    """Whether `verdict` holds on some rank; the ranks talk through `device`."""
    if rank_and_world_size()[1] == 1:
        return verdict
    return bool(spread(torch.tensor(verdict, device=device)))


def rank_0_says(verdict: bool, device: torch.device) -> bool:  # noqa: FBT001 - it is the argument
    """Rank 0's verdict on every rank; the ranks talk through `device`."""
    if rank_and_world_size()[1] == 1:
        return verdict
    number = torch.tensor(verdict, dtype=torch.uint8, device=device)
    dist.broadcast(number, src=0)
    return bool(number)
