"""Inception v3 up to its pooled features, as torchvision builds it or as FID's graph has it.

FID (Heusel et al. 2017) was defined with a TensorFlow graph whose pooling branches differ from
the paper's: averages leave out the padding, and the last block takes the maximum.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d


def new_inception(*, is_original: bool) -> nn.Module:
    """The network without its classifier; (B,3,299,299) in about [-1,1] -> (B,2048).

    Args:
        is_original: pool as the graph that FID was defined with.
    """
    # Late: only this part of the library needs torchvision.
    models: Any = importlib.import_module("torchvision.models")
    network = models.Inception3(aux_logits=False, init_weights=False)
    network.fc = nn.Identity()
    if is_original:
        names = ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b")
        for name in names:
            _pool_with(getattr(network, f"Mixed_{name}"), _average)
        _pool_with(network.Mixed_7c, _maximum)
    return network


def _pool_with(block: Any, pool: Callable[[Tensor], Tensor]) -> None:  # noqa: ANN401 - three types
    """Let the last branch of an Inception block see `pool` of the block's input."""
    branches = block._forward

    def forward(x: Tensor) -> list[Tensor]:
        return [*branches(x)[:-1], block.branch_pool(pool(x))]

    block._forward = forward


def _average(x: Tensor) -> Tensor:
    return avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return max_pool2d(x, 3, stride=1, padding=1)
