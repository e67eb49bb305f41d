"""Translation by `CycleGAN.translate` against the plain implementation in tests/parity, in one run.

    python benchmarks/translate.py [--sizes 256 512] [--batch 1] [--rounds 5] [--json FILE]
                                   [--precisions fp32 bf16] [--device cuda] [--threads 2]
                                   [--clock processor] [--norm written-out]

The paper's generator: 9 blocks, 64 channels. The plain side is fp32, in torch's own memory layout.
The sides take turns, so what else the machine does hits all; told are medians, the ratio of
neighbours, the arithmetic done and its share of a large matrix product's speed in that precision.
`--clock processor` adds up the time of all threads: with `--threads 1` fair on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from train_step import ceiling, count, is_gpu, machine, plain_modules

from cyclegan_core import CycleGAN, ModelConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    """Time every size; print a table, and write it if wanted."""
    options = parse()
    torch.set_num_threads(options.threads)
    columns = ("size", "precision", "ms", "plain ms", "faster", "GMAC", "of ceiling", "max error")
    print("".join(f"{name:>11}" for name in columns))
    rows = [row for size in options.sizes for row in measure(size, options)]
    if options.json:
        report = {"machine": machine(options), "batch": options.batch, "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp32", "bf16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--norm", choices=["torch", "written-out"], default="torch")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


@torch.inference_mode()
def measure(size: int, options: argparse.Namespace) -> list[dict]:
    """All precisions and the plain side in turns; a row for each precision."""
    model = CycleGAN(ModelConfig(), directions=["a_to_b"]).eval().to(options.device)
    images = torch.rand(options.batch, 3, size, size, device=options.device)
    sides: dict[str, Callable[[], Tensor]] = {
        name: lambda name=name: model.translate(images, dtype=DTYPES[name], memory="whole")
        for name in options.precisions
    }
    sides["plain"] = plain_side(model, images, options.norm)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    results = {name: run() for name, run in sides.items()}  # chooses algorithms, too
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    for _ in range(options.rounds):
        for name, run in sides.items():
            start = clock()
            run()
            if is_gpu(options):
                torch.cuda.synchronize()
            seconds[name].append(clock() - start)
    counted = CycleGAN(model.config, directions=["a_to_b"]).generator("a_to_b")  # loses its weights
    gmac = options.batch * count(counted, size) / 1e9
    return [row(name, size, gmac, seconds, results, options) for name in options.precisions]


def row(
    name: str,
    size: int,
    gmac: float,
    seconds: dict[str, list[float]],
    results: dict[str, Tensor],
    options: argparse.Namespace,
) -> dict:
    """One line of the table, printed."""
    ours, plain = median(seconds[name]), median(seconds["plain"])
    ratios = [b / a for a, b in zip(seconds[name], seconds["plain"], strict=True)]
    options.precision = name
    entry = {
        "size": size,
        "precision": name,
        "seconds": ours,
        "plain_seconds": plain,
        "faster": median(ratios),
        "gmac": gmac,
        "share_of_ceiling": gmac * 1e9 / ours / ceiling(options),
        "max_error": float((results[name] - results["plain"]).abs().max()),
    }
    print(
        f"{size:11}{name:>11}{1e3 * ours:11.1f}{1e3 * plain:11.1f}{entry['faster']:11.2f}"
        f"{gmac:11.1f}{entry['share_of_ceiling']:11.0%}{entry['max_error']:11.1e}"
    )
    return entry


def plain_side(model: CycleGAN, images: Tensor, norm: str) -> Callable[[], Tensor]:
    """The plain generator with the same weights, [0,1] to [0,1]."""
    plain, _ = plain_modules(norm)
    weights = dict(model.generator("a_to_b").state_dict())
    arch = plain.Arch(num_blocks=9, width=64)
    return lambda: plain.resnet_generator(weights, images * 2 - 1, arch).add(1).div(2).clamp(0, 1)


if __name__ == "__main__":
    main()
