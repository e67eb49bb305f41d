"""What runs on a GPU alone, on a pretended one: the same pictures and steps, in the right order.

At the end stands which test goes each such way; a new one without a test is noticed there.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cyclegan_core import layers
from cyclegan_core.bulk import bulk
from cyclegan_core.cli import train
from cyclegan_core.cli.common import choose_device
from cyclegan_core.cli.computer import doctor
from cyclegan_core.device.graphs import on_side_stream, record
from cyclegan_core.device.memory import free_bytes
from cyclegan_core.device.precision import fastest_dtype
from cyclegan_core.layers import (
    InstanceNorm,
    NarrowConv2d,
    ReflectionPad,
    _mirrored,
    _mirrored_pixels,
    gains_when_narrow,
)
from cyclegan_core.streaming.feature_maps import map_memory
from cyclegan_core.training import step_graph
from cyclegan_core.training.trainer import Trainer
from cyclegan_core.translation import plan, whole_pass
from cyclegan_core.translation.plan import Limits, TranslateSettings
from cyclegan_core.translation.translate import Translation
from cyclegan_core.translation.whole_pass import _kept, fastest_layout

from ..processes import ROOT
from ..test_model import RESNET, make, photo
from ..tiny import make_config, open_folders
from .pretend_gpu import CUDA, Graph, PretendGpu, Streams

NEARLY = {"rtol": 0, "atol": 2e-5}
"""Feature maps lie in another order on a GPU, so that convolutions add up otherwise."""


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    """A pretended GPU for the length of a test."""
    streams = Streams()
    streams.install(monkeypatch)
    with PretendGpu():
        yield streams


# --- pictures ----------------------------------------------------------------------------------


def test_a_long_batch_is_copied_beside_the_work(gpu: Streams, monkeypatch) -> None:
    images = photo(5, 3, 24, 20)
    expected = make().translate(images)
    monkeypatch.setattr(plan, "CHUNK_PIXELS", 2 * 24 * 20)
    result = make().to("cuda").translate(images)
    assert result.device.type == "cpu"
    torch.testing.assert_close(result, expected, **NEARLY)
    started = ["main waits for side 1", "side 2 waits for main", "a mark in side 2"]
    taken = ["the host waits for a mark"]
    ended = [f"the host waits for {name}" for name in ("side 1", "main", "side 2")]
    assert gpu.log == [*started, *started, *taken, *started, *taken, *taken, *ended]


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("channels", [3, 8])
@pytest.mark.parametrize("padding", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("offset", [0, 1])
def test_padding_of_maps_that_stay_channels_last(
    gpu: Streams, size: int, channels: int, padding: int, dtype: torch.dtype, offset: int
) -> None:
    """8 channels are whole words, if they begin at one; a gradient comes back as from torch's."""
    memory = torch.rand(offset + size * 5 * 7 * channels).to(dtype)
    maps = memory[offset:].view(size, 5, 7, channels).permute(0, 3, 1, 2)
    there, here = maps.to("cuda").requires_grad_(), maps.clone().requires_grad_()
    pad = ReflectionPad(padding)
    result, expected = pad(there), pad(here)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result.detach().cpu(), expected.detach())
    with torch.no_grad():
        assert torch.equal(pad(there), result)
    weights = torch.rand(expected.shape).to(dtype)
    (result * weights.to("cuda")).sum().backward()
    (expected * weights).sum().backward()
    # Up to nine numbers below 1, added in another order.
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(there.grad.cpu(), here.grad, rtol=0, atol=16 * eps)


def test_padding_that_is_too_wide_is_refused_as_by_torch(gpu: Streams) -> None:
    maps = photo(1, 3, 3, 7).contiguous(memory_format=torch.channels_last).to("cuda")
    with pytest.raises(RuntimeError, match="adding size should be less than"):
        ReflectionPad(3)(maps)


def test_indices_that_are_kept_serve_a_training_after_a_translation(gpu: Streams) -> None:
    maps = photo(1, 3, 5, 7).contiguous(memory_format=torch.channels_last).to("cuda")
    pad = ReflectionPad(1)
    with torch.inference_mode():
        pad(maps)
    padded = pad(maps.clone().requires_grad_())
    padded.sum().backward()


def test_the_last_convolution_is_narrow_where_maps_are_large(gpu: Streams, monkeypatch) -> None:
    maps = photo(1, 8, 12, 10).contiguous(memory_format=torch.channels_last).to("cuda")
    conv = NarrowConv2d(8, 3, 7).to("cuda")
    assert not gains_when_narrow(maps, conv.weight)
    monkeypatch.setattr(layers, "_FEW_PIXELS", 12 * 10)
    assert not gains_when_narrow(maps, conv.weight)  # a gradient may be wanted
    expected = conv(maps)
    with torch.no_grad():
        assert gains_when_narrow(maps, conv.weight)
        assert not gains_when_narrow(maps.contiguous(), conv.weight)
        torch.testing.assert_close(conv(maps), expected, **NEARLY)


def test_a_recorded_padding_reads_only_what_is_kept_for_good(gpu: Streams) -> None:
    maps = photo(1, 3, 5, 7).contiguous(memory_format=torch.channels_last).to("cuda")
    pad = ReflectionPad(1)
    expected = pad(maps)
    _mirrored_pixels.cache_clear()
    before = _mirrored.cache_info()
    _, result = record(lambda: pad(maps), CUDA)
    assert torch.equal(result, expected)
    assert _mirrored_pixels.cache_info().currsize == 0
    assert (before.maxsize, _mirrored.cache_info().misses) == (None, before.misses)


@pytest.mark.parametrize("affine", [False, True])
def test_norms_of_maps_that_stay_channels_last(gpu: Streams, *, affine: bool) -> None:
    maps = photo(3, 4, 5, 7).contiguous(memory_format=torch.channels_last)
    norm = InstanceNorm(4, affine=affine)
    with torch.no_grad():
        if affine:
            norm.weight.copy_(torch.linspace(0.5, 2, 4))
            norm.bias.copy_(torch.linspace(-1, 1, 4))
        expected = norm(maps.clone(memory_format=torch.preserve_format))
        result = norm.to("cuda")(maps.to("cuda"))
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=2e-6)


def test_pictures_that_are_there_stay_there(gpu: Streams) -> None:
    images = photo(3, 3, 24, 20)
    result = make().to("cuda").translate(images.to("cuda"))
    assert (result.device, gpu.log) == (CUDA, [])
    torch.testing.assert_close(result.cpu(), make().translate(images), **NEARLY)


@pytest.mark.parametrize("pixels", [1, 2**17])
def test_small_pictures_of_a_batch_are_normed_together(
    gpu: Streams, monkeypatch, pixels: int
) -> None:
    monkeypatch.setattr(whole_pass, "_ONE_BY_ONE_PIXELS", pixels)
    model, images = make().to("cuda"), photo(2, 3, 24, 20)
    seen: list[bool] = []

    def see(_module: nn.Module, _inputs: object, maps: Tensor) -> None:
        seen.append(maps.is_contiguous())

    model.gen_ab.model[2].register_forward_hook(see)
    result = model.translate(images.to("cuda"))
    assert seen == [pixels > 1]
    torch.testing.assert_close(result.cpu(), make().translate(images), **NEARLY)


def test_frames_of_a_film_share_their_statistics(gpu: Streams) -> None:
    frames = photo(3, 3, 24, 20)
    film = {"statistics": "shared"}
    result = make().to("cuda").translate(frames.to("cuda"), **film)
    torch.testing.assert_close(result.cpu(), make().translate(frames, **film), **NEARLY)


def test_maps_that_it_can_not_hold_lie_in_page_locked_memory(gpu: Streams) -> None:
    images = photo(1, 3, 40, 24)
    limits = Limits(free_bytes=1, free_host_bytes=10**12)
    settings = TranslateSettings(memory="streamed", limits=limits)
    work = Translation(make().to("cuda").gen_ab, RESNET, (3, 3), settings)
    assert str(next(work.workload((40, 24)).plans())).endswith("with maps in host memory")
    result = work.batch(images, lambda *_: None)
    torch.testing.assert_close(result, make().translate(images), **NEARLY)
    strip = torch.rand(1, 2, 3, 4, device="cuda")
    with map_memory(24, strip, "host") as memory:
        held = memory.map((2, 3, 4))
        held.write(0, strip)
        assert memory._numbers.is_pinned()
        assert (memory._numbers.device.type, held.read(1, 3).device) == ("cpu", CUDA)
        assert torch.equal(held.read(1, 3), strip[:, :, 1:3])


def test_after_running_out_of_memory_its_cache_is_emptied(gpu: Streams, monkeypatch) -> None:
    network = make().to("cuda").gen_ab
    images = photo(4, 3, 16, 12)
    monkeypatch.setattr(plan, "CHUNK_PIXELS", 2 * 16 * 12)

    def run_out(_: object, inputs: tuple[Tensor]) -> None:
        if len(inputs[0]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    network.register_forward_pre_hook(run_out)
    result = Translation(network, RESNET, (3, 3), TranslateSettings()).batch(
        images, lambda *_: None
    )
    torch.testing.assert_close(result, make().translate(images), **NEARLY)
    assert gpu.log.count("the cache is emptied") == 1


def test_its_free_memory_is_what_torch_can_still_give(gpu: Streams) -> None:
    gpu.free, gpu.reserved, gpu.allocated = 600, 300, 100
    assert free_bytes(CUDA) == 800


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_its_half_precision_is_measured(gpu: Streams, monkeypatch, *, has_bfloat16: bool) -> None:
    half = torch.bfloat16 if has_bfloat16 else torch.float16
    gpu.bfloat16 = has_bfloat16
    monkeypatch.setattr("cyclegan_core.device.precision._SECONDS", 0.01)
    assert fastest_dtype.__wrapped__(CUDA) in (torch.float32, half)
    assert gpu.log.count("the host waits") >= 4
    weights = torch.zeros(1, device="cuda")
    assert fastest_layout(weights, half) == torch.channels_last
    assert fastest_layout(weights, None) == torch.channels_last


@pytest.mark.parametrize("reason", ["an older GPU", "all digits", "all digits, since torch 2.9"])
def test_float32_lies_as_ever_without_tf32(gpu: Streams, monkeypatch, request, reason: str) -> None:
    if reason == "an older GPU":
        gpu.capability = 7, 5
    elif reason == "all digits":
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    elif not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("torch is older")
    else:
        convolutions = torch.backends.cudnn.conv
        as_ever = convolutions.fp32_precision
        request.addfinalizer(lambda: setattr(convolutions, "fp32_precision", as_ever))
        convolutions.fp32_precision = "ieee"
    weights = torch.zeros(1, device="cuda")
    assert fastest_layout(weights, None) == torch.contiguous_format
    assert fastest_layout(weights, torch.float16) == torch.channels_last


class Played(Graph):
    """A recording that does its work again."""

    def __init__(self, work: Callable[[], Tensor], output: Tensor) -> None:
        self.work, self.output, self.replays = work, output, 0

    def replay(self) -> None:
        self.replays += 1
        self.output.copy_(self.work())


@pytest.mark.parametrize("speedup", ["graph", "compile"])
def test_a_recorded_pass_is_replayed_while_the_weights_stay(
    gpu: Streams, monkeypatch, speedup: str
) -> None:
    """What is compiled is recorded as well; a compiler makes nothing of a pretended GPU."""
    played: list[Played] = []

    def record(work: Callable[[], Tensor], device: torch.device) -> tuple[Played, Tensor]:
        assert device == CUDA
        played.append(Played(work, work()))
        return played[-1], played[-1].output

    monkeypatch.setattr(whole_pass, "record", record)
    monkeypatch.setattr(torch, "compile", lambda network, **_: network.forward)
    model, images = make().to("cuda"), photo(3, 3, 16, 12).to("cuda")
    for part in (images, images.flip(0)):
        assert torch.equal(model.translate(part, speedup=speedup), model.translate(part))
    assert [graph.replays for graph in played] == [2]
    assert gpu.log == ["side 1 waits for main", "main waits for side 1"]
    for size in (1, 2):  # two are kept
        model.translate(images[:size], speedup=speedup)
    assert [key[1][0] for key in _kept(model.gen_ab).graphs] == [1, 2]
    model.translate(images[:2], speedup=speedup, dtype=torch.bfloat16)  # another one
    assert len(played) == 4


def test_a_pass_that_can_not_be_recorded_is_told_once(gpu: Streams, monkeypatch, caplog) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("CUDA error: operation not permitted\nand so on")

    monkeypatch.setattr(whole_pass, "record", fail)
    model, images = make().to("cuda"), photo(1, 3, 16, 12).to("cuda")
    with caplog.at_level(logging.WARNING):
        results = [model.translate(images, speedup="graph") for _ in range(2)]
    assert all(torch.equal(result, model.translate(images)) for result in results)
    (said,) = (record.getMessage() for record in caplog.records)
    assert "can be recorded (CUDA error: operation not permitted); translating without" in said


# --- recordings --------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_work_on_a_side_stream_waits_and_is_waited_for(gpu: Streams, *, fails: bool) -> None:
    def work() -> Tensor:
        gpu.log.append(f"work on {gpu.current.name}")
        if fails:
            raise RuntimeError("CUDA error")
        return torch.ones(1)

    with suppress(RuntimeError):
        on_side_stream(work, CUDA)
    assert gpu.log == ["side 1 waits for main", "work on side 1", "main waits for side 1"]


@pytest.mark.parametrize("fails", [False, True])
def test_after_a_recording_the_stream_is_the_one_before(gpu: Streams, *, fails: bool) -> None:
    def work() -> Tensor:
        if fails:
            raise RuntimeError("CUDA error")
        return torch.ones(1)

    with suppress(RuntimeError):
        graph, output = record(work, CUDA)
        assert (type(graph), output.item()) == (Graph, 1)
    assert gpu.log == ["recording on side 1"]
    assert gpu.current is gpu.main


# --- training ----------------------------------------------------------------------------------


def test_a_training_there_is_the_same(gpu: Streams, monkeypatch, pictures: Path) -> None:
    """With page-locked batches, a rate that lies on the device, and a recording of its steps."""
    played: list[Played] = []

    def record(work: Callable[[], Tensor], _: torch.device) -> tuple[Played, Tensor]:
        row = torch.zeros(len(one.term_names) + 4, device="cuda")
        played.append(Played(work, row))
        return played[-1], row

    monkeypatch.setattr(step_graph, "record", record)
    settings = {"max_steps": 6, "channels_last": "off", "winograd": False}
    one = Trainer(make_config(**settings), open_folders(pictures), device="cuda")
    other = Trainer(make_config(**settings), open_folders(pictures))
    pinned: list[bool] = []
    step = one.train_step

    def watch(real_a: Tensor, real_b: Tensor) -> object:
        pinned.append(real_a.is_pinned() and real_b.is_pinned())
        return step(real_a, real_b)

    monkeypatch.setattr(one, "train_step", watch)
    for trainer in (one, other):
        trainer.run()
    assert (one.read_every, other.read_every) == (10, 1)
    assert {weight.device for weight in one.model.parameters()} == {CUDA}
    assert one.state.opt_gen.param_groups[0]["lr"].device == CUDA
    assert pinned == [True] * 6
    assert [graph.replays for graph in played] == [4], "one of them checks the recording"
    # A rate on the device is of float32, and Adam moves by it where gradients are all but nothing.
    losses = [torch.stack(trainer.history) for trainer in (one, other)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)
    ours, theirs = one.export().gen_ab, other.export().gen_ab
    torch.testing.assert_close(ours.model[1].weight, theirs.model[1].weight, rtol=0, atol=1e-6)
    assert ours.model[1].weight.device.type == "cpu"


# --- commands ----------------------------------------------------------------------------------


def test_commands_take_it_and_the_doctor_knows_it(gpu: Streams) -> None:
    assert choose_device("auto") == torch.device("cuda")
    gpu.free = 123
    found = [doctor._describe(device) for device in doctor._devices()]
    assert [each["device"] for each in found] == ["cpu", "cuda:0"]
    assert (found[1]["name"], found[1]["free_bytes"]) == ("Pretended GPU", 123)
    assert "threads" not in found[1]


def test_an_actor_computes_on_the_one_it_is_shown(gpu: Streams, monkeypatch) -> None:
    for shown, device in ([], "cpu"), ([0], "cuda"):
        monkeypatch.setattr(bulk.ray, "get_gpu_ids", lambda shown=shown: shown)
        assert bulk._device() == torch.device(device)


def test_each_rank_has_its_own(gpu: Streams, monkeypatch) -> None:
    told: list[object] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.set_device", told.append)
    monkeypatch.setattr("torch.distributed.init_process_group", lambda how, **_: told.append(how))
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: told.append("over"))
    with train._process_group() as device:
        assert device == torch.device("cuda", 1)
    assert told == [device, "cpu:gloo,cuda:nccl", "over"]


# --- which test goes which way -----------------------------------------------------------------

HERE = "device/test_gpu_paths.py"
GRAPH = "training/test_step_graph.py"
A_BATCH = f"{HERE}::test_a_long_batch_is_copied_beside_the_work"
A_TRAINING = f"{HERE}::test_a_training_there_is_the_same"
FILM = f"{HERE}::test_frames_of_a_film_share_their_statistics"
STRIPS = f"{HERE}::test_maps_that_it_can_not_hold_lie_in_page_locked_memory"
MEASURED = f"{HERE}::test_its_half_precision_is_measured"

WAYS = {
    "bulk/bulk.py::_Plan.block_bytes": "bulk/test_worker.py::test_blocks_are_bounded_by_bytes",
    "bulk/bulk.py::_device": f"{HERE}::test_an_actor_computes_on_the_one_it_is_shown",
    "cli/common.py::choose_device": f"{HERE}::test_commands_take_it_and_the_doctor_knows_it",
    "cli/computer/doctor.py::examine": "cli/test_doctor.py::test_it_knows_this_computer",
    "cli/computer/doctor.py::_devices": f"{HERE}::test_commands_take_it_and_the_doctor_knows_it",
    "cli/computer/doctor.py::_describe": f"{HERE}::test_commands_take_it_and_the_doctor_knows_it",
    "cli/train.py::_process_group": f"{HERE}::test_each_rank_has_its_own",
    "data/loader.py::Batches._collate": A_TRAINING,
    "device/graphs.py::on_side_stream": (
        f"{HERE}::test_work_on_a_side_stream_waits_and_is_waited_for"
    ),
    "device/graphs.py::record": f"{HERE}::test_after_a_recording_the_stream_is_the_one_before",
    "device/memory.py::free_bytes": f"{HERE}::test_its_free_memory_is_what_torch_can_still_give",
    "device/precision.py::_candidate": MEASURED,
    "device/precision.py::_times_as_fast": MEASURED,
    "device/precision.py::_wait": MEASURED,
    "layers.py::InstanceNorm.forward": A_BATCH,
    "layers.py::ReflectionPad.forward": (f"{HERE}::test_padding_of_maps_that_stay_channels_last"),
    "layers.py::RuledNorm.forward": FILM,
    "layers.py::_is_eager_on_cpu": A_BATCH,
    "layers.py::_is_quick_place": A_BATCH,
    "layers.py::_is_read_only_on_gpu": A_BATCH,
    "layers.py::_normed": A_BATCH,
    "layers.py::_pad_channels_last": (
        f"{HERE}::test_a_recorded_padding_reads_only_what_is_kept_for_good"
    ),
    "streaming/feature_maps.py::_TensorMemory.__init__": STRIPS,
    "streaming/feature_maps.py::_TensorMemory.map": STRIPS,
    "streaming/feature_maps.py::_TensorMap.__init__": STRIPS,
    "streaming/feature_maps.py::_TensorMap.read": STRIPS,
    "streaming/feature_maps.py::_TensorMap.write": STRIPS,
    "streaming/norm_statistics.py::Moments.__init__": STRIPS,
    "streaming/strip_layers.py::Normalisation.__call__": STRIPS,
    "streaming/norm_statistics.py::Moments._of": STRIPS,
    "streaming/norm_statistics.py::Moments.update": STRIPS,
    "training/losses.py::gains_by_sharing": A_TRAINING,
    "training/optimiser.py::new_adam": A_TRAINING,
    "training/optimiser.py::move": A_TRAINING,
    "training/state.py::TrainState.create": A_TRAINING,
    "training/state.py::seeded": A_TRAINING,
    "training/step_graph.py::StepGraph.__init__": A_TRAINING,
    "training/step_graph.py::StepGraph.forget": f"{GRAPH}::test_another_shape_is_noticed",
    "training/step_graph.py::StepGraph.run": A_TRAINING,
    "training/trainer.py::Trainer.read_every": A_TRAINING,
    "training/trainer.py::Trainer.run": A_TRAINING,
    "translation/overlap.py::CudaStreams.on": A_BATCH,
    "translation/overlap.py::CudaStreams.start": A_BATCH,
    "translation/overlap.py::CudaStreams.synchronize": A_BATCH,
    "translation/overlap.py::_fetched": A_BATCH,
    "translation/plan.py::Workload.plans": STRIPS,
    "translation/plan.py::Workload._room_on": STRIPS,
    "translation/translate.py::Translation.attempts": (
        f"{HERE}::test_after_running_out_of_memory_its_cache_is_emptied"
    ),
    "translation/translate.py::Translation.batch": A_BATCH,
    "translation/whole_pass.py::_record": (
        f"{HERE}::test_a_recorded_pass_is_replayed_while_the_weights_stay"
    ),
    "translation/whole_pass.py::_compiled_pass": (
        f"{HERE}::test_a_recorded_pass_is_replayed_while_the_weights_stay"
    ),
    "translation/whole_pass.py::_has_tf32": (f"{HERE}::test_float32_lies_as_ever_without_tf32"),
    "translation/whole_pass.py::fastest_layout": MEASURED,
    "translation/whole_pass.py::whole_pass": (
        f"{HERE}::test_a_recorded_pass_is_replayed_while_the_weights_stay"
    ),
}
"""Every function of the library that goes another way on a GPU, and a test of that way."""

CHOSEN = "host/test_lease.py::test_what_is_chosen_on_a_gpu"
LENT = "host/test_lease.py::test_a_model_left_half_on_the_cpu_is_made_whole"

NODES_WAYS = {
    "host/gpu.py::_auto_dtype": CHOSEN,
    "host/gpu.py::_dtype_of": CHOSEN,
    "host/gpu.py::_patcher": LENT,
    "host/gpu.py::gpu_dtype": CHOSEN,
    "host/gpu.py::lease": LENT,
    "host/gpu.py::limits": CHOSEN,
    "host/gpu.py::training_device": CHOSEN,
    "host/gpu.py::training_dtype": CHOSEN,
    "host/gpu.py::trains_on_cpu": CHOSEN,
    "host/images.py::to_bhwc": CHOSEN,
    "training/train.py::_Session._before": "unit/runs/test_pace.py::test_what_to_expect",
    "training/train.py::_Session._estimate": "unit/runs/test_pace.py::test_what_to_expect",
}
"""The same of the nodes, in a real ComfyUI whose GPU is torch's device "meta"."""

_ASKS = re.compile(
    r"'cuda(?!_graph)|torch\.cuda|pin_memory|is_pinned|device\.type (==|!=|in|not in) "
    r"|\.get\(\w+\.device"
)
_ASKS_HOST = re.compile(r"device\.type (==|!=) |\bmm\.(?!throw_|interrupt_)")


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The name of each function or method, and its text without comments and docstring."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            body = child.body[1:] if ast.get_docstring(child) else child.body
            yield prefix + child.name, "\n".join(map(ast.unparse, body))


@pytest.mark.parametrize(
    ("package", "asks", "ways", "tests"),
    [
        ("cyclegan_core", _ASKS, WAYS, ROOT / "tests" / "unit"),
        ("nodes", _ASKS_HOST, NODES_WAYS, ROOT / "tests"),
    ],
    ids=["core", "nodes"],
)
def test_every_way_of_a_gpu_has_a_test(
    package: str, asks: re.Pattern[str], ways: dict[str, str], tests: Path
) -> None:
    found = {
        f"{path.relative_to(ROOT / package).as_posix()}::{name}"
        for path in (ROOT / package).rglob("*.py")
        for name, text in _functions(ast.parse(path.read_text(encoding="utf-8")))
        if asks.search(text)
    }
    assert found == set(ways)
    for test in set(ways.values()):
        path, name = test.split("::")
        assert f"def {name}(" in (tests / path).read_text(encoding="utf-8")
