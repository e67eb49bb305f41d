"""The step as a CUDA graph: what it rests on, anywhere; the replay itself, on a GPU."""

from __future__ import annotations

import logging
import random
import warnings
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from cyclegan_core.model import CycleGAN
from cyclegan_core.training.divergence import check_finite
from cyclegan_core.training.image_pool import ImagePool
from cyclegan_core.training.losses import term_names
from cyclegan_core.training.optimiser import LossScale, total_norm, update_average
from cyclegan_core.training.step import draw_inputs
from cyclegan_core.training.step_graph import StepGraph, find_obstacle
from cyclegan_core.training.trainer import Trainer

from ..tiny import FEATURES, MODEL, ByHand, assert_same, everything, make_batch, make_config

CASES = {
    "paper": {},
    "batch norm": {"model": replace(MODEL, norm="batch")},
    "penalty": {"gan_mode": "wgangp"},
    "R1": {"lambda_r1": 1.0},
    "parts": {"batch_size": 2, "accumulate": 2},
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
    "clip": {"grad_clip": 0.01},
    "no adversary": {"lambda_gan": 0.0},
    "features and patches": {**FEATURES, "discriminator": "patch_features"},
    "noise": {"input_noise": 0.1},
    "warm-up": {"warmup_steps": 2, "gan_mode": "hinge", "disc_norm": "spectral"},
}


def make_trainer(device: str = "cpu", **settings) -> Trainer:
    defaults = {"model": MODEL, "pool_size": 2, "max_steps": 50}
    return Trainer(make_config(**defaults | settings), ByHand(), device=device)


def take_steps(trainer: Trainer, count: int) -> None:
    for number in range(count):
        trainer.train_step(*make_batch(number, size=trainer.config.batch_size))
    trainer.read()


@pytest.mark.parametrize(
    ("settings", "crops", "world_size", "reason"),
    [
        ({}, True, 1, None),
        ({"gan_mode": "wgangp", "precision": "fp16"}, True, 1, None),
        ({"model": replace(MODEL, dropout=True)}, True, 1, "dropout draws anew in every step"),
        ({"recompute": True}, True, 1, "recompute asks for"),
        ({"compile": True}, True, 1, "compile makes graphs of its own"),
        ({"identity_every": 2}, True, 1, "identity_every makes steps differ"),
        ({"r1_every": 2}, True, 1, None),
        ({"lambda_r1": 1.0}, True, 1, None),
        ({"lambda_r1": 1.0, "r1_every": 2}, True, 1, "r1_every makes steps differ"),
        ({"fused_adam": False}, True, 1, "without fused_adam"),
        ({}, False, 1, "preprocess none gives pictures of several sizes"),
        ({}, True, 2, "several processes"),
    ],
)
def test_what_can_not_be_recorded(settings, crops, world_size, reason):
    found = find_obstacle(make_config(**settings), crops=crops, world_size=world_size)
    assert found is None if reason is None else str(found).startswith(reason)


def test_on_the_cpu_it_is_left_out_without_a_word(caplog):
    with caplog.at_level(logging.DEBUG, "cyclegan_core"):
        one, other = (make_trainer(cuda_graph=on) for on in (True, False))
        for trainer in (one, other):
            take_steps(trainer, 2)
    assert not one.graph.is_wanted
    assert caplog.records == []
    assert_same(everything(one), everything(other))


@pytest.mark.parametrize("name", sorted(set(CASES) - {"fp16", "bf16", "clip", "no adversary"}))
def test_refilled_tensors_give_the_same_steps(name, monkeypatch):
    """As a replay reads them: always the same tensors, with other contents."""
    fresh, refilled = make_trainer(**CASES[name]), make_trainer(**CASES[name])
    graph, places = StepGraph(refilled.state, None), set()

    def run(inputs):
        static = graph.refill(inputs)
        places.add(tuple(tensor.data_ptr() for tensor in static))
        return refilled_run(static)

    refilled_run = refilled.graph.run
    monkeypatch.setattr(refilled.graph, "run", run)
    for trainer in (fresh, refilled):
        take_steps(trainer, 3)
    assert len(places) == 1
    assert_same(everything(fresh), everything(refilled))


def test_another_shape_is_noticed():
    trainer = make_trainer()
    graph = StepGraph(trainer.state, None)
    for size, fits in ((1, True), (1, True), (2, False)):
        inputs = host_inputs(trainer, size)
        assert (graph.refill(inputs) is not None) == fits
    graph.forget()
    assert graph.refill(host_inputs(trainer, 2)) is not None


class Played:
    """Stands for a recording where there is no GPU: a replay does the work again, or nearly."""

    def __init__(self, work, fault: str) -> None:
        self.work, self.fault = work, fault
        self.row = torch.zeros(())
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        if self.fault == "does nothing":
            return
        self.row.copy_(self.work())
        if self.fault == "leaves a network out":
            gen_ba = self.work.args[0].model.gen_ba
            gen_ba.load_state_dict({k: v + 0.001 for k, v in gen_ba.state_dict().items()})


@pytest.fixture
def without_gpu(monkeypatch):
    """Recordings that are played by the processor; returns those that were made."""
    made = []

    def record(work, _):
        played = Played(work, made.fault)
        played.row = torch.full((len(term_names(work.args[0].config)) + 4,), 7.0)
        made.append(played)
        return played, played.row

    class Made(list):
        fault = ""

    made = Made()
    place = "cyclegan_core.training.step_graph"
    monkeypatch.setattr(f"{place}.record", record)
    monkeypatch.setattr(f"{place}.on_side_stream", lambda work, _: work())
    monkeypatch.setattr("torch.cuda.device", lambda _: nullcontext())
    return made


@pytest.mark.parametrize("name", ["paper", "warm-up", "noise"])
def test_a_faithful_recording_is_kept(name, without_gpu, caplog):
    one, other = (make_trainer(**CASES[name]) for _ in range(2))
    one.graph.is_wanted = True
    for trainer in (one, other):
        take_steps(trainer, 7)
    (played,) = without_gpu
    assert one.graph.graph is played
    # Two steps of a warm-up and three before the recording are none of them; one is the check.
    assert played.replays == 7 - 3 + 1 - one.config.warmup_steps
    assert caplog.records == []
    assert_same(everything(one), everything(other))


@pytest.mark.parametrize("fault", ["does nothing", "leaves a network out"])
def test_a_recording_that_differs_is_given_up(fault, without_gpu, caplog):
    without_gpu.fault = fault
    one, other = (make_trainer() for _ in range(2))
    one.graph.is_wanted = True
    for trainer in (one, other):
        take_steps(trainer, 6)
    assert [played.replays for played in without_gpu] == [1]
    assert one.graph.graph is None
    assert "without a CUDA graph (the recorded step differs from the same step unc" in caplog.text
    assert_same(everything(one), everything(other))


def test_what_can_not_be_recorded_after_all_is_said(without_gpu, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("CUDA error: operation not permitted\nand so on")

    monkeypatch.setattr("cyclegan_core.training.step_graph.record", fail)
    one, other = (make_trainer() for _ in range(2))
    one.graph.is_wanted = True
    for trainer in (one, other):
        take_steps(trainer, 5)
    assert "(CUDA error: operation not permitted): slower, and the same" in caplog.text
    assert_same(everything(one), everything(other))


def host_inputs(trainer: Trainer, size: int):
    return draw_inputs(trainer.state, *make_batch(1, size=size), torch.Generator())


@pytest.mark.skipif(torch.__version__ < (2, 8), reason="torch 2.7 asks a GPU about a fake one, too")
def test_a_step_stays_on_the_gpu():
    """Torch knows the device of every result without a GPU; mixing it with the CPU would fail."""
    with FakeTensorMode(), torch.device("cuda"):
        model, average = (CycleGAN(replace(MODEL, norm="batch")) for _ in range(2))
        scale, pool = LossScale(active=True, device="cuda"), ImagePool(2, random.Random(0))
        images, flag = torch.empty(2, 3, 16, 16), torch.empty((), dtype=torch.bool)
        for _ in range(3):
            exchange = pool.decide(2).to("cuda")
            shown = pool.show(images, exchange)
            pool.keep(images, exchange, sound=flag)
        for weight in model.parameters():
            weight.grad = torch.empty_like(weight)
        scale.unscale(model.parameters())
        norm = total_norm(list(model.parameters()))
        norms, names = [norm, total_norm([weight])], term_names(make_config())
        row, skip = check_finite({"gan_ab": images.mean()}, names, norms, scale, flag)
        update_average(average, model, torch.where(skip, 0.0, torch.empty(())))
    assert {tensor.device.type for tensor in (shown, row, skip, norm)} == {"cuda"}
    assert (shown.shape, row.shape) == ((2, 3, 16, 16), (len(names) + 4,))


# --- on a GPU ----------------------------------------------------------------------------------

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


@pytest.fixture
def exact(monkeypatch):
    """One algorithm for each convolution, and sums in one order: padding's gradients, too."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@needs_gpu
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("name", CASES)
def test_replay_is_the_same_step_bit_for_bit(name):
    one, other = (make_trainer("cuda", **CASES[name], cuda_graph=on) for on in (True, False))
    for trainer in (one, other):
        take_steps(trainer, 9)
    assert one.graph.graph is not None
    assert other.graph.graph is None
    assert_same(everything(one), everything(other))


@needs_gpu
@pytest.mark.usefixtures("exact")
def test_a_loaded_state_is_recorded_anew(tmp_path):
    one, other = (make_trainer("cuda", cuda_graph=on) for on in (True, False))
    for trainer in (one, other):
        take_steps(trainer, 6)
        trainer.save_state(tmp_path / "state.safetensors")
        take_steps(trainer, 2)
        trainer.load_state(tmp_path / "state.safetensors")
        take_steps(trainer, 6)
    assert one.graph.graph is not None
    assert_same(everything(one), everything(other))
    one.release()
    assert one.graph.graph is None


@needs_gpu
def test_another_shape_goes_on_without_it(caplog):
    trainer = make_trainer("cuda")
    take_steps(trainer, 5)
    with caplog.at_level(logging.WARNING, "cyclegan_core"):
        trainer.train_step(*make_batch(1, side=24))
        trainer.read()
    assert "without a CUDA graph (a batch has another shape than the first)" in caplog.text
    assert (trainer.graph.graph, len(trainer.history)) == (None, 6)


@needs_gpu
@pytest.mark.parametrize("cuda_graph", [True, False])
def test_between_readings_nothing_waits(cuda_graph):
    trainer = make_trainer("cuda", cuda_graph=cuda_graph, read_every=100)
    take_steps(trainer, 5)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the mode is an experiment
            torch.cuda.set_sync_debug_mode("error")
        for number in range(3):
            trainer.train_step(*make_batch(number))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.read()
    assert len(trainer.history) == 8
