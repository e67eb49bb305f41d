"""What every benchmark shares: options, clocks, sides in turns, the ceiling, the machine, JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses

from cyclegan_core.cli import ask_for_large_pages
from cyclegan_core.device.precision import DTYPES

ask_for_large_pages()  # as the command does; it helps all sides of a comparison

MEGABYTE = 2**20
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_bf16", "sve", "bf16", "i8mm")
"""Those that decide how fast a CPU convolves, by the names that Linux gives them."""

Run = Callable[[], object]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that all benchmarks of the networks have."""
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--json", type=Path, metavar="FILE")


def is_gpu(options: argparse.Namespace) -> bool:
    """Whether the device works on while Python goes on."""
    return torch.device(options.device).type == "cuda"


# --- time --------------------------------------------------------------------------------------


def seconds_of(run: Run, options: argparse.Namespace) -> float:
    """Of one run to its end, by the clock wanted; "processor" adds up all threads."""
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    if is_gpu(options):
        torch.cuda.synchronize()
    start = clock()
    run()
    if is_gpu(options):
        torch.cuda.synchronize()
    return clock() - start


def warm_up_rounds(options: argparse.Namespace) -> int:
    """Rounds after which each is like the one before."""
    return 8 if is_gpu(options) else 1


def in_turns(
    sides: Mapping[str, Run], rounds: int, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds of each side in every round; what else the machine does hits all sides.

    The first rounds are not counted: they choose algorithms, reserve memory and record graphs.
    """
    for _ in range(warm_up_rounds(options)):
        for run in sides.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            seconds[name].append(seconds_of(run, options))
    return seconds


def times_as_fast(seconds: Mapping[str, list[float]], ours: str, theirs: str) -> float:
    """How many times as fast one side is: the median of the ratios of neighbours."""
    pairs = zip(seconds[ours], seconds[theirs], strict=True)
    return median(slow / quick for quick, slow in pairs)


def ceiling(options: argparse.Namespace) -> float:
    """Multiply-adds per second that the device reaches in `options.precision`, by the clock.

    The better of a large matrix product and a large 3×3 convolution of 256 channels: a device may
    round the convolution's numbers and not the product's (TF32), or have a better kernel for one.
    """
    side, pictures = (8192, 64) if is_gpu(options) else (2048, 4)
    like = {"device": options.device, "dtype": DTYPES[options.precision]}
    a = torch.ones(side, side, **like)
    x = torch.ones(pictures, 256, 64, 64, **like).to(memory_format=torch.channels_last)
    weight = torch.ones(256, 256, 3, 3, **like).to(memory_format=torch.channels_last)
    work: dict[float, Run] = {
        side**3: lambda: a @ a,
        x.numel() * weight[0].numel(): lambda: F.conv2d(x, weight, padding=1),
    }
    with torch.inference_mode():
        return max(
            count / min(seconds_of(run, options) for _ in range(5)) for count, run in work.items()
        )


# --- memory ------------------------------------------------------------------------------------


def peak_bytes(build: Callable[[], Run], options: argparse.Namespace) -> int:
    """The most memory, beyond what is in use now, of building something and running it.

    One run more than it takes to warm up: Adam's moments are there only after the first.
    """
    before = resident_peak()
    run = build()
    for _ in range(warm_up_rounds(options) + 1):
        run()
    # Reserved, not allocated: a CUDA graph keeps its memory between replays.
    return torch.cuda.max_memory_reserved() if is_gpu(options) else resident_peak() - before


def resident_peak() -> int:
    """The largest memory this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says here counts the parent process too
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# --- the report --------------------------------------------------------------------------------


def machine(options: argparse.Namespace) -> dict[str, object]:
    """What the numbers belong to, and how busy it was."""
    processor, instructions = _processor()
    return {
        "device": torch.cuda.get_device_name() if is_gpu(options) else processor,
        "processor": processor,
        "cores": os.cpu_count(),
        "instructions": instructions,
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "clock": options.clock,
        "threads": options.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _processor() -> tuple[str, list[str]]:
    """The model's name and those of `INSTRUCTIONS` that it has, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine(), []
    rows = [line.partition(":") for line in info.read_text(encoding="utf-8").splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in rows}
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    name = facts.get("model name", platform.machine())
    return name, [word for word in INSTRUCTIONS if word in flags]


def tell_machine(options: argparse.Namespace) -> None:
    """A line that names the machine above a table."""
    facts = machine(options)
    has = ", ".join(facts["instructions"]) or "instructions unknown"
    print(
        f"{facts['device']} ({facts['cores']} cores: {has}), torch {facts['torch']}, "
        f"{facts['threads']} threads, {facts['clock']} time"
    )


def write_json(options: argparse.Namespace, report: Mapping[str, object]) -> None:
    """The report with the machine, if a file is wanted."""
    if options.json:
        text = json.dumps({"machine": machine(options), **report}, indent=2, default=str)
        options.json.write_text(text + "\n", encoding="utf-8")
