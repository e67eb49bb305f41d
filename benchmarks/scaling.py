"""How cost grows with pixels, pictures and processes: linear is the target, within 15 %.

    python benchmarks/scaling.py [--only translate-pixels step-batch ...] [--rounds 3] [--json FILE]
                                 [--channels 16] [--blocks 9] [--precision bf16] [--device cuda]
                                 [--sizes 256 512 1024 2048] [--step-sizes 64 128 256]
                                 [--threads 1] [--clock processor]

Each series runs the same work at several amounts, in turns, and tells the cost of a unit (a pixel,
a picture) relative to the smallest amount: 1.00 is linear, below it large amounts are cheaper.

    translate-pixels   `translate` of one picture, whole; and -streamed, in strips
    plain-pixels       the same by the reference
    translate-images   `translate` of a batch
    step-pixels        a training step of one picture of each domain
    step-batch         a training step of a batch
    pipeline           pairs of pictures decoded, cropped and batched, without a cache
    ranks              a step on each of several processes: gloo on CPUs, nccl on GPUs

The networks are the paper's (64 channels, 9 blocks) on a GPU; on a CPU 16 channels by default, so
that it takes minutes. A rank's cost is its own time per step, by the clock wanted: linear means
that twice the processes do twice the steps, given a core or a GPU each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from common import (
    DTYPES,
    Run,
    add_options,
    ceiling,
    in_turns,
    is_gpu,
    seconds_of,
    tell_machine,
    warm_up_rounds,
    write_json,
)
from input_pipeline import draw
from sides import count, multiply_adds, our_step, plain_modules

from cyclegan_core import CycleGAN, DataConfig, ModelConfig, UnpairedFolders
from cyclegan_core.data.loader import Batches
from cyclegan_core.networks import build_generator

TARGET = 0.15
"""The largest deviation from linear that is wanted."""

Point = tuple[int, float, Run]
"""Units (pixels, pictures), multiply-adds, and the work."""


def main() -> None:
    """Measure the series wanted; print a table of each, and write them if wanted."""
    options = parse()
    torch.set_num_threads(options.threads)
    tell_machine(options)
    top = ceiling(options)
    report = {"channels": options.channels, "blocks": options.blocks, "ceiling": top, "series": []}
    report["precision"] = options.precision
    for name in options.only:
        report["series"].append(show(name, SERIES[name](options), top))
        write_json(options, report)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SERIES, default=[*SERIES], metavar="SERIES")
    parser.add_argument("--channels", type=int, help="by default 64 on a GPU, 16 on a CPU")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024, 2048])
    parser.add_argument("--images", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--step-sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--pairs", type=int, nargs="+", default=[64, 128, 256, 512])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    add_options(parser)
    options = parser.parse_args()
    options.channels = options.channels or (64 if is_gpu(options) else 16)
    return options


def measure(points: list[Point], options: argparse.Namespace) -> list[dict]:
    """Seconds of every amount, in turns."""
    works = {str(units): work for units, _, work in points}
    seconds = in_turns(works, options.rounds, options)
    return [
        {"units": units, "multiply_adds": work, "seconds": median(seconds[str(units)])}
        for units, work, _ in points
    ]


def show(name: str, rows: list[dict], top: float) -> dict:
    """Print a series, and add what follows from its seconds."""
    print(f"\n{name:26}{'seconds':>10}{'per unit':>10}{'GMAC':>10}{'of ceiling':>12}")
    first = rows[0]["seconds"] / rows[0]["units"]
    for row in rows:
        row["relative"] = row["seconds"] / row["units"] / first
        work = row["multiply_adds"]
        row["share_of_ceiling"] = work / row["seconds"] / top
        shares = f"{work / 1e9:10.1f}{row['share_of_ceiling']:12.0%}" if work else ""
        print(
            f"{row['units']:26,}{row['seconds']:10.3f}{row['relative']:10.2f}{shares}", flush=True
        )
    deviation = max((row["relative"] - 1 for row in rows), key=abs)
    verdict = "linear" if abs(deviation) <= TARGET else "not linear"
    print(f"largest deviation {deviation:+.0%}: {verdict} within {TARGET:.0%}")
    return {"name": name, "rows": rows, "deviation": deviation}


# --- the series --------------------------------------------------------------------------------


def translation(
    options: argparse.Namespace, shapes: list[tuple[int, int, int]], memory: str
) -> list[dict]:
    """`translate` of (batch, side, units)."""
    config = ModelConfig(base_channels=options.channels, num_blocks=options.blocks)
    model = CycleGAN(config, directions=["a_to_b"]).eval().to(options.device)
    dtype = DTYPES[options.precision]
    points: list[Point] = []
    for batch, side, units in shapes:
        images = torch.rand(batch, 3, side, side, device=options.device)
        run = partial(model.translate, images, memory=memory, dtype=dtype)
        work = batch * count(build_generator(config, "a_to_b"), side)
        points.append((units, work, run))
    return measure(points, options)


def translate_pixels(options: argparse.Namespace, memory: str = "whole") -> list[dict]:
    """One picture of each size."""
    return translation(options, [(1, side, side**2) for side in options.sizes], memory)


def translate_images(options: argparse.Namespace) -> list[dict]:
    """Batches of the smallest size."""
    side = options.sizes[0]
    return translation(options, [(images, side, images) for images in options.images], "whole")


def plain_pixels(options: argparse.Namespace) -> list[dict]:
    """The reference's pass over one picture of each size, as it is."""
    plain, _ = plain_modules("written-out")
    arch = plain.Arch(num_blocks=options.blocks, width=options.channels)
    params = plain.resnet_params(arch, torch.Generator().manual_seed(0))
    params = {key: tensor.to(options.device) for key, tensor in params.items()}
    config = ModelConfig(base_channels=options.channels, num_blocks=options.blocks)
    points: list[Point] = []
    for side in options.sizes:
        images = torch.rand(1, 3, side, side, device=options.device)
        run = torch.inference_mode()(partial(plain.resnet_generator, params, images, arch))
        points.append((side**2, count(build_generator(config, "a_to_b"), side), run))
    return measure(points, options)


def step_point(options: argparse.Namespace, side: int, batch: int, units: int) -> Point:
    """A training step."""
    case = f"resnet_{options.blocks}@{side}"
    run = our_step(case, options, {"precision": options.precision, "batch_size": batch})
    return units, batch * multiply_adds(case, options.channels), run


def step_pixels(options: argparse.Namespace) -> list[dict]:
    """A step of one picture of each size."""
    points = [step_point(options, side, 1, side**2) for side in options.step_sizes]
    return measure(points, options)


def step_batch(options: argparse.Namespace) -> list[dict]:
    """Steps of batches of the smallest size."""
    side = options.step_sizes[0]
    points = [step_point(options, side, size, size) for size in options.batches]
    return measure(points, options)


def pipeline(options: argparse.Namespace) -> list[dict]:
    """Pairs of pictures of 286 pixels that are decoded and cropped as for a training."""

    def take(batches: Batches, pairs: int) -> None:
        for _ in range(pairs):
            next(batches)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, 286)
        data = UnpairedFolders(folder / "a", folder / "b", DataConfig(cache_bytes=0))
        with Batches(data) as batches:
            next(batches)  # from here on, one is begun for each that is taken
            points = [(n, 0.0, partial(take, batches, n)) for n in options.pairs]
            return measure(points, options)


# --- processes ---------------------------------------------------------------------------------


def ranks(options: argparse.Namespace) -> list[dict]:
    """A step on each rank; seconds are those of the slowest rank times the ranks."""
    side = options.step_sizes[-1]
    work = multiply_adds(f"resnet_{options.blocks}@{side}", options.channels)
    rows: list[dict] = []
    for size in options.ranks:
        with tempfile.TemporaryDirectory() as folder:
            mp.spawn(one_rank, (size, folder, options), nprocs=size)
            files = Path(folder).glob("rank_*")
            slowest = max(float(file.read_text()) for file in files)
        rows.append({"units": size, "multiply_adds": size * work, "seconds": size * slowest})
    return rows


def one_rank(rank: int, size: int, folder: str, options: argparse.Namespace) -> None:
    """A process of a data-parallel training; writes the median of its steps' seconds."""
    if is_gpu(options):
        torch.cuda.set_device(rank)
    torch.set_num_threads(options.threads)
    dist.init_process_group(
        "nccl" if is_gpu(options) else "gloo",
        init_method=(Path(folder) / "store").as_uri(),
        rank=rank,
        world_size=size,
    )
    _, _, run = step_point(options, options.step_sizes[-1], 1, 1)
    for _ in range(warm_up_rounds(options)):
        run()
    seconds = median(seconds_of(run, options) for _ in range(options.rounds))
    (Path(folder) / f"rank_{rank}").write_text(str(seconds))
    dist.destroy_process_group()


SERIES: dict[str, Callable[[argparse.Namespace], list[dict]]] = {
    "translate-pixels": translate_pixels,
    "translate-pixels-streamed": partial(translate_pixels, memory="streamed"),
    "plain-pixels": plain_pixels,
    "translate-images": translate_images,
    "step-pixels": step_pixels,
    "step-batch": step_batch,
    "pipeline": pipeline,
    "ranks": ranks,
}

if __name__ == "__main__":
    main()
