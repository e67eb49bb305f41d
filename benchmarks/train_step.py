"""A training step of this trainer against the plain implementation in tests/parity, in one run.

    python benchmarks/train_step.py [--cases resnet_9@256 resnet_6@128] [--steps 5] [--batch 1]
                                    [--precision bf16] [--set channels_last=on ...] [--json FILE]
                                    [--ablate] [--variants recompute=true batch_size=2,accumulate=2]
                                    [--device cuda] [--threads 2] [--clock processor]

Pool of 50, least squares, identity: the paper's step, in float32 on the plain sides; ours averages
its generators too, as it does by default. There are two plain sides: the implementation as it is,
and a stricter one that is given torch's instance norm. The sides take turns, so what else the
machine does hits all; told are medians, and the medians of the ratios of neighbours. `--clock
processor` adds up the time of all threads: with `--threads 1` it is fair on a busy machine. Memory
is measured in processes of their own: the peak beyond what the imports need. Arithmetic is the
convolutions' multiply-adds of a plain step; the ceiling is that of a large matrix product or
convolution in our side's precision.

`--set` changes settings of ours in all rows. `--variants` compares ours with ours instead of with
the plain sides: each word is a variant, settings joined by commas. `--ablate` is short for the
variants that switch off one of the defaults each; on a GPU, Adam unfused also means no graph. With
`--steps 0` memory alone is measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from statistics import median

import torch
from common import (
    DTYPES,
    MEGABYTE,
    Run,
    add_options,
    ceiling,
    in_turns,
    is_gpu,
    peak_bytes,
    tell_machine,
    times_as_fast,
    write_json,
)
from sides import PLAIN, multiply_adds, our_step, plain_step

DEFAULTS_OFF = (
    *("batch_passes=off", "winograd=false", "fused_adam=false", "channels_last=off"),
    "precision=fp32",
)


def main() -> None:
    """Time and measure every case; print a table, and write it if wanted."""
    options = parse()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        (case,) = options.cases
        print(peak_bytes(maker(options.memory_of, case, options), options))
        return
    tell_machine(options)
    cases = [measure(case, options) for case in options.cases]
    for case in cases:
        show(case, options)
    write_json(options, {"settings": settings_of("ours", options), "cases": cases})


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=["resnet_9@256", "resnet_6@128"])
    parser.add_argument("--channels", type=int, default=64, help="the paper's 64, or fewer")
    parser.add_argument("--steps", type=int, default=5, help="steps of each side that are timed")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="of TrainConfig")
    parser.add_argument("--variants", nargs="+", default=[], metavar="NAME=VALUE,...")
    parser.add_argument("--ablate", action="store_true", help="switch off each default alone")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    add_options(parser)
    options = parser.parse_args()
    if options.ablate:
        graph = ["cuda_graph=false"] if is_gpu(options) else []
        options.variants = [*DEFAULTS_OFF, *graph, *options.variants]
    return options


def settings_of(side: str, options: argparse.Namespace) -> dict[str, object]:
    """Our side's or a variant's settings: values are JSON where they can be, else text."""
    settings: dict[str, object] = {"precision": options.precision, "batch_size": options.batch}
    own = [] if side == "ours" else side.split(",")
    for pair in [*options.set, *own]:
        name, _, value = pair.partition("=")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    return settings


def maker(side: str, case: str, options: argparse.Namespace) -> Callable[[], Run]:
    """A function that makes a side's step."""
    if side in PLAIN:
        return lambda: plain_step(case, options, side, options.batch)
    return lambda: our_step(case, options, settings_of(side, options))


def measure(case: str, options: argparse.Namespace) -> dict:
    """Seconds of all sides in turns, and megabytes of each alone."""
    names = ["ours", *(options.variants or PLAIN)]
    report: dict[str, object] = {"case": case, "batch": options.batch, "steps": options.steps}
    report["megabytes"] = {name: memory_of(name, case, options) / MEGABYTE for name in names}
    if options.steps == 0:
        return report
    seconds = in_turns({n: maker(n, case, options)() for n in names}, options.steps, options)
    work = options.batch * multiply_adds(case, options.channels)
    ours = median(seconds["ours"])
    return report | {
        "seconds": {name: median(times) for name, times in seconds.items()},
        "faster_than": {name: times_as_fast(seconds, "ours", name) for name in names[1:]},
        "giga_multiply_adds": work / 1e9,
        "share_of_ceiling": work / ours / ceiling(options),
    }


def memory_of(side: str, case: str, options: argparse.Namespace) -> int:
    """Peak bytes of a side, from a process of its own."""
    words = ["--memory-of", side, "--cases", case]
    for name in ("channels", "batch", "device", "threads", "precision"):
        words += [f"--{name}", str(getattr(options, name))]
    words += ["--set", *options.set] if options.set else []
    command = [sys.executable, __file__, *words]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def show(report: dict, options: argparse.Namespace) -> None:
    """A table for each case: a line for each side, and what ours did."""
    print(f"\n{report['case']}, batch of {report['batch']}, ours in {options.precision}")
    print(f"{'':30}{'seconds':>10}{'ours is faster':>16}{'MB':>8}{'ours takes':>12}")
    timed = report.get("seconds", {})
    for name, megabytes in report["megabytes"].items():
        seconds = f"{timed[name]:.3f}" if timed else "-"
        faster = f"{report['faster_than'][name]:.2f}×" if timed and name != "ours" else "-"
        share = "-" if name == "ours" else f"{report['megabytes']['ours'] / megabytes:.2f}"
        print(f"{name:30}{seconds:>10}{faster:>16}{megabytes:>8.0f}{share:>12}")
    if timed:
        print(
            f"{report['giga_multiply_adds']:.0f} GMAC, "
            f"{report['share_of_ceiling']:.0%} of the measured ceiling"
        )


if __name__ == "__main__":
    main()
