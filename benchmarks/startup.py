"""What starting up costs: `import cyclegan_core`, and `cyclegan translate` of one photograph.

    python benchmarks/startup.py [--runs 3] [--blocks 9] [--channels 64] [--size 512]
                                 [--json FILE]

Makes its own picture and model (the paper's size, random weights) in a temporary folder. Every
run is a fresh process that times itself, from its start until the result is saved, on one core of
the CPU. With PYTHONDONTWRITEBYTECODE set every run compiles the modules anew: run `python -m
compileall cyclegan_core` before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from common import write_json

from cyclegan_core import CycleGAN, ModelConfig, save_model, write_picture

ROOT = Path(__file__).parents[1]

CLOCKS = {
    "time": "wall clock",
    "process_time": "processor time (fair on a busy machine)",
}

TRANSLATE = """
import json, sys, time
clock, origin = getattr(time, sys.argv[1]), float(sys.argv[2])
start = clock()
import torch
after_torch = clock()
import cyclegan_core
after_ours = clock()
from cyclegan_core import networks
from cyclegan_core.cli import run
in_network = 0.0
forward = networks.ResnetGenerator.forward
def timed(*args):
    global in_network
    begin = clock()
    result = forward(*args)
    in_network += clock() - begin
    return result
networks.ResnetGenerator.forward = timed
sys.argv[1:] = sys.argv[3:]
code = run()
parts = {
    "import torch": after_torch - start,
    "import cyclegan_core": after_ours - after_torch,
    "the network": in_network,
    "total": clock() - origin,
}
sys.stderr.write(json.dumps(parts | {"code": code}))
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    options.device, options.clock, options.threads = "cpu", "both", 1
    report: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_picture(folder / "photo.jpg", torch.rand(3, options.size, options.size))
        config = ModelConfig(num_blocks=options.blocks, base_channels=options.channels)
        model = CycleGAN(config, directions=["a_to_b"])
        save_model(model, folder / "model.safetensors")
        for clock in CLOCKS:
            runs = [translate(folder, clock) for _ in range(options.runs)]
            print_table(runs, options, clock)
            report[CLOCKS[clock]] = runs
            write_json(options, {"seconds": report})


def translate(folder: Path, clock: str) -> dict[str, float]:
    """Seconds of each part of one run of the command in a fresh process."""
    argv = ["translate", "photo.jpg", "-o", "out", "-m", "model.safetensors"]
    argv += ["--device", "cpu", "--overwrite", "--json"]
    origin = time.time() if clock == "time" else 0.0  # processor time begins with the process
    process = subprocess.run(
        [sys.executable, "-c", TRANSLATE, clock, str(origin), *argv],
        cwd=folder,
        env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    parts = json.loads(process.stderr)
    if parts.pop("code") != 0:
        raise SystemExit(process.stdout)
    rest = parts["total"] - parts["import torch"] - parts["the network"]
    return parts | {"beyond torch and network": rest}


def print_table(runs: list[dict[str, float]], options: argparse.Namespace, clock: str) -> None:
    """Median and range of every part, in seconds and relative to torch's import."""
    print(
        f"{CLOCKS[clock]}: one {options.size}×{options.size} photo, {options.blocks} blocks, "
        f"{options.channels} channels, {len(runs)} runs, torch {torch.__version__}"
    )
    print(f"{'seconds':<28}{'median':>8}{'least':>8}{'most':>8}{'× import torch':>16}")
    unit = median(run["import torch"] for run in runs)
    for part in runs[0]:
        times = [run[part] for run in runs]
        middle = median(times)
        line = f"{part:<28}{middle:>8.2f}{min(times):>8.2f}{max(times):>8.2f}{middle / unit:>16.2f}"
        print(line)


if __name__ == "__main__":
    main()
