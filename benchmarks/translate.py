"""Translation by `CycleGAN.translate` against the plain implementation in tests/parity, in one run.

    python benchmarks/translate.py [--sizes 256 512] [--batch 1] [--rounds 5] [--json FILE]
                                   [--precisions fp32 bf16] [--speedup graph] [--device cuda]
                                   [--threads 2] [--clock processor]

The paper's generator: 9 blocks, 64 channels. The plain sides are fp32 in torch's own memory layout,
the norm written out as in the parity tests, and torch's own. The sides take turns, so what else the
machine does hits all; told are medians, the median of the ratios of neighbours, the arithmetic, and
its share of the ceiling in that precision. `--clock processor` adds up the time of all threads:
with `--threads 1` fair on a busy machine.
"""

from __future__ import annotations

import argparse
from statistics import median

import torch
from common import (
    DTYPES,
    Run,
    add_options,
    ceiling,
    in_turns,
    tell_machine,
    times_as_fast,
    write_json,
)
from sides import PLAIN, count, plain_modules
from torch import Tensor

from cyclegan_core import CycleGAN, ModelConfig


def main() -> None:
    """Time every size; print a table, and write it if wanted."""
    options = parse()
    torch.set_num_threads(options.threads)
    tell_machine(options)
    columns = ("size", "precision", "ms", "× plain", "× torch norm", "GMAC", "of ceiling", "error")
    print("".join(f"{name:>13}" for name in columns))
    rows = [row for size in options.sizes for row in measure(size, options)]
    write_json(options, {"batch": options.batch, "speedup": options.speedup, "rows": rows})


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="+", choices=DTYPES, default=["fp32", "bf16"])
    parser.add_argument("--speedup", choices=["none", "graph", "compile"], default="none")
    add_options(parser)
    return parser.parse_args()


@torch.inference_mode()
def measure(size: int, options: argparse.Namespace) -> list[dict]:
    """All precisions and the plain sides in turns; a row for each precision."""
    model = CycleGAN(ModelConfig(), directions=["a_to_b"]).eval().to(options.device)
    images = torch.rand(options.batch, 3, size, size, device=options.device)
    sides: dict[str, Run] = {name: ours(model, images, name, options) for name in DTYPES}
    sides = {name: sides[name] for name in options.precisions}
    sides |= {name: plain_side(model, images, norm) for name, norm in PLAIN.items()}
    seconds = in_turns(sides, options.rounds, options)
    exact = sides["torch norm"]()
    counted = CycleGAN(model.config, directions=["a_to_b"]).generator("a_to_b")  # loses its weights
    work = options.batch * count(counted, size)
    rows: list[dict] = []
    for name in options.precisions:
        options.precision = name
        row = {"size": size, "precision": name, "seconds": median(seconds[name])}
        row["faster_than"] = {plain: times_as_fast(seconds, name, plain) for plain in PLAIN}
        row["giga_multiply_adds"] = work / 1e9
        row["share_of_ceiling"] = work / row["seconds"] / ceiling(options)
        row["max_error"] = float((sides[name]() - exact).abs().max())
        rows.append(row)
        show(row)
    return rows


def ours(model: CycleGAN, images: Tensor, precision: str, options: argparse.Namespace) -> Run:
    """`translate` in a precision."""
    how = {"dtype": DTYPES[precision], "memory": "whole", "speedup": options.speedup}
    return lambda: model.translate(images, **how)


def plain_side(model: CycleGAN, images: Tensor, norm: str) -> Run:
    """The plain generator with the same weights, [0,1] to [0,1]."""
    plain, _ = plain_modules(norm)
    weights = dict(model.generator("a_to_b").state_dict())
    arch = plain.Arch(num_blocks=9, width=64)
    return lambda: plain.resnet_generator(weights, images * 2 - 1, arch).add(1).div(2).clamp(0, 1)


def show(row: dict) -> None:
    """A line of the table."""
    print(
        f"{row['size']:13}{row['precision']:>13}{1e3 * row['seconds']:13.1f}"
        + "".join(f"{ratio:13.2f}" for ratio in row["faster_than"].values())
        + f"{row['giga_multiply_adds']:13.1f}{row['share_of_ceiling']:13.0%}"
        f"{row['max_error']:13.1e}"
    )


if __name__ == "__main__":
    main()
