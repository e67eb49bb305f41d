"""`cyclegan demo`: a person drops a picture, translates it and compares, with no other server."""

from __future__ import annotations

import importlib.util
import io
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops

from tests.host.comfyui import free_port
from tests.unavailable import unavailable
from tests.unit.commands import draw, start

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the page is, of a command that runs."""
    if importlib.util.find_spec("gradio") is None:
        unavailable('gradio is not installed; run pip install -e ".[demo]".')
    port = free_port()
    # Whoever runs the tests in the background makes them, and their children, deaf to Ctrl-C.
    process = start(
        ("demo", "--port", port),
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    line = process.stdout.readline()
    assert line == f"http://127.0.0.1:{port}/ is the page; Ctrl-C ends it.\n", process.stderr.read()
    yield line.split()[0]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert "Traceback" not in err


def test_a_picture_is_dropped_translated_and_compared(
    address: str, tab: Page, tmp_path: Path
) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    picture = draw(tmp_path / "photo.png", size=(96, 64))
    tab.goto(address)
    tab.locator("input[type=file]").first.set_input_files(picture)
    tab.get_by_role("button", name="Translate").click()
    # The first picture of the page is what was dropped.
    slider = tab.locator("img[src*='image.png']")
    slider.nth(1).wait_for()
    before, after = (slider.nth(number).get_attribute("src") for number in (0, 1))
    images = [open_image(tab, source) for source in (before, after)]
    assert [image.size for image in images] == [(96, 64)] * 2
    with Image.open(picture) as original:
        assert ImageChops.difference(images[0], original.convert("RGB")).getbbox() is None
    assert ImageChops.difference(*images).getbbox() is not None
    others = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert others == []


def open_image(tab: Page, source: str) -> Image.Image:
    return Image.open(io.BytesIO(tab.request.get(source).body())).convert("RGB")
