"""`Batches`: the same stream whatever the threads, ranks and interruptions."""

import re
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core import DatasetError
from cyclegan_core.data.loader import BatchConfig, Batches
from cyclegan_core.data.unpaired_folders import UnpairedFolders


@pytest.fixture(scope="module")
def dirs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for domain, count in (("a", 5), ("b", 7)):
        (root / domain).mkdir()
        for number in range(count):
            size = (20 + number, 24, 3)
            pixels = generator.integers(0, 256, size, dtype=np.uint8)
            Image.fromarray(pixels).save(root / domain / f"{number}.png")
    return root / "a", root / "b"


@pytest.fixture
def data(dirs):
    return UnpairedFolders(*dirs, load_size=20, crop_size=16, cache_bytes=0)


def take(data, count, **settings):
    with Batches(data, **settings) as batches:
        return [next(batches) for _ in range(count)]


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert (batch.paths_a, batch.paths_b) == (other.paths_a, other.paths_b)
        assert torch.equal(batch.real_a, other.real_a)
        assert torch.equal(batch.real_b, other.real_b)


def test_batches_are_the_samples_in_order(data):
    (first, second) = take(data, 2, batch_size=3, seed=5)
    samples = [data.sample(k, seed=5) for k in range(6)]
    assert torch.equal(first.real_a, torch.stack([sample.a for sample in samples[:3]]))
    assert torch.equal(second.real_b, torch.stack([sample.b for sample in samples[3:]]))
    assert second.paths_a == tuple(sample.path_a for sample in samples[3:])
    assert first.real_a.shape == (3, 3, 16, 16)
    assert first.real_a.dtype == torch.float32


@pytest.mark.parametrize("threads", [0, 1, 5])
@pytest.mark.parametrize("prefetch", [0, 1, 9])
def test_threads_and_prefetch_change_nothing(data, threads, prefetch):
    expected = take(data, 12, batch_size=2, seed=1)
    assert_same(
        take(data, 12, batch_size=2, seed=1, num_threads=threads, prefetch=prefetch), expected
    )


def test_resume_is_the_same_stream(data, dirs):
    uninterrupted = take(data, 20, batch_size=2, seed=3)
    with Batches(data, batch_size=2, seed=3) as batches:
        before = [next(batches) for _ in range(7)]
        state = batches.state_dict()
    assert state == {"seed": 3, "position": 14}
    fresh = UnpairedFolders(*dirs, load_size=20, crop_size=16)
    with Batches(fresh, batch_size=2) as resumed:
        next(resumed)  # something is decoded ahead of another sequence
        resumed.load_state_dict(state)
        after = [next(resumed) for _ in range(13)]
    assert_same(before + after, uninterrupted)
    assert_same(take(fresh, 13, batch_size=2, seed=3, position=14), after)


@pytest.mark.parametrize("size", [1, 2])
def test_ranks_share_the_stream_out(data, size):
    alone = take(data, 9, batch_size=2 * size, seed=4)
    ranks = [take(data, 9, batch_size=size, seed=4, rank=r, world_size=2) for r in range(2)]
    for whole, first, second in zip(alone, *ranks, strict=True):
        shared = torch.stack([first.real_a, second.real_a], dim=1).flatten(0, 1)
        assert torch.equal(whole.real_a, shared)
        assert whole.paths_b[0::2] == first.paths_b
        assert whole.paths_b[1::2] == second.paths_b


def test_position_counts_all_ranks(data):
    with Batches(data, batch_size=2, rank=1, world_size=3) as batches:
        next(batches)
        assert batches.position == 6
        assert batches.epoch == 0
        next(batches)
        assert batches.epoch == 1


def test_a_lost_file_is_named_and_the_stream_can_go_on_when_it_is_back(dirs, tmp_path):
    copies = []
    for folder in dirs:
        copies.append(tmp_path / folder.name)
        copies[-1].mkdir()
        for path in folder.iterdir():
            (copies[-1] / path.name).write_bytes(path.read_bytes())
    data = UnpairedFolders(*copies, load_size=20, crop_size=16, cache_bytes=0)
    expected = take(data, 10)
    (copies[0] / "3.png").rename(tmp_path / "away.png")
    with Batches(data) as batches:
        seen = []
        with pytest.raises(DatasetError, match=r"3\.png does not exist; check the path; restore"):
            seen.extend(batches)
        assert batches.position == len(seen)
        with pytest.raises(DatasetError, match=r"3\.png"):
            next(batches)
        (tmp_path / "away.png").rename(copies[0] / "3.png")
        seen += [next(batches) for _ in range(10 - len(seen))]
    assert_same(seen, expected)


def test_no_more_than_prefetch_is_decoded_ahead(dirs):
    """The cache tells what was decoded: in an epoch, each sample has an A of its own."""
    data = UnpairedFolders(dirs[1], dirs[0], load_size=20, crop_size=16)
    data._a._cache.clear()  # of what was decoded as a check at the start
    own = [data.sample(k).path_a for k in range(len(data))]
    data._a._cache.clear()
    take(data, 3, prefetch=2, num_threads=2)
    decoded = set(data._a._cache)
    assert set(own[:3]) <= decoded <= set(own[:5])


def test_close_stops_the_threads_and_may_be_repeated(data):
    before = set(threading.enumerate())
    batches = Batches(data, num_threads=3)
    next(batches)
    assert len(set(threading.enumerate()) - before) > 0
    batches.close()
    batches.close()
    assert set(threading.enumerate()) == before
    with pytest.raises(ValueError, match="these batches are closed"):
        next(batches)


def test_tensors_can_train_even_under_inference_mode(data):
    with torch.inference_mode():
        for threads in (0, 2):
            (batch,) = take(data, 1, num_threads=threads)
            assert not batch.real_a.is_inference()
            assert not batch.real_b.is_inference()


def test_different_sizes_need_a_batch_of_one(dirs):
    whole = UnpairedFolders(*dirs, preprocess="none")
    text = (
        "batch_size must be 1 with preprocess 'none', because domain A's pictures have 2 "
        "different sizes; got 2. A mode that crops makes them equal."
    )
    with pytest.raises(ValueError, match=re.escape(text)):
        Batches(whole, batch_size=2)
    assert take(whole, 1)[0].real_a.shape[0] == 1


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"position": -1}, "position must be a whole number of at least 0; got -1"),
        ({"rank": 2, "world_size": 2}, "rank must be below world_size; got 2 and 2"),
        ({"num_threads": -1}, "num_threads must be a whole number of at least 0"),
    ],
)
def test_wrong_settings_are_named(settings, text):
    with pytest.raises(ValueError, match=text):
        BatchConfig(**settings)


@pytest.mark.parametrize("state", [{}, {"seed": 1}, {"seed": 1, "position": 2, "epoch": 3}])
def test_foreign_states_are_refused(data, state):
    batches = Batches(data)
    with pytest.raises(ValueError, match="the state must hold seed and position"):
        batches.load_state_dict(state)
    with pytest.raises(ValueError, match="position must be a whole number"):
        batches.load_state_dict({"seed": 1, "position": -4})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a GPU driver")
def test_pinned_batches(data):
    (batch,) = take(data, 1, pin_memory=True)
    assert batch.real_a.is_pinned()
