"""What the node Translate adds to the network's own time, in a real ComfyUI, when it is warm.

    python benchmarks/warm_node.py [--size 512] [--rounds 7] [--json FILE]

Starts the ComfyUI of tests/host (fetched from PyPI once) with this pack and a tiny network, and
queues Load → Translate → Save with a new picture each time. Told are medians over the warm rounds:
the node as its host times it (from the message that it starts to the message that the next node
does), the same translation by the library alone, and the difference. The first round, which loads
the model, is told apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from common import write_json
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cyclegan_core import CycleGAN, load_model
from tests.host.client import Client, Graph, Message
from tests.host.comfyui import Host, provision
from tests.host.graphs import load_image, translate
from tests.host.graphs import load_model as load_node
from tests.host.samples import save_random_model, to_tensor


def main() -> None:
    """Measure, print a table, and write it if wanted."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="cyclegan-warm-") as temp:
        host = Host(provision(), Path(temp).resolve())
        host.prepare()
        save_random_model(host.models_dir / "tiny.safetensors", seed=1)
        with host:
            rounds = [play(Client(host.address), options, i) for i in range(options.rounds + 1)]
        model = load_model(host.models_dir / "tiny.safetensors")
        own = [library(model, options, i) for i in range(options.rounds + 1)]
    report = {
        "size": options.size,
        "cold_ms": 1e3 * rounds[0],
        "node_ms": 1e3 * median(rounds[1:]),
        "network_ms": 1e3 * median(own[1:]),
        "added_ms": 1e3 * (median(rounds[1:]) - median(own[1:])),
    }
    print("".join(f"{name:>12}" for name in report))
    print("".join(f"{value:12.1f}" for value in report.values()))
    write_json(options, report)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.set_defaults(device="cpu", clock="wall", threads=torch.get_num_threads())
    return parser.parse_args()


def picture(size: int, seed: int) -> Image.Image:
    """Noise, another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def play(client: Client, options: argparse.Namespace, number: int) -> float:
    """Seconds from the start of Translate to the start of what follows it."""
    name = client.upload_image(picture(options.size, number), f"warm{number}.png")
    graph: Graph = load_image(name) | load_node("tiny.safetensors") | translate()
    seen: dict[str, float] = {}

    def on_message(message: Message) -> None:
        if message.type == "executing" and message.data["node"] is not None:
            seen[message.data["node"]] = time.perf_counter()

    run = client.run_prompt(graph, on_message=on_message)
    if run.ending != "execution_success":
        raise SystemExit(run.failure)
    return seen["save"] - seen["translate"]


def library(model: CycleGAN, options: argparse.Namespace, number: int) -> float:
    """Seconds of the same translation without a host."""
    images = to_tensor(picture(options.size, number))
    start = time.perf_counter()
    with torch.inference_mode():
        model.translate(images, dtype=torch.float32)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
