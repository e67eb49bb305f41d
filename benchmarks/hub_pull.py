"""What `pull` adds to the transfer of a model, and what a second one asks of the Hub.

    python benchmarks/hub_pull.py [--runs 3] [--blocks 9] [--channels 64] [--json FILE]

A Hub on loopback, the one of the tests, offers a model of the paper's size (45 MB) as a checkpoint
of the original and as a repository of ours. Every run is a process of its own with an empty cache
that times three ways to get it: the bytes alone, streamed into a file; the download by
`huggingface_hub`; and `pull`, which verifies them, checks every weight, and writes a file of ours.
Imports are not counted. Runs alternate, so that a busy machine is unfair to none.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import torch
from common import write_json

from cyclegan_core import CycleGAN, ModelConfig

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.hub.clients import environment  # noqa: E402
from tests.unit.hub.repositories import Repository  # noqa: E402
from tests.unit.hub.server import Hub, running  # noqa: E402

WAYS = (
    *("transfer", "huggingface_hub", "pull branch", "pull branch, again"),
    *("pull commit", "pull commit, again"),
)

CLIENT = """
import json, sys, time, urllib.request
from pathlib import Path
import huggingface_hub.hf_api, httpx2, torch
from cyclegan_core.hub import install as hub
way, repo, commit, file, address, folder = sys.argv[1:]
folder = Path(folder)

def transfer():
    with urllib.request.urlopen(address) as answer, (folder / "raw").open("wb") as out:
        while part := answer.read(2**20):
            out.write(part)

ways = {
    "transfer": transfer,
    "huggingface_hub": lambda: huggingface_hub.hf_hub_download(repo, file),
    "pull": lambda: hub.pull(repo, commit if "commit" in way else None, folder=folder),
}
torch.zeros(1)
start = time.perf_counter(), time.process_time()
ways[way.partition(" ")[0]]()
print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1]]))
"""


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    options.device, options.clock, options.threads = "cpu", "both", torch.get_num_threads()
    report: dict[str, list[dict]] = {}
    config = ModelConfig(num_blocks=options.blocks, base_channels=options.channels)
    with running() as hub, tempfile.TemporaryDirectory() as name:
        for repository, file in offer(hub, CycleGAN(config, directions=("a_to_b",)), Path(name)):
            size = len(repository.files[file].content)
            print(f"\n{file}, {size / 1e6:.0f} MB, median of {options.runs} runs")
            print(f"{'':22}{'wall s':>8}{'CPU s':>8}  requests")
            runs = [run(hub, repository, file) for _ in range(options.runs)]
            report[file] = runs
            write_json(options, {"wall_processor_requests": report})
            for way in WAYS:
                wall, cpu = (median(times[way][i] for times in runs) for i in range(2))
                print(f"{way:22}{wall:8.2f}{cpu:8.2f}  {runs[-1][way][2]}")
            wall, cpu = (
                median(times["pull branch"][i] - times["transfer"][i] for times in runs)
                for i in range(2)
            )
            print(
                f"pull beyond the transfer: {wall:.2f} s, of which the processor worked {cpu:.2f} s"
            )


def offer(hub: Hub, model: CycleGAN, folder: Path) -> list[tuple[Repository, str]]:
    """The same model in two repositories, and the names of its weight files."""
    if model.gen_ab is None:
        raise ValueError("the model must translate A to B.")
    buffer = io.BytesIO()
    torch.save(model.gen_ab.state_dict(), buffer)
    model.save_pretrained(folder)
    ours = {path.name: path.read_bytes() for path in folder.iterdir()}
    theirs = {"latest_net_G.pth": buffer.getvalue()}
    return [
        (hub.add("you/theirs", theirs), "latest_net_G.pth"),
        (hub.add("you/ours", ours), "model.safetensors"),
    ]


def run(hub: Hub, repository: Repository, file: str) -> dict[str, tuple[float, float, str]]:
    """Each way once: seconds on the wall, of the processor, and what was asked for."""
    result: dict[str, tuple[float, float, str]] = {}
    with tempfile.TemporaryDirectory() as home:
        for way in WAYS:
            place = Path(home) / way.partition(",")[0]
            place.mkdir(exist_ok=True)
            hub.requests.clear()
            address = f"{hub.cdn_url}/{repository.files[file].sha256}"
            words = [way, repository.name, repository.head, file, address, str(place)]
            done = subprocess.run(
                [sys.executable, "-c", CLIENT, *words],
                env=environment(hub.url, HF_HOME=str(place / "hf")),
                stdout=subprocess.PIPE,
                check=True,
            )
            wall, cpu = json.loads(done.stdout)
            asked = [f"{request.method} {request.sent:,} bytes" for request in hub.requests]
            result[way] = wall, cpu, ", ".join(asked) or "none"
    return result


if __name__ == "__main__":
    main()
