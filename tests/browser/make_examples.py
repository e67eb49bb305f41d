"""Build the example workflows in the real page, run them, and save them with their thumbnails.

``python -m tests.browser.make_examples``

The page's own "Export" writes each file, so it opens again exactly as it was saved. The thumbnails
show what the run made of scikit-image's `astronaut`, a picture by NASA in the public domain.
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

from PIL import Image

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

Spec = dict[str, Any]
"""Nodes (type, place, size, widget values, title) and links (node, output, node, input)."""


def _node(kind: str, at: tuple[int, int], size: tuple[int, int], *values: Any, **more: str) -> Spec:
    return {"type": kind, "pos": at, "size": size, "values": values, **more}


TRANSLATE: Spec = {
    "nodes": [
        _node("MarkdownNote", (0, 0), (340, 190), NOTE_TRANSLATE, title="Read me"),
        _node("LoadImage", (380, 200), (340, 390), PICTURE),
        _node("CycleGAN_Load", (380, 0), (340, 130), BUNDLED_MODEL),
        _node("CycleGAN_Translate", (760, 0), (300, 180)),
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
EXAMPLES = {"load_translate": TRANSLATE, "cycle_reconstruct": RECONSTRUCT}

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


def make_example(page: ComfyPage, client: Client, name: str) -> None:
    """Build, export and run one example; write its two files."""
    page.new_workflow()
    page.tab.evaluate(BUILD, [EXAMPLES[name], str(uuid.uuid5(uuid.NAMESPACE_URL, name))])
    page.settle()
    export(page.tab, EXAMPLES_DIR / f"{name}.json")
    if page.run() != "execution_success":
        raise RuntimeError(f"{name} failed: {page.dialog().inner_text()}")
    page.shoot(f"example-{name}")
    kinds = [node["type"] for node in EXAMPLES[name]["nodes"]]
    shown = [
        image
        for kind in ("LoadImage", "SaveImage", "PreviewImage")
        if kind in kinds
        for image in page.shown_images(kind, kinds.count(kind))
    ]
    pictures = [_fetch(client, image["url"]) for image in shown]
    tile = halves if len(pictures) == 2 else quarters
    tile(pictures).save(EXAMPLES_DIR / f"{name}.jpg", quality=88, optimize=True)


def export(tab: Page, path: Path) -> None:
    """Save the open workflow with the page's own export."""
    with tab.expect_download() as download:
        tab.evaluate("() => void app.extensionManager.command.execute('Comfy.ExportWorkflow')")
        tab.get_by_role("dialog").get_by_role("button", name="Confirm").click()
    download.value.save_as(path)


def _fetch(client: Client, url: str) -> Image.Image:
    answer = client.request("GET", url.removeprefix(client.address))
    answer.raise_for_status()
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    return Image.open(io.BytesIO(answer.content)).convert("RGB").resize(size, Image.Resampling.BOX)


def halves(pictures: Sequence[Image.Image]) -> Image.Image:
    """One square: its left half from the first picture, its right half from the second."""
    left, right = pictures
    half = THUMBNAIL_SIZE // 2
    result = left.copy()
    result.paste(right.crop((half, 0, THUMBNAIL_SIZE, THUMBNAIL_SIZE)), (half, 0))
    result.paste((255, 255, 255), (half - 1, 0, half + 1, THUMBNAIL_SIZE))
    return result


def quarters(pictures: Sequence[Image.Image]) -> Image.Image:
    """One square of four small pictures: top left, top right, bottom left, bottom right."""
    half = THUMBNAIL_SIZE // 2
    result = Image.new("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    for index, picture in enumerate(pictures):
        result.paste(picture.resize((half, half)), (index % 2 * half, index // 2 * half))
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Make all examples with the given model."""
    from playwright.sync_api import sync_playwright
    from skimage import data

    parser = argparse.ArgumentParser(description="Make the example workflows and thumbnails.")
    parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="cyclegan-examples-") as temp:
        host = Host(provision(), Path(temp).resolve())
        host.prepare()
        (host.input_dir / PICTURE).write_bytes(png_bytes(Image.fromarray(data.astronaut())))
        with host, sync_playwright() as playwright:
            client = Client(host.address)
            client.request("POST", "/settings", json=SETTINGS).raise_for_status()
            browser = playwright.chromium.launch(
                executable_path=next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None),
                args=[*CHROMIUM_OPTIONS],
            )
            page = ComfyPage(browser.new_page(viewport=VIEWPORT), host.address)
            page.open()
            for name in EXAMPLES:
                make_example(page, client, name)
                log.info("made %s", EXAMPLES_DIR / name)
            browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
