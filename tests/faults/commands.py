"""Every command that writes, small enough to be run some hundred times, and what it leaves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan_core import CycleGAN, ModelConfig, save_model
from tests.unit.hub.server import running
from tests.unit.run_files import content
from tests.unit.tiny import draw_folders
from tests.unit.warm import Server

from .rays import ENV, cluster

_CORE = (
    *("cli.export", "cli.distill", "cli.evaluate", "distillation.student", "evaluation.evaluator"),
    *("evaluation.training_evaluation", "evaluation.sheet", "export", "hub.install"),
    *("translation.plan", "cli.weights"),
)
MODULES = (
    *(f"cyclegan_core.{name}" for name in _CORE),
    *(
        "torch._dynamo",
        "torch._export",
        "torch._export.serde.serialize",
        "torch.export.pt2_archive",
    ),
)
"""What commands import when they run."""

_TRAIN = (
    *("--model.base-channels", 2, "--model.num-blocks", 1, "--disc-channels", 2),
    *("--disc-layers", 1, "--load-size", 18, "--crop-size", 16, "--pool-size", 2),
    *("--device", "cpu", "--json"),
)
_OFTEN = ("--save-every", 1, "--sample-every", 3, "--keep-checkpoints", 2)
_SELDOM = ("--save-every", 3, "--sample-every", 2, "--batch-size", 2, "--preset", "none")
_SCORED = (
    *("--objective", "pix2pix", "--preprocess", "none", "--save-every", 3, "--sample-every", 4),
    *("--test-a", "{data}/pairs/a", "--test-b", "{data}/pairs/b", "--evaluate-every", 2),
    *("--evaluation.paired", "--metric", "L1"),
)
_STUDENT = (
    *("-o", "small.safetensors"),
    *("--base-channels", 2, "--num-blocks", 1, "--num-pairs", 6, "--crop-size", 16),
    *("--load-size", 16, "--num-held-out", 1, "--max-steps", 6, "--batch-size", 1),
    *("--save-every", 1, "--device", "cpu", "--precision", "fp32"),
)
_PICTURES = ("-m", "{data}/model.safetensors", "--device", "cpu", "--precision", "fp32")
_TRANSLATE = ("translate", "{data}/data/a", "-o", "out", *_PICTURES)


@dataclass(frozen=True)
class Command:
    """Words in which {data} is the folder of what is read; it writes into the current one."""

    words: tuple[object, ...]
    again: tuple[object, ...] = ()
    """What is added to go on after a kill."""
    results: tuple[str, ...] = ("*",)
    """Patterns of what must be as if nothing had been; the rest is its workshop."""


COMMANDS: dict[str, Command] = {
    "train": Command(("train", "{data}/data/a", "{data}/data/b", "--run", "run", *_TRAIN, *_OFTEN)),
    "train seldom saved": Command(
        ("train", "{data}/data/a", "{data}/data/b", "--run", "run", *_TRAIN, *_SELDOM)
    ),
    "train with scores": Command(
        ("train", "{data}/pairs/a", "{data}/pairs/b", "--run", "run", *_TRAIN, *_SCORED)
    ),
    "translate": Command(_TRANSLATE, ("--skip-existing",)),
    "translate with sheet": Command((*_TRANSLATE, "--compare", "sheet.png"), ("--overwrite",)),
    "reconstruct": Command(
        ("reconstruct", "{data}/data/a", "-o", "out", *_PICTURES), ("--skip-existing",)
    ),
    "convert": Command(
        ("convert", "{data}/model.safetensors", "-o", "half.safetensors", "--half"),
        ("--overwrite",),
    ),
    "export": Command(("export", "{data}/model.safetensors", "-o", "model.pt2"), ("--overwrite",)),
    "distill": Command(
        ("distill", "{data}/model.safetensors", "{data}/data/a", *_STUDENT),
        ("--overwrite",),
        ("small.safetensors", "small.distill/pairs/**/*"),
    ),
    "pull": Command(("pull", "you/model", "--to", "models"), (), ("models/*",)),
    "bulk": Command(
        (
            *("bulk", "{data}/data/a", "out", "--model", "{data}/model.safetensors"),
            *("--precision", "fp32", "--workers", 1, "--address", "{ray}"),
        ),
    ),
}


class Workshop:
    """A warm server, a Hub, and what the commands read; `with workshop(folder) as shop`."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.said = folder / "said"
        self.ray = ""
        """The address of a Ray, if there is one."""

    def argv(self, command: Command, *more: object) -> list[str]:
        """The words of a command."""
        words = (*command.words, *more)
        places = {"{data}": str(self.folder / "read"), "{ray}": self.ray}
        said = [str(word) for word in words]
        for name, place in places.items():
            said = [word.replace(name, place) for word in said]
        return said

    def fresh(self, name: str) -> Path:
        """An empty folder to run a command in."""
        here = self.folder / name
        shutil.rmtree(here, ignore_errors=True)
        here.mkdir()
        self.forget()
        return here

    def forget(self) -> None:
        """Empty the cache of the Hub, as a computer that has fetched nothing."""
        shutil.rmtree(self.folder / "hub", ignore_errors=True)

    def run(self, command: Command, here: Path, *more: object, **orders: Any) -> int:
        """Run a command in a folder, to its end; the exit code or minus the signal."""
        return self.server.run(self.argv(command, *more), self.said, cwd=str(here), **orders)

    def start(self, command: Command, here: Path, *more: object, **orders: Any) -> int:
        """Begin it; the pid."""
        return self.server.start(self.argv(command, *more), self.said, cwd=str(here), **orders)

    def size(self, command: Command, here: Path, *more: object) -> tuple[int, float]:
        """How many file operations and seconds of CPU time a whole run takes; it must go well."""
        self.start(command, here, *more, count=True)
        operations = 0
        while "ended" not in (said := self.server.line()):
            operations = int(said.get("operations", operations))
        assert said["ended"] == 0, self.output()
        return operations, said["cpu"]

    def output(self) -> str:
        """What the last command said."""
        return "".join((self.said / f"{name}.txt").read_text() for name in ("out", "err"))

    def sentence(self) -> str:
        """The one sentence in which the last command told a fault."""
        out, err = ((self.said / f"{name}.txt").read_text() for name in ("out", "err"))
        assert "Traceback" not in out + err, err
        said = [json.loads(line).get("error") for line in out.splitlines() if line[:1] == "{"]
        faults = [
            line
            for line in err.splitlines()
            if line.startswith(("cyclegan: ", "failed: ", "left alone: "))
        ]
        found = [text for text in said if text] or faults
        assert found, out + err
        return found[-1]


@contextmanager
def workshop(folder: Path, *, has_ray: bool = False) -> Iterator[Workshop]:
    """Everything that the commands need; a Ray, too, for `bulk`."""
    read = folder / "read"
    read.mkdir(parents=True)
    draw_folders(read / "data")
    draw_folders(read / "pairs", size=(16, 16))
    (read / "pairs" / "b" / "3.png").unlink()
    config = ModelConfig(base_channels=2, num_blocks=1, domain_a="horse", domain_b="zebra")
    model = CycleGAN(config)
    save_model(model, read / "model.safetensors")
    model.save_pretrained(read / "repository")
    with ExitStack() as stack:
        hub = stack.enter_context(running())
        files = {path.name: path.read_bytes() for path in (read / "repository").iterdir()}
        hub.add("you/model", files)
        env = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hub"), "NO_COLOR": "1"}
        env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "COLUMNS": "1000"}
        shop = Workshop(folder, stack.enter_context(Server(*MODULES, **env | ENV)))
        if has_ray:
            shop.ray = stack.enter_context(cluster())
        yield shop


def results(command: Command, here: Path) -> dict[str, object]:
    """What a command made, by its path; and the names of half-made files, which none may leave."""
    whole = {
        str(path.relative_to(here)): _content(path)
        for pattern in command.results
        for path in here.rglob("*" if pattern == "*" else pattern)
        if path.is_file() and path.name != ".lock"
    }
    return whole | dict.fromkeys(leftovers(here), "half")


def leftovers(here: Path) -> list[str]:
    """The names of half-made files."""
    return [str(path.relative_to(here)) for path in here.rglob("*.partial")]


def age(here: Path) -> None:
    """Let what lies half-made be old: younger files are left alone."""
    for name in leftovers(here):
        os.utime(here / name, (0, 0))


def differing(one: dict[str, object], other: dict[str, object]) -> Sequence[str]:
    """The names that two results differ in."""
    names = one.keys() | other.keys()
    return sorted(name for name in names if one.get(name) != other.get(name))


def _content(path: Path) -> object:
    """What does not tell the time, nor which of several drivers did what."""
    if path.name == "summary.txt":
        return "is there"
    if path.name == "report.parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).select(["input", "output", "error"]).to_pylist()
    if path.name != "run.json":
        return content(path)
    run = json.loads(path.read_text())
    for name in ("seconds", "wait_share"):
        run.pop(name)
    return run
