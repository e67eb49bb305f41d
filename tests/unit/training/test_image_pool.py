"""The image pool: a sequence worked out by hand, and the plain pool on random ones."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch

from cyclegan_core.training.image_pool import ImagePool

from ..tiny import parity

PlainPool = parity("plain_training").ImagePool


class ScriptedDice(random.Random):
    """Says what it was told to, and remembers what it was asked."""

    def __new__(cls, *_: Sequence[float]) -> ScriptedDice:
        return super().__new__(cls)  # which in Python 3.10 takes a seed at most

    def __init__(self, uniforms: Sequence[float], slots: Sequence[int]) -> None:
        super().__init__(0)
        self.uniforms, self.slots = list(uniforms), list(slots)
        self.asked: list[tuple[str, float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append(("uniform", a, b))
        return self.uniforms.pop(0)

    def randint(self, a: int, b: int) -> int:
        self.asked.append(("randint", a, b))
        return self.slots.pop(0)


def query(pool: ImagePool, images: torch.Tensor) -> torch.Tensor:
    """What a sound step does with its fakes."""
    exchange = pool.decide(len(images))
    out = pool.show(images, exchange)
    pool.keep(images, exchange, sound=torch.tensor(True))
    return out


def picture(number: float) -> torch.Tensor:
    return torch.full((3, 2, 2), float(number))


def numbers(pictures: Sequence[torch.Tensor] | torch.Tensor) -> list[float]:
    return [float(each[0, 0, 0]) for each in pictures]


def test_a_sequence_by_hand():
    """Pool of 2, pictures 1 to 6.

    1, 2: stored and returned, no draw. 3: u = 0.5 is not above 0.5, returned. 4: u = 0.51, slot 1:
    2 is returned, 4 stored. 5: u = 0.9, slot 1: 4 is returned, 5 stored. 6: u = 0.2, returned.
    """
    rng = ScriptedDice([0.5, 0.51, 0.9, 0.2], [1, 1])
    pool = ImagePool(2, rng)
    out = [numbers(query(pool, picture(number)[None]))[0] for number in range(1, 7)]
    assert out == [1, 2, 3, 2, 4, 6]
    assert numbers(pool.images) == [1, 5]
    draw, pick = ("uniform", 0, 1), ("randint", 0, 1)
    assert rng.asked == [draw, draw, pick, draw, pick, draw]


def test_a_batch_is_taken_picture_by_picture():
    """Pool of 1: of the batch 1, 2, 3 the first fills it, the second is swapped for it."""
    pool = ImagePool(1, ScriptedDice([0.9, 0.1], [0]))
    batch = torch.stack([picture(number) for number in (1, 2, 3)])
    assert numbers(query(pool, batch)) == [1, 1, 3]
    assert numbers(pool.images) == [2]


def test_size_0_returns_its_input_and_draws_nothing():
    rng = ScriptedDice([], [])
    pool, batch = ImagePool(0, rng), torch.rand(2, 3, 2, 2, requires_grad=True)
    out = query(pool, batch)
    assert torch.equal(out, batch)
    assert not out.requires_grad
    assert (pool.images, rng.asked) == ([], [])


@pytest.mark.parametrize("size", [0, 1, 3, 50])
@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_random_sequences_equal_the_plain_pool(size, batch_size):
    ours, plain = ImagePool(size, random.Random(7)), PlainPool(size, random.Random(7))
    noise = torch.Generator().manual_seed(3)
    exchanged = 0
    for _ in range(100):
        batch = torch.rand(batch_size, 3, 2, 2, generator=noise)
        out, expected = query(ours, batch), plain.query(batch)
        assert torch.equal(out, expected)
        exchanged += int((out != batch).any())
        if len(ours.images) == size == 3 and batch_size == 1:  # as a saved state does
            ours.images = [image.clone() for image in ours.images]
    assert ours.rng.getstate() == plain.rng.getstate()
    assert len(ours.images) == size
    assert all(map(torch.equal, ours.images, plain.images))
    assert (exchanged > 20) == (size > 0)


def test_what_comes_out_and_what_stays_are_copies_without_gradient():
    pool = ImagePool(1, ScriptedDice([0.9], [0]))
    first = torch.ones(1, 3, 2, 2, requires_grad=True)
    out = query(pool, first)
    assert not out.requires_grad
    out.zero_()
    first.data.zero_()
    assert numbers(query(pool, picture(2)[None])) == [1]


def test_pictures_of_different_sizes():
    """As with preprocess "none", one picture a batch."""
    pool = ImagePool(2, ScriptedDice([0.9], [0]))
    sizes = [(8, 12), (16, 4), (4, 4)]
    out = [tuple(query(pool, torch.zeros(1, 3, *size)).shape[2:]) for size in sizes]
    assert out == [(8, 12), (16, 4), (8, 12)]
    assert [tuple(image.shape[1:]) for image in pool.images] == [(4, 4), (16, 4)]


@pytest.mark.parametrize("filled", [0, 1, 2])
def test_random_sizes_equal_the_plain_pool(filled):
    """One tensor becomes a list when the sizes begin to differ, before or after it is full."""
    ours, plain = ImagePool(3, random.Random(7)), PlainPool(3, random.Random(7))
    noise = torch.Generator().manual_seed(3)
    for number in range(60):
        side = 2 if number <= 2 * filled else 2 + number % 3
        batch = torch.rand(1, 3, side, 4, generator=noise)
        out, expected = query(ours, batch), plain.query(batch)
        assert torch.equal(out, expected)
    assert ours.rng.getstate() == plain.rng.getstate()
    assert all(map(torch.equal, ours.images, plain.images))


@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (2, 4, 2, 4)])
def test_an_unsound_step_keeps_nothing(sizes):
    """Its decisions are taken back by the count; the next one finds the pool as it was."""
    pool = ImagePool(2, ScriptedDice([0.9, 0.9], [0, 0]))
    batches = [torch.full((1, 3, side, 2), float(n)) for n, side in enumerate(sizes)]
    query(pool, batches[0])
    for batch, count in ((batches[1], 1), (batches[1], 2)):
        before = [image.clone() for image in pool.images]
        exchange = pool.decide(1)
        pool.show(batch, exchange)
        pool.keep(batch, exchange, sound=torch.tensor(False))
        pool.count = count - (count == 2)
        assert all(map(torch.equal, pool.images, before))
    query(pool, batches[2])
    assert numbers(query(pool, batches[3])) == [0]
    assert numbers(pool.images) == [3, 2]


def test_decisions_by_hand():
    """Pool of 2 with one picture in it; of the batch 1 to 4 the first fills the other slot.

    2 takes slot 0, 3 takes slot 0 from it, 4 takes slot 1 from the first; 2 stays nowhere.
    """
    pool = ImagePool(2, ScriptedDice([0.9, 0.9, 0.9], [0, 0, 1]))
    query(pool, picture(0)[None])
    first = 2
    shown, slots = pool.decide(4).tolist()
    assert shown == [first + 0, 0, first + 1, first + 0]
    assert slots == [2, 2, 0, 1]
