"""How far a large whole picture is, layer by layer: the same picture, and nothing left over."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from cyclegan_core import CycleGAN
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.translation.plan import Limits

from ..test_model import UNET, make, photo

LARGE = 1024
"""Side of the smallest square whose layers are counted."""

LAYERS = 8
"""Convolutions of `RESNET`: three down, two of its block, two up, the last one."""


def hooks_of(model: CycleGAN) -> int:
    return sum(len(layer._forward_hooks) for layer in model.modules())


@pytest.fixture(scope="module")
def large() -> torch.Tensor:
    """Two pictures of a megapixel."""
    return photo(2, 3, LARGE, LARGE)


def test_layers_of_large_pictures_are_counted(large: torch.Tensor) -> None:
    model, enough = make(), Limits(free_bytes=10**10)
    told: list[tuple[int, int]] = []
    result = model.translate(large, limits=enough, on_progress=lambda *now: told.append(now))
    assert told == [(step, 2 * LAYERS) for step in range(1, 2 * LAYERS + 1)]
    assert hooks_of(model) == 0
    # Beside the network itself, which nobody asks how far it is.
    with torch.no_grad():
        x = (large * 2 - 1).contiguous(memory_format=torch.channels_last)
        expected = torch.cat([model.gen_ab(picture) for picture in x.split(1)])
    assert torch.equal(result, (expected + 1) / 2)


def test_a_picture_that_is_not_quite_so_large_is_told_once(large: torch.Tensor) -> None:
    told: list[tuple[int, int]] = []
    make().translate(large[:1, ..., :-4], memory="whole", on_progress=lambda *now: told.append(now))
    assert told == [(1, 1)]


def test_a_unet_and_a_round_trip_are_counted(large: torch.Tensor) -> None:
    shares: list[float] = []
    make(UNET).reconstruct(large[:1], on_progress=lambda *now: shares.append(now[0] / now[1]))
    assert len(shares) == 2 * 2 * UNET.num_downs
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_layers_are_counted_where_rows_are_read_and_written(large: torch.Tensor) -> None:
    told: list[tuple[int, int]] = []
    model, result = make(), torch.empty_like(large[0])
    model.translate_rows(
        TensorRows(large[0]),
        TensorRows(result),
        memory="whole",
        on_progress=lambda *now: told.append(now),
    )
    assert told == [(step, LAYERS) for step in range(1, LAYERS + 1)]
    assert torch.equal(result, model.translate(large[:1], memory="whole")[0])


def test_a_cancel_ends_a_picture_between_its_layers(large: torch.Tensor) -> None:
    class Cancelled(BaseException):
        pass

    def stop_at_three(now: int, _: int) -> None:
        told.append(now)
        if now == 3:
            raise Cancelled

    told: list[int] = []
    model, run = make(), []
    model.gen_ab.register_forward_hook(lambda *_: run.append("to its end"))
    with pytest.raises(Cancelled):
        model.translate(large[:1], memory="whole", on_progress=stop_at_three)
    assert (told, run) == ([1, 2, 3], [])
    assert hooks_of(model) == 1  # the test's own


def test_speedups_count_pictures(large: torch.Tensor, monkeypatch) -> None:
    def as_it_is(network: nn.Module, *, dynamic: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        assert not dynamic
        return network.forward

    monkeypatch.setattr(torch, "compile", as_it_is)
    told: list[tuple[int, int]] = []
    model = make()
    model.translate(
        large[:1], memory="whole", speedup="compile", on_progress=lambda *now: told.append(now)
    )
    assert told == [(1, 1)]


def test_threads_that_share_a_model_count_their_own(large: torch.Tensor) -> None:
    model = make()

    def translate(picture: torch.Tensor) -> list[tuple[int, int]]:
        told: list[tuple[int, int]] = []
        model.translate(picture, memory="whole", on_progress=lambda *now: told.append(now))
        return told

    with ThreadPoolExecutor(2) as threads:
        for told in threads.map(translate, large.split(1)):
            assert told == [(step, LAYERS) for step in range(1, LAYERS + 1)]
    assert hooks_of(model) == 0
