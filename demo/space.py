"""Build the folder of a Hugging Face Space: the page of `cyclegan demo` with the bundled models.

    python demo/space.py space
    hf auth login && hf upload me/cyclegan space --repo-type space

The folder needs nothing of this clone afterwards; `python app.py` in it shows the page here. The
free hardware of Spaces is two cores of a processor, so PyTorch comes without what is for NVIDIA's
GPUs.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

CLONE = Path(__file__).resolve().parent.parent

README = """\
---
title: CycleGAN
emoji: 🎨
colorFrom: blue
colorTo: yellow
sdk: gradio
sdk_version: {gradio}
app_file: app.py
license: mit
short_description: Drop a photograph, see what small CycleGANs make of it
---

The page of `cyclegan demo`, with its bundled models: drop a picture, choose model, direction,
strength and work size, compare by slider. Pictures stay in this Space, for two hours at most.
"""

APP = """\
from cyclegan_core.cli.computer.demo import build

build().launch()
"""

REQUIREMENTS = """\
--extra-index-url https://download.pytorch.org/whl/cpu
torch>=2.7
torchvision>=0.22
numpy>=1.26
pillow>=11.2
safetensors>=0.5
filelock>=3.12
huggingface-hub>=0.34
tyro>=1.0.15
rich>=13
psutil
"""
"""What pyproject.toml asks for; a Space brings gradio itself, of the version that README names."""


def build(out: Path) -> None:
    """Write the Space's folder anew.

    Raises:
        SystemExit: there is something else at its place.
    """
    if out.exists() and not (out / "app.py").exists() and any(out.iterdir()):
        raise SystemExit(f"{out} is not empty, and no Space; name another folder.")
    out.mkdir(parents=True, exist_ok=True)
    for name in ("cyclegan_core", "weights"):
        leave_out = shutil.ignore_patterns("__pycache__", "*.jpg")
        shutil.rmtree(out / name, ignore_errors=True)
        shutil.copytree(CLONE / name, out / name, ignore=leave_out)
    readme = README.format(gradio=version("gradio"))
    for name, text in (("README.md", readme), ("app.py", APP), ("requirements.txt", REQUIREMENTS)):
        (out / name).write_text(text, encoding="utf-8")


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="Build the folder of a Hugging Face Space.")
    parser.add_argument("out", type=Path, help="the folder")
    return parser.parse_args(argv)


if __name__ == "__main__":
    build(read_options().out)
