"""Build the example workflows in the real page, run them, and save them with their thumbnails.

``python -m tests.browser.make_examples``

The page's own "Export" writes each file, so it opens again exactly as it was saved. The thumbnails
show what the run made of scikit-image's `astronaut`, a picture by NASA in the public domain; the
training learns from cut-outs of it, and from what the bundled model makes of them, and goes on
from the bundled models, so that its thumbnail shows what a long training comes to.
Written anew are the files of example_workflows/; look at them before you commit them.
"""

from __future__ import annotations

import argparse
import io
import logging
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

import cyclegan_core
from tests.host.client import Client, png_bytes
from tests.host.comfyui import REPO_DIR, Host, provision

from .comfypage import SETTINGS, ComfyPage
from .conftest import BUNDLED_MODEL, BUNDLED_MODEL_BACK, CHROMIUM_NAMES, CHROMIUM_OPTIONS, VIEWPORT

if TYPE_CHECKING:
    from playwright.sync_api import Page

log = logging.getLogger(__name__)
EXAMPLES_DIR = REPO_DIR / "example_workflows"
THUMBNAIL_SIZE = 512
PICTURE = "example.png"
"""Every ComfyUI comes with a picture of this name."""

NOTE_TRANSLATE = f"""### Translate a picture

1. **Load Image**: choose a photo.
2. **Load CycleGAN**: choose a model. `{BUNDLED_MODEL}` comes with the pack: A is a photo, \
B a painting by Monet.
3. Press **Run**. The result has the size of your photo.

Less of it? Lower *strength*. Only a part of the picture? Connect a *mask*.
"""
NOTE_RECONSTRUCT = """### There and back again

A CycleGAN learns two translations at once, and the way back must lead to the original.

- **translated**: half way, photo → painting.
- **reconstructed**: back again; ideally the photo.
- **error map**: what got lost; black is nothing.
- **cycle error**: the same as one number; below 0.05 is good.

It needs both directions: one file that has them, or a second file in *model_name_b_to_a*.
"""
NOTE_TRAIN = """### Train a style of your own

1. Make two folders in ComfyUI's `input` folder: `photos` and `paintings`, say, with a few hundred \
pictures each. No pairs are needed.
2. Press **R**, and choose them as *folder_a* and *folder_b*.
3. Give the training a name and press **Run**.

The node shows what it has learned so far. **Cancel** whenever you like, and run again to go on.
Afterwards, **Load CycleGAN** has the model: under the training's name, and as **Save CycleGAN** \
called it. A graphics card is needed in practice.
"""

Spec = dict[str, Any]
"""Nodes (type, place, size, widget values, title) and links (node, output, node, input)."""


def _node(kind: str, at: tuple[int, int], size: tuple[int, int], *values: Any, **more: str) -> Spec:
    return {"type": kind, "pos": at, "size": size, "values": values, **more}


TRANSLATE: Spec = {
    "nodes": [
        _node("MarkdownNote", (0, 0), (340, 190), NOTE_TRANSLATE, title="Read me"),
        _node("LoadImage", (380, 200), (340, 390), PICTURE),
        _node("CycleGAN_Load", (380, 0), (340, 130), BUNDLED_MODEL),
        _node("CycleGAN_Translate", (760, 0), (300, 230)),
        _node("SaveImage", (1100, 0), (400, 480), "CycleGAN"),
    ],
    "links": [(2, 0, 3, 0), (1, 0, 3, 1), (3, 0, 4, 0)],
}
RECONSTRUCT: Spec = {
    "nodes": [
        _node("MarkdownNote", (0, 0), (340, 220), NOTE_RECONSTRUCT, title="Read me"),
        _node("LoadImage", (380, 200), (340, 390), PICTURE),
        _node("CycleGAN_Load", (380, 0), (340, 130), BUNDLED_MODEL, "A→B", BUNDLED_MODEL_BACK),
        _node("CycleGAN_Reconstruct", (760, 0), (300, 130)),
        _node("PreviewImage", (1100, 0), (300, 270), title="translated"),
        _node("PreviewImage", (1100, 310), (300, 270), title="reconstructed"),
        _node("PreviewImage", (1100, 620), (300, 270), title="error map"),
        _node("PreviewAny", (760, 620), (300, 90), title="cycle error"),
    ],
    "links": [
        (2, 0, 3, 0),
        (1, 0, 3, 1),
        *((3, output, 4 + output, 0) for output in range(4)),
    ],
}
TRAIN: Spec = {
    "nodes": [
        _node("MarkdownNote", (0, 0), (340, 260), NOTE_TRAIN, title="Read me"),
        _node("CycleGAN_Train", (380, 0), (360, 640), "photos", "paintings"),
        _node("CycleGAN_Save", (380, 690), (360, 140), "my_style", "fp32", True),
        _node("PreviewImage", (780, 0), (520, 390), title="samples"),
        _node("PreviewAny", (780, 440), (520, 390), title="summary"),
        _node("CycleGAN_PlotLosses", (1340, 0), (480, 90)),
        _node("PreviewImage", (1340, 140), (480, 320), title="losses"),
    ],
    "links": [(1, 0, 2, 0), (1, 2, 3, 0), (1, 3, 4, 0), (1, 1, 5, 0), (5, 0, 6, 0)],
}
EXAMPLES = {"load_translate": TRANSLATE, "cycle_reconstruct": RECONSTRUCT, "train": TRAIN}

SHORT = {"steps": 24, "image_size": 128}
"""For the thumbnail; the file keeps the node's defaults."""
TRAINING_TIMEOUT_MS = 600_000.0

BUILD = """([spec, id]) => {
    const graph = app.graph;
    graph.id = id;
    const nodes = spec.nodes.map(({type, pos, size, values, title}) => {
        const node = LiteGraph.createNode(type);
        node.pos = pos;
        graph.add(node);
        node.setSize(size);
        if (title) node.title = title;
        values.forEach((value, index) => { node.widgets[index].value = value; });
        return node;
    });
    for (const [source, output, target, input] of spec.links)
        nodes[source].connect(output, nodes[target], input);
    app.canvas.ds.scale = 0.7;  // all of it is in sight, below the page's own bars
    app.canvas.ds.offset = [140, 250];
}"""

SHORTEN = """([values, models]) => {
    const train = app.graph.nodes.find(node => node.type === 'CycleGAN_Train');
    if (!train) return;
    for (const widget of train.widgets)
        if (widget.name in values) widget.value = values[widget.name];
    const load = LiteGraph.createNode('CycleGAN_Load');
    load.pos = [0, 310];
    app.graph.add(load);
    models.forEach((value, index) => { load.widgets[index].value = value; });
    load.connect(0, train, 'start_model');
}"""


def make_example(page: ComfyPage, client: Client, name: str) -> None:
    """Build, export and run one example; write its two files."""
    page.new_workflow()
    page.tab.evaluate(BUILD, [EXAMPLES[name], str(uuid.uuid5(uuid.NAMESPACE_URL, name))])
    page.settle()
    export(page.tab, EXAMPLES_DIR / f"{name}.json")
    page.tab.evaluate(SHORTEN, [SHORT, [BUNDLED_MODEL, "A→B", BUNDLED_MODEL_BACK]])
    if page.run() != "execution_success":
        raise RuntimeError(f"{name} failed: {page.dialog().inner_text()}")
    kinds = [node["type"] for node in EXAMPLES[name]["nodes"]]
    shown = [
        image
        for kind in ("LoadImage", "SaveImage", "PreviewImage")
        if kind in kinds
        for image in page.shown_images(kind, kinds.count(kind))
    ]
    page.shoot(f"example-{name}")
    pictures = [_fetch(client, image["url"]) for image in shown]
    TILES[name](pictures).save(EXAMPLES_DIR / f"{name}.jpg", quality=88, optimize=True)


def export(tab: Page, path: Path) -> None:
    """Save the open workflow with the page's own export."""
    with tab.expect_download() as download:
        tab.evaluate("() => void app.extensionManager.command.execute('Comfy.ExportWorkflow')")
        tab.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    download.value.save_as(path)


def _fetch(client: Client, url: str) -> Image.Image:
    answer = client.request("GET", url.removeprefix(client.address))
    answer.raise_for_status()
    return Image.open(io.BytesIO(answer.content)).convert("RGB")


def halves(pictures: Sequence[Image.Image]) -> Image.Image:
    """One square: its left half from the first picture, its right half from the second."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    left, right = (picture.resize(size, Image.Resampling.BOX) for picture in pictures)
    half = THUMBNAIL_SIZE // 2
    left.paste(right.crop((half, 0, *size)), (half, 0))
    left.paste((255, 255, 255), (half - 1, 0, half + 1, THUMBNAIL_SIZE))
    return left


def quarters(pictures: Sequence[Image.Image]) -> Image.Image:
    """One square of four small pictures: top left, top right, bottom left, bottom right."""
    half = THUMBNAIL_SIZE // 2
    result = Image.new("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    for index, picture in enumerate(pictures):
        small = picture.resize((half, half), Image.Resampling.BOX)
        result.paste(small, (index % 2 * half, index // 2 * half))
    return result


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """One square as wide as each of two pictures: all of the second, above it what fits."""
    top, bottom = (
        picture.resize(
            (THUMBNAIL_SIZE, THUMBNAIL_SIZE * picture.height // picture.width),
            Image.Resampling.BOX,
        )
        for picture in pictures
    )
    result = Image.new("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    result.paste(top, (0, 0))
    result.paste(bottom, (0, THUMBNAIL_SIZE - bottom.height))
    return result


TILES = {"load_translate": halves, "cycle_reconstruct": quarters, "train": stacked}


def write_inputs(input_dir: Path) -> None:
    """What the examples read: a picture, and two folders of cut-outs."""
    from skimage import data

    photo = Image.fromarray(data.astronaut())
    (input_dir / PICTURE).write_bytes(png_bytes(photo))
    painting = Image.fromarray(_painted(np.array(photo)))
    for name, picture in (("photos", photo), ("paintings", painting)):
        (input_dir / name).mkdir()
        for number in range(9):
            left, top = number % 3 * 128, number // 3 * 128
            cut_out = picture.crop((left, top, left + 256, top + 256))
            (input_dir / name / f"{number}.png").write_bytes(png_bytes(cut_out))


def _painted(pixels: np.ndarray) -> np.ndarray:
    """(H,W,3) bytes through the bundled model."""
    model = cyclegan_core.load_model(REPO_DIR / "weights" / BUNDLED_MODEL)
    batch = torch.from_numpy(pixels).movedim(-1, 0)[None] / 255
    return model.translate(batch)[0].movedim(0, -1).mul(255).round().byte().numpy()


def main(argv: Sequence[str] | None = None) -> int:
    """Make the examples."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Make the example workflows and thumbnails.")
    parser.add_argument("names", nargs="*", default=[*EXAMPLES], help="which ones; all by default")
    names = parser.parse_args(argv).names
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="cyclegan-examples-") as temp:
        host = Host(provision(), Path(temp).resolve())
        host.prepare()
        write_inputs(host.input_dir)
        with host, sync_playwright() as playwright:
            client = Client(host.address)
            client.request("POST", "/settings", json=SETTINGS).raise_for_status()
            browser = playwright.chromium.launch(
                executable_path=next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None),
                args=[*CHROMIUM_OPTIONS],
            )
            page = ComfyPage(browser.new_page(viewport=VIEWPORT), host.address)
            page.tab.set_default_timeout(TRAINING_TIMEOUT_MS)
            page.open()
            for name in names:
                make_example(page, client, name)
                log.info("made %s", EXAMPLES_DIR / name)
            browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
