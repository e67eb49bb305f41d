"""A real ComfyUI that is killed, cancelled, left without memory, evicted and left alone.

    python -m tests.faults.hosts --kills 20 --cancels 50 --faults 50 --runs 500

- The server is killed in the middle of a training, started again, and the prompt queued again.
- Cancel comes at any moment of a load, a translation, a training, a download.
- The memory is exhausted, or the host evicts all models, at any operation of torch in these.
- Two clients queue at once; a page is closed while its training runs.
- Some hundred prompts in a row leave memory, handles and threads as they were.

After each the next prompt must run and give the right picture; trainings end, bit for bit, as one
that nothing happened to; and in the end the memory is what it was, within 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from tests.host.client import Client, Graph, Message, Run
from tests.host.comfyui import HERE, Host, provision
from tests.host.graphs import load_image, load_model, node, train, translate
from tests.host.samples import random_model, read_run, write_models, write_pictures
from tests.unit.hub.server import Hub, running
from tests.unit.run_files import content

FOLDERS = ("warm", "cold")
WARM = """
import importlib, json, os, runpy, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        pass  # this host does without
sys.stdout.write("ready\\n")
sys.stdout.flush()
for line in sys.stdin:
    order = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(order["env"])
        sys.argv = order["argv"]
        sys.path.insert(0, os.getcwd())
        runpy.run_path("main.py", run_name="__main__")
        os._exit(0)
    sys.stdout.write(f"{pid}\\n")
    sys.stdout.flush()
    os.waitpid(pid, 0)
    sys.stdout.write("ended\\n")
    sys.stdout.flush()
"""
"""Imports what takes most of a host's start, once, and forks hosts one at a time."""
IMPORTS = (
    *("torch", "torchvision", "torchaudio", "transformers", "aiohttp", "av", "scipy", "PIL.Image"),
    *("numpy", "safetensors.torch", "einops", "kornia", "spandrel", "sqlalchemy", "alembic"),
    *("pydantic", "torchsde", "sentencepiece", "tokenizers", "yaml", "tqdm", "psutil", "requests"),
)


class WarmHost(Host):
    """A host that a server forks, in a tenth of the time."""

    server: subprocess.Popen[str]
    pid = 0

    def start(self) -> None:
        """Have it forked, and wait until it answers."""
        self.prepare()
        order = {"argv": self._arguments(), "log": str(self.log_path), "env": self.environment}
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        self.pid = int(self.server.stdout.readline())
        self._process = self.server  # whose end would be the host's, too
        self._wait_until_ready()
        self._check_pack()

    def stop(self) -> None:
        """Kill it."""
        self._process = None
        if self.pid:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            assert self.server.stdout.readline() == "ended\n"
            self.pid = 0

    def used(self) -> dict[str, int]:
        """Its memory in KB, open files and threads."""
        status = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        facts = {line.split(":")[0]: line.split()[1] for line in status if len(line.split()) > 1}
        handles = len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208
        return {"memory": int(facts["VmRSS"]), "threads": int(facts["Threads"]), "files": handles}


@dataclass
class Campaign:
    """A host, what it is asked for, and how often what happened."""

    host: WarmHost
    hub: Hub
    rng: random.Random
    found: Counter[str] = field(default_factory=Counter)

    def begin(self) -> None:
        """Files to read, and what comes out of them where nothing happens."""
        self.client = Client(self.host.address)
        self.info = self.client.object_info()
        picture = Image.effect_mandelbrot((61, 43), (-2, -1.5, 1, 1.5), 50).convert("RGB")
        self.picture = load_image(self.client.upload_image(picture, "small.png"))
        self.wanted = self.translated()
        self.undisturbed(12)  # what the first training imports stays
        self.client.free_memory()

    def translation(self, **inputs: Any) -> Graph:
        return self.picture | load_model("both.safetensors") | translate(**inputs)

    def training(self, name: str, steps: int) -> Graph:
        graph = train(self.info, FOLDERS, name, steps=steps, seed=5)
        graph["settings"]["inputs"] |= {"save_every": 1, "sample_every": 3}
        return graph

    def download(self) -> Graph:
        for path in self.host.models_dir.glob("*--*"):
            path.unlink()
        settings = {"catalog": "typed below", "repo_id": "you/model", "revision": ""}
        load = node("CycleGAN_Download", **settings, filename="")
        return self.picture | {"load": load} | translate()

    def translated(self) -> list[bytes]:
        """The pictures of a translation that must go well, computed anew."""
        self.client.forget_results()
        return [image.tobytes() for image in self.client.save_images(self.translation())]

    def check(self) -> None:
        """The next prompt runs and gives the right picture."""
        assert self.translated() == self.wanted

    def run_dir(self, name: str) -> Path:
        return self.host.output_dir / "cyclegan" / name

    def undisturbed(self, steps: int) -> dict[str, object]:
        """What a training of so many steps leaves where nothing happens."""
        name = f"undisturbed_{steps}"
        if not (self.run_dir(name) / "model.safetensors").exists():
            run = self.client.run_prompt(self.training(name, steps))
            assert run.ending == "execution_success", run.failure
        return self.left(name)

    def left(self, name: str) -> dict[str, object]:
        names = ("state.safetensors", "model.safetensors", "losses.csv")
        return {each: content(self.run_dir(name) / each) for each in names}

    def finish(self, name: str, steps: int) -> None:
        """Queue a training again; it must end as the undisturbed one."""
        run = self.client.run_prompt(self.training(name, steps))
        assert run.ending == "execution_success", run.failure
        ours, theirs = self.left(name), self.undisturbed(steps)
        assert [each for each in ours if ours[each] != theirs[each]] == []

    # --- what happens ------------------------------------------------------------------------

    def kills(self, count: int) -> None:
        """The server, in the middle of a training."""
        steps, name, done = 10 * count, "killed", 0
        for _ in range(count):
            target = done + self.rng.randint(1, 4)
            wait = self.rng.random() * 0.3
            reached = threading.Event()

            def follow(target: int = target, reached: threading.Event = reached) -> None:
                def on_message(message: Message) -> None:
                    if message.type == "progress" and message.data["value"] >= target:
                        reached.set()

                with suppress(Exception):  # the connection ends with the server
                    self.client.run_prompt(self.training(name, steps), on_message=on_message)

            thread = threading.Thread(target=follow)
            thread.start()
            assert reached.wait(300), self.host.log_text()[-2000:]
            time.sleep(wait)  # some moment of the steps that follow
            self.host.stop()
            thread.join()
            self.found["kills"] += 1
            before, done = done, read_run(self.run_dir(name))["step"]
            assert before < done < steps, (before, done)
            self.host.start()
            self.client = Client(self.host.address)
        self.finish(name, steps)
        self.check()

    def cancels(self, count: int) -> None:
        """At any moment of the four things that take a while."""
        many = node("RepeatImageBatch", image=["image", 0], amount=40)
        for number in range(count):
            kind = ("load", "translate", "train", "download")[number % 4]
            name = f"cancelled_{number // 4 % 3}"
            graphs = {
                "load": lambda: load_model("both.safetensors") | self.picture | translate(),
                "translate": lambda: self.translation(image=["many", 0]) | {"many": many},
                "train": lambda name=name: self.training(name, 12),
                "download": self.download,
            }
            self.client.forget_results()
            graph = graphs[kind]()
            seconds = self.rng.random() * {"load": 0.3, "train": 6.0}.get(kind, 1.5)
            timer = threading.Timer(seconds, self.client.interrupt)
            timer.start()
            run = self.client.run_prompt(graph)
            timer.cancel()
            timer.join()
            assert run.error is None, run.failure
            self.found[f"cancelled {kind}: {run.ending}"] += 1
            self.check()
            assert not list(self.host.models_dir.rglob("*.partial"))
        for number in range(min(3, count // 4)):
            self.finish(f"cancelled_{number}", 12)

    def faults(self, count: int) -> None:
        """The memory is exhausted or all models are evicted, at any operation of torch."""
        for number in range(count):
            kind = ("load", "translate", "whole", "train")[number % 4]
            what = ("memory", "evict")[number // 4 % 2]
            most = {"load": 120, "train": 6000}.get(kind, 150)
            at = self.rng.randint(1, most)
            self.client.forget_results()
            self.arm(what, at)
            memory = "whole" if kind == "whole" else "auto"
            name = f"faulty_{number}"
            graph = self.training(name, 12) if kind == "train" else None
            run = self.client.run_prompt(graph or self.translation(memory=memory))
            struck = self.arm("nothing", 0) == 0
            ending = "went well" if run.error is None else "told"
            self.found[f"{what} {kind}, {'' if struck else 'not '}struck: {ending}"] += 1
            if run.error is not None:
                assert struck, run.failure
                assert what == "memory", run.failure
                text = run.error["exception_message"]
                assert "memory" in text, run.failure
            self.check()
            if kind == "train":
                self.finish(name, 12)

    def arm(self, what: str, at: int) -> int:
        """What shall happen at an operation from now; how many were left of the last order."""
        salt = str(self.rng.random())
        arm = node("HostTest_Fault", what=what, at=at, salt=salt)
        show = node("PreviewAny", source=["arm", 0])
        run = self.client.run_prompt({"arm": arm, "show": show})
        assert run.ending == "execution_success", run.failure
        return int(run.outputs["show"]["text"][0])

    def at_once(self) -> None:
        """Two clients queue trainings of one run and translations; a page goes away."""
        clients = [Client(self.host.address) for _ in range(2)]
        ids = [
            (each, each.queue_prompt(graph))
            for each in clients
            for graph in (self.training("shared", 8), self.translation(strength=0.5))
        ]
        runs = [each.wait_for(prompt) for each, prompt in ids]
        assert {run.ending for run in runs} == {"execution_success"}, [r.failure for r in runs]
        self.finish("shared", 8)
        self.found["two clients at once"] += 1

        class GoneError(Exception):
            """The page was closed."""

        prompts: list[str] = []

        def leave(message: Message) -> None:
            prompts.append(message.data["prompt_id"])
            if message.type == "progress" and message.data["value"] >= 2:
                raise GoneError

        with suppress(GoneError):
            self.client.run_prompt(self.training("left_alone", 10), on_message=leave)
        run: Run = self.client.wait_for(prompts[0])
        assert run.ending == "execution_success", run.failure
        self.finish("left_alone", 10)
        self.found["page gone"] += 1
        self.check()

    def long(self, count: int) -> None:
        """Prompts in a row; every tenth a training of a step."""
        measured: list[dict[str, int]] = []
        for number in range(count):
            self.client.forget_results()
            if number % 10 == 0:
                run = self.client.run_prompt(self.training(f"long_{number % 50}", 1 + number // 50))
            else:
                run = self.client.run_prompt(self.translation())
            assert run.ending == "execution_success", run.failure
            if number in (count // 5, count - 1):
                self.client.free_memory()
                measured.append(self.host.used())
        print("long:", measured[0], "→", measured[-1], flush=True)  # noqa: T201
        self.grown(measured[0], measured[-1])
        self.found["prompts in a row"] += count

    @staticmethod
    def grown(before: dict[str, int], after: dict[str, int]) -> None:
        """Nothing may have grown; the memory by 5 %."""
        assert after["memory"] < 1.05 * before["memory"], (before, after)
        assert after["threads"] <= before["threads"] + 1, (before, after)
        assert after["files"] <= before["files"] + 2, (before, after)


@contextmanager
def warm_server(host: WarmHost, hub: Hub) -> Iterator[None]:
    """What forks `host`, which knows this Hub alone."""
    host.use_hub(hub.url)
    own = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # which hides the host's nodes
    host.server = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WARM, *IMPORTS],
        cwd=host.app_dir,
        env=own | host.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with host.server:
        assert host.server.stdout.readline() == "ready\n"
        yield
        host.server.stdin.close()


@contextmanager
def campaign(folder: Path, seed: int) -> Iterator[Campaign]:
    """A host in `folder`, and all that it reads."""
    host = WarmHost(provision(), folder.resolve())
    with running() as hub, warm_server(host, hub):
        host.prepare()
        host.link_pack(HERE / "helper_pack", "host-test-nodes")
        write_models(host.models_dir)
        for number, name in enumerate(FOLDERS):
            write_pictures(host.input_dir / name, count=4, seed=number)
        random_model(seed=7).save_pretrained(folder / "repository")
        files = {path.name: path.read_bytes() for path in (folder / "repository").iterdir()}
        hub.add("you/model", files)
        with host:
            found = Campaign(host, hub, random.Random(seed))
            found.begin()
            yield found


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--cancels", type=int, default=50)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        campaign(Path(folder) / "host", options.seed) as each,
    ):
        parts = {
            "at once": each.at_once,
            "kills": lambda: each.kills(options.kills),
            "cancels": lambda: each.cancels(options.cancels),
            "faults": lambda: each.faults(options.faults),
            "long": lambda: each.long(options.runs),
        }
        for name in options.only or parts:
            part = parts[name]
            begin, before = time.monotonic(), each.host.used()
            part()
            each.client.free_memory()
            after = each.host.used()
            # A host that was started anew has imported less.
            assert name == "kills" or after["memory"] < 1.05 * before["memory"], (before, after)
            seconds = time.monotonic() - begin
            told = f"{before['memory']} → {after['memory']} KB, {seconds:.0f} s"
            print(f"{name}: {dict(each.found)}, {told}", flush=True)  # noqa: T201
            each.found.clear()


if __name__ == "__main__":
    main()
