"""Streaming's peak memory, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import torch
from pathlib import Path
from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.streaming.plan import StreamPlan
from cyclegan_core.streaming.stream import stream

def status(name):
    (line,) = (l for l in open("/proc/self/status") if l.startswith(name + ":"))
    return int(line.split()[1]) * 1024

torch.set_num_threads(1)
config = ModelConfig(num_blocks=1)
network = CycleGAN(config, directions=["a_to_b"]).generator("a_to_b")
plan = StreamPlan(dtype={dtype}, strip_bytes=16 * 2**20)
def run(picture):
    stream(network, config, TensorRows(picture), TensorRows(torch.ones_like(picture)), plan)
run(torch.rand(3, 64, 64))
picture = torch.rand(3, 512, 512)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
run(picture)
print(status("VmHWM") - before - picture.numel() * 4)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts this way")
@pytest.mark.parametrize(("dtype", "maps"), [("None", 128), ("torch.bfloat16", 64)])
def test_peak_bytes_per_pixel(dtype: str, maps: int) -> None:
    command = [sys.executable, "-c", SCRIPT.replace("{dtype}", dtype)]
    root = Path(__file__).parents[3]
    pixels = 512 * 512
    # The two maps, the strip, and what the libraries keep: weights in their own order and scratch
    # memory, 30 MB were seen. One map of full size would be 34 or 67 MB more.
    limit = maps * pixels + (16 + 48) * 2**20
    peaks: list[int] = []
    # What the allocator keeps of freed memory differs by 30 MB from process to process.
    while len(peaks) < 3 and min(peaks, default=limit) >= limit:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)
        peaks.append(int(done.stdout))
    assert min(peaks) < limit, peaks
