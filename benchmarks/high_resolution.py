"""Translations of large pictures: whole, streamed and as a thumbnail; time, memory and error.

    python benchmarks/high_resolution.py [--sizes 1024 2048] [--modes whole streamed thumbnail]
                                         [--blocks 9] [--channels 64] [--dtype bfloat16]
                                         [--store host] [--generator unet] [--device cuda]
                                         [--threads 2] [--clock processor] [--json FILE]

Every row is a process of its own. Memory is the peak beyond what is there before the translation
(the imports, the weights, the picture and the result) after a warm-up with a small picture. The
picture is noise at many scales, the weights are random. Errors are against the whole pass in the
same precision, where that is among the modes; the ratio is of the time per pixel. `--clock
processor` adds up the time of all threads: with `--threads 1` it is fair on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from common import MEGABYTE, add_options, is_gpu, seconds_of, write_json
from torch import Tensor

from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.pictures.rows import TensorRows
from cyclegan_core.streaming.stream import StreamPlan, stream, thumbnail


def main() -> None:
    """Measure every size in every mode; print a table, and write it if wanted."""
    options = parse()
    if options.result:
        print(json.dumps(measure(options)))
        return
    columns = ("size", "mode", "seconds", "ratio", "MB", "bytes/px", "max error", "mean error")
    print("".join(f"{name:>12}" for name in columns))
    rows = [row for size in options.sizes for row in measure_size(size, options)]
    write_json(options, {"settings": settings(options), "rows": rows})


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    modes = ["whole", "streamed", "thumbnail"]
    parser.add_argument("--sizes", nargs="+", default=["1024"], help="1024, or 4096x2048 (w x h)")
    parser.add_argument("--modes", nargs="+", choices=modes, default=modes)
    parser.add_argument("--generator", choices=["resnet", "unet"], default="resnet")
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--store", default="device", help="device, host, or a scratch folder")
    parser.add_argument("--strip-megabytes", type=int, default=512)
    add_options(parser)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def settings(options: argparse.Namespace) -> dict[str, object]:
    """What the rows have in common."""
    names = ("generator", "blocks", "channels", "dtype", "store", "strip_megabytes")
    return {name: getattr(options, name) for name in names}


def measure_size(size: str, options: argparse.Namespace) -> list[dict]:
    """A row for each mode, printed as soon as it is there."""
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        results = {mode: Path(folder) / f"{mode}.pt" for mode in options.modes}
        for mode, result in results.items():
            row = {"size": size, "mode": mode} | in_own_process(size, mode, result, options)
            if rows and rows[0]["mode"] == "whole":
                row["ratio"] = row["seconds"] / rows[0]["seconds"]
                row |= errors(result, results["whole"])
            rows.append(row)
            show(row)
    return rows


def in_own_process(
    size: str, mode: str, result: Path, options: argparse.Namespace
) -> dict[str, float]:
    """Seconds and bytes of a translation, whose result is written to `result`."""
    words = ["--sizes", size, "--modes", mode, "--result", str(result)]
    names = [*settings(options), "device", "threads", "clock"]
    for name in names:
        words += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    command = [sys.executable, __file__, *words]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def errors(result: Path, whole: Path) -> dict[str, float]:
    """Largest and mean difference of two results, in strips."""
    ours, theirs = (torch.load(path, mmap=True, weights_only=True) for path in (result, whole))
    largest, total = 0.0, 0.0
    for a, b in zip(ours.split(64, 2), theirs.split(64, 2), strict=True):
        difference = (a - b).abs()
        largest = max(largest, difference.max().item())
        total += difference.double().sum().item()
    return {"max_error": largest, "mean_error": total / ours.numel()}


def show(row: dict) -> None:
    """A line of the table."""
    cells = [row["size"], row["mode"], f"{row['seconds']:.2f}"]
    cells += [f"{row['ratio']:.2f}" if "ratio" in row else "-"]
    cells += [f"{row['bytes'] / MEGABYTE:.0f}", f"{row['bytes_per_pixel']:.0f}"]
    cells += [f"{row[key]:.1e}" if key in row else "-" for key in ("max_error", "mean_error")]
    print("".join(f"{cell:>12}" for cell in cells), flush=True)


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Translate one picture in this process."""
    torch.set_num_threads(options.threads)
    (size,), (mode,) = options.sizes, options.modes
    width, _, height = size.partition("x")
    config = ModelConfig(
        generator=options.generator, num_blocks=options.blocks, base_channels=options.channels
    )
    torch.manual_seed(0)
    model = CycleGAN(config, directions=["a_to_b"]).to(options.device)
    images = picture(int(height or width), int(width)).to(options.device)
    translate(model, images[..., :64, :64], mode, options)
    results: list[Tensor] = []
    before = reset_peak(options)
    seconds = seconds_of(lambda: results.append(translate(model, images, mode, options)), options)
    (result,) = results
    extra = peak(options) - before - result.numel() * result.element_size()
    torch.save(result.cpu(), options.result)
    pixels = images.shape[-2] * images.shape[-1]
    return {"seconds": seconds, "bytes": extra, "bytes_per_pixel": extra / pixels}


def translate(model: CycleGAN, images: Tensor, mode: str, options: argparse.Namespace) -> Tensor:
    """(1,3,H,W) in [0,1] -> the same shape and range."""
    dtype = None if options.dtype == "float32" else getattr(torch, options.dtype)
    if mode == "whole":
        return model.translate(images, memory="whole", dtype=dtype)
    store = options.store if options.store in ("device", "host") else Path(options.store)
    plan = StreamPlan(dtype=dtype, store=store, strip_bytes=options.strip_megabytes * MEGABYTE)
    result = torch.empty_like(images)
    run = stream if mode == "streamed" else thumbnail
    run(model.generator("a_to_b"), model.config, TensorRows(images[0]), TensorRows(result[0]), plan)
    return result


def picture(height: int, width: int) -> Tensor:
    """Noise at many scales, (1,3,height,width) in [0,1]: flat areas as well as detail."""
    rng = torch.Generator().manual_seed(1)
    total = torch.zeros(1, 3, height, width)
    for cells in (4, 32, 256):
        noise = torch.rand(1, 3, min(cells, height), min(cells, width), generator=rng)
        total += F.interpolate(noise, (height, width), mode="bilinear", align_corners=False)
    return total.div_(3)


def reset_peak(options: argparse.Namespace) -> int:
    """Forget earlier peaks; the bytes in use now."""
    if is_gpu(options):
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # Linux: resets VmHWM
    return status_bytes("VmRSS")


def peak(options: argparse.Namespace) -> int:
    """The most bytes in use since `reset_peak`."""
    return torch.cuda.max_memory_allocated() if is_gpu(options) else status_bytes("VmHWM")


def status_bytes(name: str) -> int:
    """A figure that Linux keeps of this process."""
    rows = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (row for row in rows if row.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
