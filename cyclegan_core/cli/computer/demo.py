"""`cyclegan demo`: a page of one's own to try models on pictures; nothing leaves this computer.

`demo/space.py` of a clone makes the folder of a Hugging Face Space that shows the same page.
"""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...config import ARROWS, DIRECTIONS
from ...errors import CycleGANError, reason
from ...hub.catalog import DEFAULT_MODEL, bundled_models, find_local, pulled_models

if TYPE_CHECKING:
    from PIL import Image

    from ...model import CycleGAN

WORK_SIZES: dict[str, int | str] = {
    "as trained (auto)": "auto",
    "the picture's own": 0,
    "256 pixels": 256,
    "512 pixels": 512,
    "1024 pixels": 1024,
}
"""What the page offers for the size at which the network works."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Show a page in the browser to try models on pictures; Ctrl-C ends it.

    Drop a picture, choose a model, compare by slider. Needs the extra demo.

    The page is for this computer alone, and nothing is sent or fetched.
    """

    port: int = 7860
    """Where the page is: http://127.0.0.1:PORT."""
    open: bool = False
    """Open it in the browser."""
    json: bool = False
    """Print mistakes for programs."""

    def run(self) -> int:
        """Show the page until Ctrl-C; returns the exit code."""
        if not 1 <= self.port <= 65535:
            raise ValueError(f"--port must be a number from 1 to 65535; got {self.port}.")
        try:  # before anything slow is imported
            with socket.create_server(("127.0.0.1", self.port)):
                pass
        except OSError as error:
            raise CycleGANError(
                f"The page can't be shown at port {self.port} ({reason(error)}); choose another "
                "--port."
            ) from None
        page = build()
        page.launch(
            server_name="127.0.0.1",
            server_port=self.port,
            share=False,
            inbrowser=self.open,
            prevent_thread_lock=True,
            quiet=True,
            **_looks(),
        )
        sys.stdout.write(f"{page.local_url} is the page; Ctrl-C ends it.\n")
        sys.stdout.flush()
        page.block_thread()
        return 0


def build() -> Any:  # noqa: ANN401 - of a package that is imported late
    """The page, a `gradio.Blocks` that is yet to be launched.

    Raises:
        CycleGANError: the extra is not installed.
    """
    # Before the import, which reads them.
    for name, value in (("GRADIO_ANALYTICS_ENABLED", "False"), ("HF_HUB_DISABLE_TELEMETRY", "1")):
        os.environ.setdefault(name, value)
    try:
        gr: Any = import_module("gradio")
    except ImportError:
        raise CycleGANError(
            'The page needs gradio; install the extra with: pip install "cyclegan[demo]"'
        ) from None

    names = list(dict.fromkeys([*bundled_models(), *pulled_models()]))
    first = DEFAULT_MODEL if DEFAULT_MODEL in names else names[0]

    def translate(
        picture: Image.Image | None,
        name: str,
        direction: str,
        strength: float,
        work_size: str,
        progress: Any = gr.Progress(),  # noqa: ANN401, B008 - how gradio asks for it
    ) -> tuple[Image.Image, Image.Image]:
        if picture is None:
            raise gr.Error("Drop a picture first.")

        def on_progress(done: int, total: int) -> None:
            progress((done, total))

        try:
            return apply(picture, name, direction, strength, WORK_SIZES[work_size], on_progress)
        except CycleGANError as error:
            raise gr.Error(str(error)) from None

    def ways_of(name: str) -> Any:  # noqa: ANN401 - gradio's
        try:
            found = ways(name)
        except CycleGANError as error:
            raise gr.Error(str(error)) from None
        return gr.Dropdown(choices=found, value=found[0][1])

    with gr.Blocks(title="CycleGAN", analytics_enabled=False, delete_cache=(3600, 3600)) as page:
        gr.Markdown("# CycleGAN\nDrop a picture, choose what becomes of it, compare.")
        with gr.Row():
            with gr.Column():
                picture = gr.Image(
                    type="pil", label="Picture", height=380, sources=["upload", "clipboard"]
                )
                model = gr.Dropdown(names, value=first, label="Model")
                choices = ways(first)
                direction = gr.Dropdown(choices, value=choices[0][1], label="Direction")
                strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength")
                work_size = gr.Dropdown(list(WORK_SIZES), label="Work size")
                button = gr.Button("Translate", variant="primary")
            result = gr.ImageSlider(type="pil", label="Before and after", format="png", height=380)
        model.change(ways_of, model, direction)
        button.click(translate, [picture, model, direction, strength, work_size], result)
    return page


def ways(name: str) -> list[tuple[str, str]]:
    """What a model translates, in words, and the direction that this is.

    Raises:
        CheckpointError: the model can't be used.
    """
    model = _load(name)
    found: list[tuple[str, str]] = []
    for direction in model.directions:
        source, target = model.config.domains(direction)
        is_named = {source, target} != {"A", "B"}
        found.append((f"{source} → {target}" if is_named else ARROWS[direction], direction))
    return found


def apply(
    picture: Image.Image,
    name: str,
    direction: str,
    strength: float,
    work_size: int | str,
    on_progress: Any,  # noqa: ANN401 - an OnProgress
) -> tuple[Image.Image, Image.Image]:
    """The picture, and what a model makes of it, blended with it by `strength` from 0 to 1.

    Raises:
        CycleGANError: the model can't be used, or the picture not be translated.
    """
    import torch

    from ...device.precision import fastest_dtype
    from ...pictures.rows import bytes_of, to_image
    from ...pixels import to_channels

    before = picture.convert("RGB")
    model = _load(name)
    device = next(model.parameters()).device
    pixels = bytes_of(before)[None].to(device).float().div(255)
    result = model.translate(
        pixels,
        next(each for each in DIRECTIONS if each == direction),
        dtype=fastest_dtype(device),
        work_size=work_size if isinstance(work_size, int) else "auto",
        on_progress=on_progress,
    )
    blended = torch.lerp(pixels, to_channels(result, 3), strength)
    return before, to_image(blended[0])


@lru_cache(maxsize=4)
def _load(name: str) -> CycleGAN:
    """A model by name, on the quickest device."""
    from ...model import load_model
    from ..common import choose_device

    return load_model(find_local(name)).to(choose_device("auto"))


def _looks() -> dict[str, Any]:
    """Fonts of this computer instead of a server's, and no links that lead away."""
    gr: Any = import_module("gradio")
    theme = gr.themes.Default(
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    )
    return {"theme": theme, "footer_links": [], "ssr_mode": False, "mcp_server": False}
