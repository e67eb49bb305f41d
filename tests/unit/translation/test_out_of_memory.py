"""Memory that runs out, for real: the translation goes on in a smaller way, or says so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch

from cyclegan_core import CycleGANError, ModelConfig
from cyclegan_core.device.memory import is_out_of_memory
from cyclegan_core.translation.plan import Plan, TranslateSettings, Workload
from cyclegan_core.translation.translate import Translation

from ..processes import environment

PAPER = ModelConfig()

LIMITED = """
import logging, re, resource, sys
from pathlib import Path
import torch
from cyclegan_core import CycleGAN, CycleGANError, ModelConfig
from cyclegan_core.translation.plan import Limits

torch.set_num_threads(1)
logging.basicConfig(format="log: %(message)s", stream=sys.stdout)
model = CycleGAN(ModelConfig(num_blocks=0), directions=["a_to_b"]).eval()
images = torch.rand(1, 3, 1200, 512)
whole = model.translate(images, memory="whole")
model.translate(images[..., :64, :64], memory="streamed")
everything = Limits(free_bytes=10**12)  # so that only the real limit decides

def translate(megabytes, memory):
    status = Path("/proc/self/status").read_text()
    size = int(re.search(r"VmSize:\\s*(\\d+)", status)[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + megabytes * 2**20, -1))
    try:
        result = model.translate(images, memory=memory, limits=everything)
        print(megabytes, memory, float((result - whole).abs().max()) <= 2e-5)
    except CycleGANError as error:
        print(megabytes, memory, error)
        found = re.search(r"about (\\d+)×(\\d+) would fit", str(error))
        if found:
            width, height = map(int, found.groups())
            part = images[..., :height, :width]
            print(model.translate(part, memory="whole", limits=everything).shape == part.shape)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))

translate(265, "auto")
translate(265, "whole")
translate(20, "auto")
translate(4000, "auto")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_out_of_memory_goes_on_in_strips_and_ends_in_a_sentence() -> None:
    """The limit is a real one; 600,000 pixels take 320 MB whole, 79 MB of maps in strips.

    The first layers take 250 MB, so what fails in one pass is the last padding's large map: where
    small allocations fail, oneDNN crashes.
    """
    # Each large block is then given back at once: what the allocator kept of the first translation
    # was room enough for the second one, sometimes.
    exact = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        env=environment() | exact,
        capture_output=True,
        text=True,
        check=True,
    )
    large, small = (f"in strips of {size} MB with maps in device memory" for size in (512, 32))
    first = f"log: Out of memory in one pass; going on {large}."
    second = f"log: Out of memory {large}; going on {small}."
    lines = done.stdout.splitlines()
    assert lines[:2] == [first, "265 auto True"]
    assert re.fullmatch(
        r"265 whole A picture of 512×1200 needs 565 MB of memory in one pass beside itself and its "
        r"result, and \d+ MB can be used; about \d+×\d+ would fit, or choose memory 'auto' or "
        r"'streamed', which take it in strips\.",
        lines[2],
    )
    assert lines[3] == "True", "the size that is named does fit"
    assert lines[4:6] == [first, second]
    sentence, last = lines[6:]
    assert sentence == (
        "20 auto A picture of 512×1200 needs 95 MB of memory beside itself and its result, and "
        "that could not be had; make it smaller, or close other programs; the command's --scratch "
        "allows any size."
    )
    assert last == "4000 auto True"


def translation(memory: str) -> Translation:
    return Translation(torch.nn.Linear(1, 1), PAPER, (3, 3), TranslateSettings(memory=memory))


def attempt_all(work: Translation, height: int, width: int, run_out: Callable[[Plan], None]):
    for attempt in work.attempts(work.workload((height, width))):
        with attempt as plan:
            run_out(plan)


@pytest.mark.parametrize("chunk", [2, 1])
def test_whole_pictures_go_one_at_a_time_before_an_error(chunk: int, monkeypatch, caplog) -> None:
    """Only accelerators take several at a time, so that plan is given here."""
    work = translation("whole")
    monkeypatch.setattr(Workload, "plans", lambda _: iter([Plan(chunk), Plan()][2 - chunk :]))
    tried: list[int] = []

    def run_out(plan: Plan) -> None:
        tried.append(plan.chunk)
        raise MemoryError

    with pytest.raises(CycleGANError, match="choose memory 'auto' or 'streamed'"):
        attempt_all(work, 8, 8, run_out)
    assert tried == [2, 1][2 - chunk :]
    assert len(caplog.records) == len(tried) - 1


@pytest.mark.parametrize("memory", ["auto", "whole", "streamed", "thumbnail"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
def test_a_host_knows_that_its_device_ran_out(error: BaseException, memory: str) -> None:
    """ComfyUI frees memory when it sees torch's own class; it shows the text, which is ours."""
    work = translation(memory)

    def run_out(_: Plan) -> None:
        raise error

    with pytest.raises(CycleGANError, match=r"A picture of 64×32 needs .* of memory") as caught:
        attempt_all(work, 32, 64, run_out)
    is_device = isinstance(error, torch.OutOfMemoryError)
    assert isinstance(caught.value, torch.OutOfMemoryError) == is_device
    assert caught.value.__context__ is None, "its frames would hold the tensors"


def test_a_size_is_named_even_if_the_figures_say_that_there_is_room() -> None:
    """They are estimates, and memory may be in pieces."""
    for config, advice in (
        (PAPER, "about 44×20 may fit, or choose memory 'auto' or 'streamed', which take it in st"),
        (ModelConfig(generator="unet", num_downs=5), "about 32×32 may fit, or choose a model with"),
    ):
        size = (32, 64) if config is PAPER else (64, 64)
        work = Workload(
            config=config,
            settings=TranslateSettings(memory="whole"),
            device=torch.device("meta"),
            height=size[0],
            width=size[1],
        )
        text = work.too_large()
        assert f"and that could not be had; {advice}" in text


def test_what_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("sizes must match"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory"))  # pinned memory
    assert not is_out_of_memory(KeyboardInterrupt())
