"""A training step of this trainer against the plain implementation in tests/parity, in one run.

    python benchmarks/train_step.py [--cases resnet_9@256 resnet_6@128] [--steps 5] [--json FILE]
                                    [--device cuda] [--threads 2] [--clock processor]
                                    [--norm written-out] [--precision bf16]
                                    [--set channels_last=on fused_adam=false ...]

Batch of 1, pool of 50, least squares, identity: the paper's step, in float32 on the plain side;
ours averages its generators too, as it does by default. `--precision` and `--set` are settings of
ours; `--set batch_passes=false fused_adam=false` is the parity path. The sides take turns, so what
else the machine does hits both; told are the median step of each and the median of the ratios of
neighbours. `--clock processor` adds up the time of all threads and is fair on a busy machine.
Memory is measured in processes of their own: the peak beyond what the imports need. Arithmetic is
the convolutions' multiply-adds; the ceiling is a large matrix product in our side's precision.

The plain side writes its instance norm out with means and variances, which autograd makes 12 to
23 % slower than torch's. That would flatter us, so by default it is given torch's here.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import ModuleType

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses

from cyclegan_core import DataConfig, ModelConfig, TrainConfig, Trainer
from cyclegan_core.networks import PatchDiscriminator, build_generator

ROOT = Path(__file__).parents[1]
MEGABYTE = 2**20
Step = Callable[[], object]


def main() -> None:
    """Time and measure every case; print a table, and write it if wanted."""
    options = parse()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        (case,) = options.cases
        print(peak_bytes(options.memory_of, case, options))
        return
    rows = [measure(case, options) for case in options.cases]
    print(
        f"{'':14}{'ours':>12}{'plain':>12}{'faster':>8}{'ours':>12}{'plain':>12}{'ratio':>8}"
        f"{'GMAC':>8}{'of ceiling':>12}"
    )
    for row in rows:
        (s, t), (m, n) = row["seconds"].values(), row["megabytes"].values()
        print(
            f"{row['case']:14}{s:10.3f} s{t:10.3f} s{row['speedup']:7.2f}×"
            f"{m:9.0f} MB{n:9.0f} MB{m / n:8.2f}"
            f"{row['giga_multiply_adds']:8.0f}{row['share_of_ceiling']:12.0%}"
        )
    if options.json:
        report = {"machine": machine(options), "norm_of_plain": options.norm, "cases": rows}
        report["settings"] = settings_of(options)
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=["resnet_9@256", "resnet_6@128"])
    parser.add_argument("--channels", type=int, default=64, help="the paper's 64, or fewer")
    parser.add_argument("--steps", type=int, default=5, help="steps of each side that are timed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--norm", choices=["torch", "written-out"], default="torch")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="of TrainConfig")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--memory-of", choices=["ours", "plain"], help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(case: str, options: argparse.Namespace) -> dict:
    """Seconds of both sides in turns, and megabytes of each alone."""
    sides = {name: make(case, options) for name, make in MAKERS.items()}
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(options.steps + 1):
        for name, step in sides.items():
            start = clock()
            step()
            if is_gpu(options):
                torch.cuda.synchronize()
            if number > 0:  # the first one chooses algorithms and reserves memory
                seconds[name].append(clock() - start)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["plain"], strict=True)]
    return {
        "case": case,
        "steps": options.steps,
        "seconds": {name: median(times) for name, times in seconds.items()},
        "seconds_ratio": median(ratios),
        "speedup": 1 / median(ratios),
        "giga_multiply_adds": multiply_adds(case, options.channels) / 1e9,
        "share_of_ceiling": multiply_adds(case, options.channels)
        / median(seconds["ours"])
        / ceiling(options),
        "megabytes": {name: memory_of(name, case, options) / MEGABYTE for name in sides},
    }


def settings_of(options: argparse.Namespace) -> dict[str, object]:
    """Our side's settings: values are JSON where they can be (true, 2, null), else text."""
    settings: dict[str, object] = {"precision": options.precision}
    for pair in options.set:
        name, _, value = pair.partition("=")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def multiply_adds(case: str, channels: int) -> float:
    """Of the convolutions of a plain step, counted by running a pass of each network.

    A generator passes six times, each a convolution forwards and two gradients; discriminators two
    times without the gradient of their weights, and four times with it.
    """
    blocks, side = sizes(case)
    model = ModelConfig(num_blocks=blocks, base_channels=channels, image_size=side)
    generator = count(build_generator(model, "a_to_b"), side)
    judge = count(PatchDiscriminator(3, base_channels=channels), side)
    return 6 * 3 * generator + (2 * 2 + 4 * 3) * judge


def count(network: torch.nn.Module, side: int) -> float:
    """Multiply-adds of a pass over one picture, from the shapes that meet in it."""
    total = 0

    def note(layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        (x,) = inputs
        pixels = x if isinstance(layer, torch.nn.ConvTranspose2d) else output
        total += layer.weight.numel() * pixels[0, 0].numel()

    for layer in network.to("meta").modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            layer.register_forward_hook(note)
    network(torch.empty(1, 3, side, side, device="meta"))
    return float(total)


def ceiling(options: argparse.Namespace) -> float:
    """Multiply-adds per second of a large matrix product in our side's precision, by the clock."""
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    a = torch.rand(2048, 2048, device=options.device).to(kind[options.precision])
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    seconds: list[float] = []
    for _ in range(5):
        start = clock()
        (a @ a).sum().item()
        seconds.append(clock() - start)
    return 2048**3 / min(seconds)


def is_gpu(options: argparse.Namespace) -> bool:
    """Whether steps run on while Python goes on."""
    return torch.device(options.device).type == "cuda"


def sizes(case: str) -> tuple[int, int]:
    """Blocks and pixels: `resnet_9@256` is 9 and 256."""
    blocks, side = case.removeprefix("resnet_").split("@")
    return int(blocks), int(side)


def pictures(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    """One of each domain in [0,1]."""
    side = sizes(case)[1]
    a, b = torch.rand(2, 1, 3, side, side, generator=torch.Generator().manual_seed(1))
    return a, b


def make_ours(case: str, options: argparse.Namespace) -> Step:
    """The trainer's step."""
    blocks, side = sizes(case)
    model = ModelConfig(num_blocks=blocks, base_channels=options.channels, image_size=side)
    settings = settings_of(options)
    config = TrainConfig(model=model, disc_channels=options.channels, **settings)
    trainer = Trainer(config, ByHand(side), device=options.device)
    a, b = pictures(case)
    return lambda: trainer.train_step(a, b)


def make_plain(case: str, options: argparse.Namespace) -> Step:
    """The plain implementation's step."""
    plain, training = plain_modules(options.norm)
    rng = torch.Generator().manual_seed(0)
    judge = plain.Arch(width=options.channels)
    arch = plain.Arch(num_blocks=sizes(case)[0], width=options.channels)
    networks = {name: plain.resnet_params(arch, rng) for name in ("gen_ab", "gen_ba")}
    networks |= {name: plain.patch_params(judge, rng) for name in ("disc_a", "disc_b")}
    for params in networks.values():
        params |= {key: tensor.to(options.device) for key, tensor in params.items()}
    pools = tuple(training.ImagePool(50, random.Random(0)) for _ in "ab")
    state = training.make_state(networks, generator=arch, discriminator=judge, pools=pools)
    del networks
    a, b = ((picture * 2 - 1).to(options.device) for picture in pictures(case))
    return lambda: training.plain_step(state, a, b)


MAKERS = {"ours": make_ours, "plain": make_plain}


class ByHand:
    """What a trainer asks of its data when it is stepped by hand."""

    digest = "by hand"

    def __init__(self, side: int) -> None:
        self.config = DataConfig(load_size=side, crop_size=side)

    def __len__(self) -> int:
        return 1000


def plain_modules(norm: str) -> tuple[ModuleType, ModuleType]:
    """tests/parity/plain.py and plain_training.py, by path, with the instance norm wanted."""
    package = ModuleType("plain_implementation")
    package.__path__ = [str(ROOT / "tests" / "parity")]
    sys.modules["plain_implementation"] = package
    plain = importlib.import_module("plain_implementation.plain")
    if norm == "torch":
        written_out = plain.norm

        def fast(p: dict, key: str, x: torch.Tensor, arch: object, *, training: bool) -> object:
            if arch.norm != "instance":
                return written_out(p, key, x, arch, training=training)
            return F.instance_norm(x)

        plain.norm = fast
    return plain, importlib.import_module("plain_implementation.plain_training")


def memory_of(side: str, case: str, options: argparse.Namespace) -> int:
    """Peak bytes of a side, from a process of its own."""
    words = ["--memory-of", side, "--cases", case, "--channels", str(options.channels)]
    words += ["--device", options.device, "--threads", str(options.threads)]
    words += ["--norm", options.norm, "--precision", options.precision]
    words += ["--set", *options.set] if options.set else []
    command = [sys.executable, __file__, *words]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def peak_bytes(side: str, case: str, options: argparse.Namespace) -> int:
    """Of building a side and two steps."""
    before = resident_peak()
    step = MAKERS[side](case, options)
    for _ in range(2):
        step()
    return torch.cuda.max_memory_allocated() if is_gpu(options) else resident_peak() - before


def resident_peak() -> int:
    """The largest memory this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says here counts the parent process too
        (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def machine(options: argparse.Namespace) -> dict[str, object]:
    """What the numbers belong to."""
    return {
        "device": torch.cuda.get_device_name() if is_gpu(options) else platform.machine(),
        "clock": options.clock,
        "threads": options.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
