"""The in-browser demo: built, served, and used by a person with a photograph."""

from __future__ import annotations

import base64
import importlib.util
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core import CycleGAN, ModelConfig, save_model
from tests.unavailable import unavailable
from tests.unit.checkpoint.foreign import scramble

from .comfypage import shoot

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

# Tests are collected where no browser is wanted and playwright isn't installed.
expect = pytest.importorskip("playwright.sync_api").expect

CONFIG = ModelConfig(base_channels=2, num_blocks=1, domain_a="photo", domain_b="sketch")
PATIENCE = 60_000
"""Milliseconds; on a quiet machine everything takes less than two seconds."""


def _script() -> ModuleType:
    path = Path(__file__).parents[2] / "demo" / "build.py"
    spec = importlib.util.spec_from_file_location("demo_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model() -> CycleGAN:
    model = CycleGAN(CONFIG, directions=["a_to_b"])
    return scramble(model, 3)


@pytest.fixture(scope="module")
def address(model: CycleGAN, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo with a small model, served."""
    script = _script()
    folder = tmp_path_factory.mktemp("demo")
    save_model(model, folder / "small.safetensors")
    try:
        script.npm()
        script.fetch_runtime(folder / "demo" / "onnxruntime")
    except script.CycleGANError as error:
        unavailable(str(error))
    script.build(folder / "demo", [str(folder / "small.safetensors")])
    with script.serve(folder / "demo", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def demo(tab: Page, address: str) -> Iterator[Page]:
    """The page when its model is there; whatever it does, it asks only its own server."""
    faults: list[str] = []
    asked: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(address)
    expect(tab.locator("#status")).to_have_text("Ready.", timeout=PATIENCE)
    yield tab
    assert faults == []
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []


def png(width: int, height: int) -> dict[str, object]:
    """A photograph as a file chooser gives it."""
    samples = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(samples).save(content, "PNG")
    return {"name": "a photo.png", "mimeType": "image/png", "buffer": content.getvalue()}


def shown(page: Page, canvas: str) -> torch.Tensor:
    """(1,3,H,W) in [0,1]: what a canvas shows."""
    url = page.evaluate(f"document.getElementById('{canvas}').toDataURL('image/png')")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        samples = torch.from_numpy(np.array(image.convert("RGB")))
    return samples.permute(2, 0, 1)[None] / 255


def wait(page: Page) -> None:
    expect(page.locator("#status")).to_have_text(
        "Done. Move the line to compare.", timeout=PATIENCE
    )


def test_a_photograph_is_translated_as_python_does_it(demo: Page, model: CycleGAN) -> None:
    assert demo.evaluate("crossOriginIsolated")  # else it would compute with one thread
    demo.locator("#file").set_input_files(png(75, 50))
    wait(demo)
    shoot(demo, "demo")
    before, after = shown(demo, "before"), shown(demo, "after")
    assert before.shape == (1, 3, 50, 75)
    assert after.std() > 0.05
    # Each was rounded to a byte.
    torch.testing.assert_close(after, model.translate(before), rtol=0, atol=0.51 / 255)
    assert demo.locator(".tag").all_text_contents() == ["photo", "sketch"]
    assert "75×50;" in demo.locator("#facts").text_content()

    # The line is moved by the keyboard, as a slider.
    demo.locator("#slider").focus()
    demo.keyboard.press("Home")
    clip = "getComputedStyle(document.getElementById('after')).clipPath"
    assert demo.evaluate(clip) == "inset(0px 0px 0px 0%)"
    demo.keyboard.press("End")
    assert demo.evaluate(clip) == "inset(0px 0px 0px 100%)"

    with demo.expect_download() as download:
        demo.locator("#save").click()
    assert download.value.suggested_filename == "a photo-sketch.png"
    with Image.open(download.value.path()) as image:
        assert image.size == (75, 50)


def test_a_large_photograph_is_dropped_and_reduced(demo: Page) -> None:
    demo.locator("#size").select_option("256")
    buffer = base64.b64encode(png(700, 350)["buffer"]).decode()
    files = demo.evaluate_handle(
        """async (content) => {
            const files = new DataTransfer();
            const blob = await (await fetch(`data:image/png;base64,${content}`)).blob();
            files.items.add(new File([blob], "dropped.png", {type: "image/png"}));
            return files;
        }""",
        buffer,
    )
    demo.dispatch_event("#drop", "drop", {"dataTransfer": files})
    wait(demo)
    assert demo.locator("#facts").text_content().startswith("256×128, reduced from 700×350;")
    assert demo.evaluate("document.body.dataset.done") == "1"
    # Another size begins at once.
    demo.locator("#size").select_option("384")
    expect(demo.locator("#facts")).to_contain_text("384×192", timeout=PATIENCE)


def test_what_is_no_picture_is_said_and_the_example_works(demo: Page) -> None:
    text = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    demo.locator("#file").set_input_files(text)
    status = demo.locator("#status.error")
    expect(status).to_have_text(
        "notes.txt is no picture that this browser can open; save it as JPEG or PNG."
    )
    demo.locator("#size").select_option("256")
    demo.locator("#example").click()
    wait(demo)
    assert demo.locator("#status.error").count() == 0


def test_a_size_that_fails_is_said_and_a_smaller_one_works(tab: Page, address: str) -> None:
    """Nobody runs out of memory on purpose, so the worker is made to say what it would say then."""

    def fail_from_300_on(route: Route) -> None:
        response = route.fetch()
        source = response.text()
        begin = "async function translate({ id, pixels, width, height }) {"
        assert begin in source
        fail = f"{begin} if (width > 300) throw new Error('no memory');"
        route.fulfill(response=response, body=source.replace(begin, fail))

    tab.context.route("**/worker.mjs", fail_from_300_on)
    tab.goto(address)
    tab.locator("#file").set_input_files(png(400, 20))
    status = tab.locator("#status.error")
    expect(status).to_have_text(
        "400×20 pixels could not be translated here (no memory); choose a smaller size.",
        timeout=PATIENCE,
    )
    tab.locator("#size").select_option("256")
    wait(tab)
    assert tab.locator("#facts").text_content().startswith("256×13, reduced from 400×20;")


def test_a_model_that_can_not_be_run_is_said(tab: Page, address: str) -> None:
    tab.context.route("**/*.onnx", lambda route: route.fulfill(body="no model"))
    tab.goto(address)
    expect(tab.locator("#status.error")).to_contain_text(
        "The model can't be run here:", timeout=PATIENCE
    )
