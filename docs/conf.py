"""How the documentation is built: `sphinx-build -W docs build/docs`.

Two pages are made here from the code itself, so that they cannot tell anything else: the table of
layouts, and the help of every command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

from sphinx.application import Sphinx

import cyclegan_core
from cyclegan_core.checkpoint.layout_table import RESNET_LAYOUTS, ResnetLayout

HERE = Path(__file__).parent
GENERATED = HERE / "generated"

project = "CycleGAN for ComfyUI"
version = release = cyclegan_core.__version__
author = "the CycleGAN for ComfyUI developers"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["brand"]
html_theme = "furo"
html_title = project
html_logo = "brand/icon.svg"
html_favicon = "brand/icon.png"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
napoleon_google_docstring = True
napoleon_use_ivar = True  # settings are lists with choices, ranges and defaults
suppress_warnings = ["ref.python"]  # a name that two public classes share


def write_pages() -> None:
    """Write what is made from the code."""
    GENERATED.mkdir(exist_ok=True)
    pages = {"layouts.md": layouts(), "commands.md": commands()}
    for name, text in pages.items():
        (GENERATED / name).write_text(text, encoding="utf-8")


def layouts() -> str:
    """The table that the loader itself looks at."""
    lines = [
        "# Layouts of weight files",
        "",
        "Every file is recognised by its keys and shapes. `N` is the number of residual blocks.",
        "",
        "| layout | first convolution | residual blocks | last convolution | what else it means |",
        "|---|---|---|---|---|",
    ]
    for layout in RESNET_LAYOUTS:
        convolutions = " or ".join(f"`{'`, `'.join(pair)}`" for pair in layout.convs)
        last = layout.decoder[-1].replace("{+", "N+").replace("}", "")
        lines.append(
            f"| {layout.name} | `{layout.encoder[0]}` "
            f"| `{layout.block}` from {layout.first_block}, with {convolutions} "
            f"| `{last}` | {'; '.join(meanings(layout)) or '–'} |"
        )
    return "\n".join(lines) + "\n"


def meanings(layout: ResnetLayout) -> list[str]:
    """How a layout's networks differ from the original's."""
    found = {
        f"upsampling: {layout.upsample}": layout.upsample != "transposed",
        f"downsampling: {layout.downsample}": layout.downsample != "strided",
        "reflects in the convolutions of stride 2": layout.down_padding == "reflect",
        "its instance norm uses running statistics": layout.tracks,
        "trained on blue-green-red pictures": layout.is_bgr,
        "`G_A` makes domain A": bool(layout.directions),
        "generators are named after what they make": layout.names_target,
    }
    return [text for text, holds in found.items() if holds]


def commands() -> str:
    """Every command's help, 100 columns wide."""
    first = shown("--help")
    names = re.findall(r"^  ([a-z]+) {2,}", first, re.MULTILINE)
    sections = ["# Commands", "", "What `cyclegan --help` prints, and that of each command.", ""]
    for title, text in [
        ("cyclegan", first),
        *((name, shown(name, "--help-all")) for name in names),
    ]:
        sections += [f"## {title}", "", "```text", text.rstrip(), "```", ""]
    return "\n".join(sections)


def shown(*words: str) -> str:
    """What a command prints."""
    return subprocess.run(
        [sys.executable, "-m", "cyclegan_core.cli", *words],
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(HERE.parent)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def setup(app: Sphinx) -> None:
    """Docstrings are plain English: the bars in them are absolute values, not markup."""

    def escape(*event: object) -> None:
        lines = cast("list[str]", event[-1])
        lines[:] = [line.replace("|", "\\|") for line in lines]

    app.connect("autodoc-process-docstring", escape, priority=900)


write_pages()
