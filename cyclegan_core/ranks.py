"""Data-parallel training: what the ranks of `torch.distributed` have to agree on."""

from __future__ import annotations

from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """This process's number and how many there are: (0, 1) outside `torchrun`."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


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


def any_rank(verdict: Tensor) -> bool:
    """Whether the truth of `verdict`, a number on the device, holds on some rank."""
    if rank_and_world_size()[1] > 1:
        verdict = verdict.to(torch.uint8)
        dist.all_reduce(verdict, dist.ReduceOp.MAX)
    return bool(verdict)


def rank_0_says(verdict: Tensor) -> Tensor:
    """Rank 0's value on every rank."""
    if rank_and_world_size()[1] > 1:
        dist.broadcast(verdict, src=0)
    return verdict
