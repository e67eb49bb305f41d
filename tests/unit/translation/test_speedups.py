"""Quicker ways to run a network: the same pictures, nothing kept too long, one sentence if not."""

from __future__ import annotations

import copy
import logging
import pickle
from functools import partial

import pytest
import torch
import torch._inductor.exc

from cyclegan_core import CycleGANError
from cyclegan_core.translation.speedups import _kept, forget

from ..test_model import make, photo

has_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def test_without_cuda_a_graph_is_a_warning_once(caplog) -> None:
    model, images = make(), photo(2, 3, 16, 12)
    with caplog.at_level(logging.WARNING):
        result = model.translate(images, speedup="graph")
    assert torch.equal(result, model.translate(images))
    assert [record.getMessage() for record in caplog.records] == [
        "No CUDA graph can be recorded (they need a CUDA device, and the weights are on cpu); "
        "translating without."
    ]


def test_compiled_is_the_same_picture(monkeypatch) -> None:
    """With the backend that needs no C++ compiler, which takes a minute even for small networks."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model, images = make(), photo(1, 3, 16, 12)
    result = model.translate(images, speedup="compile")
    # Under a compiler the norms take torch's own way, which sums in another order.
    torch.testing.assert_close(result, model.translate(images), rtol=0, atol=2e-5)
    assert torch.equal(model.translate(images, speedup="compile"), result)


def test_what_can_not_be_compiled_is_a_sentence(monkeypatch) -> None:
    def no_compiler(*_: object) -> None:
        raise torch._inductor.exc.InvalidCxxCompiler

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=no_compiler))
    with pytest.raises(CycleGANError, match=r"The networks can't be compiled here \("):
        make().translate(photo(1, 3, 16, 12), speedup="compile")


def test_what_is_kept_goes_when_the_weights_move_and_is_not_copied() -> None:
    model = make()
    network = model.gen_ab
    _kept(network).can_record = False
    assert _kept(copy.deepcopy(network)).can_record
    assert _kept(pickle.loads(pickle.dumps(network))).can_record
    assert not _kept(network).can_record
    keys = set(model.state_dict())
    model.to(torch.float64)
    assert _kept(network).can_record
    forget(network)
    forget(network)
    assert set(model.state_dict()) == keys


def test_strips_go_without_and_say_so_once(caplog) -> None:
    model, images = make(), photo(2, 3, 16, 12)
    with caplog.at_level(logging.WARNING):
        result = model.translate(images, memory="streamed", speedup="graph")
    assert torch.equal(result, model.translate(images, memory="streamed"))
    assert [record.getMessage() for record in caplog.records] == [
        "Strips go without the speedup graph, which is for whole pictures."
    ]


def test_an_unknown_speedup() -> None:
    with pytest.raises(ValueError, match="speedup must be one of none, graph, compile; got 'warp'"):
        make().translate(photo(1, 3, 8, 8), speedup="warp")


@has_gpu
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_a_replayed_graph_is_bit_equal(dtype) -> None:
    model = make().to("cuda")
    for images in (photo(2, 3, 32, 32).cuda(), photo(2, 3, 32, 32).flip(0).cuda()):
        plain = model.translate(images, dtype=dtype)
        assert torch.equal(model.translate(images, dtype=dtype, speedup="graph"), plain)
        torch.cuda.empty_cache()
        junk = [torch.full((2**14,), torch.nan, device="cuda") for _ in range(100)]
        assert torch.equal(model.translate(images, dtype=dtype, speedup="graph"), plain)
        del junk
    assert len(_kept(model.gen_ab).graphs) == 1


@has_gpu
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_graph_sees_weights_that_change_where_they_are(dtype) -> None:
    model, images = make().to("cuda"), photo(2, 3, 32, 32).cuda()
    before = model.translate(images, dtype=dtype, speedup="graph")
    with torch.no_grad():
        model.gen_ab.model[1].weight.mul_(-1)
    after = model.translate(images, dtype=dtype, speedup="graph")
    assert not torch.equal(after, before)
    assert torch.equal(after, model.translate(images, dtype=dtype))
