"""Build the example workflows in the real page, run them, and save them with their thumbnails.

``python -m tests.browser.make_examples``

The page's own "Export" writes each file, so it opens again exactly as it was saved. The thumbnails
show what the run made of the pack's photographs, Aitzol Berasategi's life and picosdeeuropa
(CC-BY-4.0), and of its own drawings. Templates with nodes that the host lacks are left out: for
those set COMFYUI_DIR to a newer ComfyUI. Written anew are the files of example_workflows/; look at
them before you commit them. With --graph only the README's picture of a graph is made,
docs/graph.jpg, best with the newest page (COMFYUI_FRONTEND).
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

from PIL import Image, ImageDraw, ImageOps

from tests.host.client import Client
from tests.host.comfyui import REPO_DIR, Host, provision

from .comfypage import SETTINGS, ComfyPage
from .conftest import BUNDLED_MODEL_BACK, CHROMIUM_NAMES, CHROMIUM_OPTIONS, VIEWPORT

if TYPE_CHECKING:
    from playwright.sync_api import Page

log = logging.getLogger(__name__)
EXAMPLES_DIR = REPO_DIR / "example_workflows"
THUMBNAIL_SIZE = 512
PICTURE, LARGE_PICTURE = "cyclegan_stream.jpg", "cyclegan_mountain_large.jpg"
CLIP = "cyclegan_mountain.mp4"
"""Which the pack puts into the input folder of every host."""
WORK_SIZE = 300
"""Pixels of the stream's short side: strokes are seen, and its stones are still stones."""

Spec = dict[str, Any]
"""Nodes (type, place, size, title, widget values) and links (node, output, node, input)."""


def _note(text: str, *, height: int = 260) -> Spec:
    """What to do, at the left; without code between backticks, which newer pages can't show."""
    return _node("MarkdownNote", (0, 0), (360, height), title="Read me", text=text)


def _node(kind: str, at: tuple[int, int], size: tuple[int, int], title: str = "", **values: Any):
    """A node; its widgets have these values, and else their defaults."""
    return {"type": kind, "pos": at, "size": size, "title": title, "values": values}


NOTE_TRANSLATE = """\
Press **Run**: the photo comes out in dabs of paint, at its own size. Then

1. **Load Image**: choose a photo of yours.
2. **work_size** in **Translate**: the smaller, the broader the strokes. Here it is 300; 200 is \
bold, 0 is fine.
3. **Load CycleGAN**: choose another model; *photo2monet* comes with the pack.

Less of it? Lower *strength*. Only a part of the picture? Connect a *mask*.
"""
NOTE_COMPARE = """\
Press **Run**, then look at both pictures {how}.

*strength* blends the translation over the photo: 0.7 keeps more of the photo.
"""
NOTE_SLIDER = """
The slider needs **Nodes 2.0**, which ComfyUI's menu turns on; the classic canvas shows the result \
below **Translate**.
"""
NOTE_LARGE = """\
A network paints strokes of so many pixels, and on a large photo nobody sees them. With \
*work_size* the network sees the photo smaller:

- **0**: as it is. Fine strokes.
- **-1**: at twice the size that the model was trained at, but at least 512. Broader strokes.
- or the short side in pixels, as **320** here. The smaller, the broader.

The result keeps the photo's size, and *detail* gives its sharpness back.
"""
NOTE_VIDEO = """\
1. **Load Video**: choose a video. A short clip, *cyclegan_mountain.mp4*, is there to try it with.
2. **Load CycleGAN**: choose a model.
3. Press **Run**. The result has the video's size, frame rate and sound, and lies in output/video.

Any length will do; Cancel works at any frame, and the next run goes on from there. *statistics* \
is *shared*: with models that have instance norm, what stands still does not flicker.
"""
NOTE_RECONSTRUCT = """\
A CycleGAN learns two translations at once, and the way back must lead to the original.

- **translated**: half way, photo to painting.
- **reconstructed**: back again; ideally the photo.
- **error map**: what got lost; black is nothing.
- **cycle error**: the same as one number; 0.05 is good, 0.15 is not.

It needs both directions: one file that has them, or a second file in *model_name_b_to_a*.
"""
NOTE_DOWNLOAD = """\
1. **Download CycleGAN from Hub**: choose a model, or choose *typed below* and type a repository \
as owner/repo.
2. **Load Image**: choose a picture of what the model takes, a horse for *horse-zebra*.
3. Press **Run**. Only now the network is used; the file is verified and kept in models/cyclegan.

From then on it needs no network, and **Load CycleGAN** lists it too (press **R**).
"""
NOTE_TRAIN = """\
Press **Run** to try it: **CycleGAN Example Pictures** draws summer and winter landscapes into the \
input folder, and a small network learns to turn one into the other. It takes a minute or two on a \
processor.

**Your own pictures:**

1. Make two folders in ComfyUI's input folder, photos and paintings, say, with a few hundred \
pictures each. No pairs are needed.
2. Press **R**. In a new workflow, double-click on the canvas and add **Train CycleGAN on \
Folders**, all by itself: a new node's *steps* and *image_size* suit this computer, and no \
settings are needed.
3. Choose as *folder_a* the pictures as they are, as *folder_b* those as they shall become, and \
type a *run_name*.
4. Press **Run**. It says how long that takes here, and stops for now after *max_minutes*.

**Cancel** whenever you like (ComfyUI calls that a failed job; nothing is lost), and run again to \
go on.

**Use it:** press **R**; **Load CycleGAN**, in any graph, has the model under the run's name.
"""
NOTE_RESUME = """\
A training goes on where it stopped as long as its *run_name* is the same: after **Cancel**, after \
*max_minutes*, and when *steps* is raised, as here from 400 to 800 for the run of the template \
*Train a style*.

Keep *seed*, *image_size* and the networks' settings as they were. More pictures may be added to \
the folders. **Plot CycleGAN Losses** draws the whole training, from its first step on.
"""


def _load(**values: Any) -> Spec:
    return _node("CycleGAN_Load", (420, 0), (380, 130), **values)


def _photo(name: str = PICTURE) -> Spec:
    return _node("LoadImage", (420, 260), (380, 420), image=name)


def _small_training(steps: int) -> list[Spec]:
    """From 2 on: the pictures, settings for a minute on a processor, and the training."""
    return [
        _node("CycleGAN_Examples", (420, 0), (380, 140)),
        _node("CycleGAN_TrainSettings", (420, 260), (380, 140), **SMALL_NETWORK),
        _node(
            "CycleGAN_Train",
            (860, 0),
            (640, 1000),
            folder_a="cyclegan_examples/summer",
            folder_b="cyclegan_examples/winter",
            run_name="my_first_style",
            steps=steps,
            image_size=64,
        ),
    ]


SMALL_NETWORK = {
    "num_blocks": 3,
    "base_channels": 16,
    "upsample": "resize",
    "lr": 0.0005,
    "ema_decay": 0.98,
    "sample_every": 50,
}
SMALL_LINKS = [(1, 0, 3, "folder_a"), (1, 1, 3, "folder_b"), (2, 0, 3, "settings")]

TRANSLATE_LINKS = [(1, 0, 3, "model"), (2, 0, 3, "image")]

TRANSLATE: Spec = {
    "nodes": [
        _note(NOTE_TRANSLATE),
        _load(),
        _photo(),
        _node("CycleGAN_Translate", (860, 0), (320, 230), work_size=WORK_SIZE),
        _node("SaveImage", (1240, 0), (420, 500), filename_prefix="CycleGAN"),
    ],
    "links": [*TRANSLATE_LINKS, (3, 0, 4, "images")],
}
SLIDER: Spec = {
    "nodes": [
        _note(NOTE_COMPARE.format(how="with the slider") + NOTE_SLIDER),
        _load(),
        _photo(),
        _node("CycleGAN_Translate", (860, 0), (320, 230), work_size=WORK_SIZE),
        _node("ImageCompare", (1240, 0), (480, 520), title="before | after"),
        _node("PreviewImage", (860, 400), (320, 320)),
    ],
    "links": [
        *TRANSLATE_LINKS,
        (2, 0, 4, "image_a"),
        (3, 0, 4, "image_b"),
        (3, 0, 5, "images"),
    ],
}
SIDE_BY_SIDE: Spec = {
    "nodes": [
        _note(NOTE_COMPARE.format(how="side by side")),
        _load(),
        _photo(),
        _node("CycleGAN_Translate", (860, 0), (320, 230), work_size=WORK_SIZE),
        _node("ImageStitch", (860, 460), (320, 200)),
        _node("PreviewImage", (1240, 0), (640, 400), title="before and after"),
    ],
    "links": [
        *TRANSLATE_LINKS,
        (2, 0, 4, "image1"),
        (3, 0, 4, "image2"),
        (4, 0, 5, "images"),
    ],
}
LARGE: Spec = {
    "nodes": [
        _note(NOTE_LARGE, height=320),
        _load(),
        _photo(LARGE_PICTURE),
        _node("CycleGAN_Translate", (860, 0), (320, 230), title="fine strokes"),
        _node("CycleGAN_Translate", (860, 480), (320, 230), title="broad strokes", work_size=320),
        _node("PreviewImage", (1240, 0), (460, 400), title="work_size 0"),
        _node("PreviewImage", (1240, 480), (460, 400), title="work_size 320"),
    ],
    "links": [
        *TRANSLATE_LINKS,
        (1, 0, 4, "model"),
        (2, 0, 4, "image"),
        (3, 0, 5, "images"),
        (4, 0, 6, "images"),
    ],
}
VIDEO: Spec = {
    "nodes": [
        _note(NOTE_VIDEO, height=320),
        _load(),
        _node("LoadVideo", (420, 260), (380, 460), file=CLIP),
        _node("CycleGAN_TranslateVideo", (860, 0), (340, 290)),
        _node("SaveVideo", (1260, 0), (480, 560), filename_prefix="video/CycleGAN"),
    ],
    "links": [(1, 0, 3, "model"), (2, 0, 3, "video"), (3, 0, 4, "video")],
}
RECONSTRUCT: Spec = {
    "nodes": [
        _note(NOTE_RECONSTRUCT, height=320),
        _load(model_name_b_to_a=BUNDLED_MODEL_BACK),
        _photo(),
        _node("CycleGAN_Reconstruct", (860, 0), (320, 170)),
        _node("PreviewImage", (1300, 0), (340, 360), title="translated"),
        _node("PreviewImage", (1700, 0), (340, 360), title="reconstructed"),
        _node("PreviewImage", (1300, 460), (340, 360), title="error map"),
        _node("PreviewAny", (1700, 460), (340, 200), title="cycle error"),
    ],
    "links": [
        *TRANSLATE_LINKS,
        (3, 0, 4, "images"),
        (3, 1, 5, "images"),
        (3, 2, 6, "images"),
        (3, 3, 7, "source"),
    ],
}
DOWNLOAD: Spec = {
    "nodes": [
        _note(NOTE_DOWNLOAD, height=320),
        _node("CycleGAN_Download", (420, 0), (440, 200)),
        _node("LoadImage", (420, 360), (440, 420), image=PICTURE),
        _node("CycleGAN_Translate", (920, 0), (320, 230)),
        _node("SaveImage", (1300, 0), (420, 500), filename_prefix="CycleGAN"),
    ],
    "links": [*TRANSLATE_LINKS, (3, 0, 4, "images")],
}
TRAIN: Spec = {
    "nodes": [
        _note(NOTE_TRAIN, height=580),
        *_small_training(400),
        _node("PreviewImage", (1560, 0), (520, 440), title="samples"),
        _node("PreviewAny", (1560, 520), (520, 300), title="summary"),
    ],
    "links": [*SMALL_LINKS, (3, 2, 4, "images"), (3, 3, 5, "source")],
}
RESUME: Spec = {
    "nodes": [
        _note(NOTE_RESUME, height=260),
        *_small_training(800),
        _node("PreviewImage", (1560, 0), (520, 440), title="samples"),
        _node("CycleGAN_PlotLosses", (1560, 520), (300, 90)),
        _node("PreviewImage", (1560, 700), (520, 340), title="losses"),
    ],
    "links": [
        *SMALL_LINKS,
        (3, 2, 4, "images"),
        (3, 1, 5, "losses"),
        (5, 0, 6, "images"),
    ],
}
EXAMPLES = {
    "Translate a picture": TRANSLATE,
    "Slider (ComfyUI 0.9 or newer)": SLIDER,
    "Before and after side by side": SIDE_BY_SIDE,
    "Large photo, broad strokes": LARGE,
    "Translate a video": VIDEO,
    "There and back again": RECONSTRUCT,
    "Download a model from the Hub": DOWNLOAD,
    "Train a style": TRAIN,
    "Go on with a training": RESUME,
}
"""The page shows a file's name as its title, also where the host lacks one of its nodes."""

TRAINING_TIMEOUT_MS = 3_600_000.0

BUILD = """([spec, id]) => {
    const graph = app.graph;
    graph.id = id;
    const nodes = spec.nodes.map(({type, pos, size, values, title}) => {
        const node = LiteGraph.createNode(type);
        node.pos = pos;
        graph.add(node);
        node.setSize(size);
        if (title) node.title = title;
        for (const [name, value] of Object.entries(values))
            node.widgets.find(widget => widget.name === name).value = value;
        return node;
    });
    for (const [source, output, target, input] of spec.links)
        nodes[source].connect(output, nodes[target], input);
    // All of it is in sight, as large as can be, below the page's own bars.
    const [right, bottom] = [0, 1].map(
        axis => Math.max(...nodes.map(node => node.pos[axis] + node.size[axis])));
    const scale = Math.floor(100 * Math.min(1300 / right, 690 / bottom)) / 100;
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [84 / scale, 175 / scale];
}"""


def make_example(page: ComfyPage, client: Client, name: str, *, run: bool) -> None:
    """Build, export and run one example; write its two files, or the first alone."""
    page.new_workflow()
    page.tab.evaluate(BUILD, [EXAMPLES[name], str(uuid.uuid5(uuid.NAMESPACE_URL, name))])
    page.settle()
    export(page.tab, EXAMPLES_DIR / f"{name}.json")
    if not run or EXAMPLES[name] is DOWNLOAD:  # needs the network: its thumbnail is a drawing
        return
    if page.run() != "execution_success":
        raise RuntimeError(f"{name} failed: {page.error_text()}")
    kinds = [node["type"] for node in EXAMPLES[name]["nodes"]]
    counts = {kind: kinds.count(kind) for kind in ("LoadImage", "SaveImage", "PreviewImage")}
    shown = [
        image for kind, count in counts.items() if count for image in page.shown_images(kind, count)
    ]
    page.shoot(f"example-{name}")
    pictures = [_fetch(client, image["url"]) for image in shown]
    if EXAMPLES[name] is VIDEO:
        films = (
            f"/view?filename={CLIP}&type=input",
            "/view?filename=CycleGAN_00001_.mp4&subfolder=video",
        )
        pictures = [frame for film in films for frame in _fetch_frames(client, film)]
    if EXAMPLES[name] is RESUME:
        folder = "subfolder=cyclegan/my_first_style/samples"
        steps = ("0000050", "0000800")
        pictures = [_fetch(client, f"/view?filename=step_{step}.jpg&{folder}") for step in steps]
    TILES[name](pictures).save(EXAMPLES_DIR / f"{name}.jpg", quality=88, optimize=True)


def draw_graph(page: ComfyPage, path: Path) -> None:
    """Run the first example, and save what its nodes look like."""
    page.new_workflow()
    page.tab.evaluate(BUILD, [EXAMPLES["Translate a picture"], "graph"])
    page.tab.evaluate(
        "() => app.graph.remove(app.graph.nodes.find(node => node.type === 'MarkdownNote'))"
    )
    page.use_modern_nodes()
    if page.run() != "execution_success":
        raise RuntimeError(page.error_text())
    page.shown_images("SaveImage")
    page.fit_view()
    edges = page.tab.evaluate(
        """() => [...document.querySelectorAll('[data-node-id]')]
            .map(node => node.getBoundingClientRect())
            .map(box => [box.left, box.top, box.right, box.bottom])"""
    )
    left, top, right, bottom = (
        pick(side)
        for pick, side in zip((min, min, max, max), zip(*edges, strict=True), strict=True)
    )
    clip = {"x": left - 24, "y": top - 24, "width": right - left + 48, "height": bottom - top + 48}
    page.tab.screenshot(path=path, clip=clip, type="jpeg", quality=88)


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


def _fetch_frames(client: Client, url: str) -> list[Image.Image]:
    import av  # comes with the host's requirements

    answer = client.request("GET", url)
    answer.raise_for_status()
    with av.open(io.BytesIO(answer.content)) as clip:
        return [frame.to_image() for frame in clip.decode(video=0)]


def halves(pictures: Sequence[Image.Image]) -> Image.Image:
    """One square: its left half from the first picture, its right half from the second."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    left, right = (ImageOps.fit(picture, size) for picture in pictures)
    half = THUMBNAIL_SIZE // 2
    left.paste(right.crop((half, 0, *size)), (half, 0))
    left.paste((255, 255, 255), (half - 1, 0, half + 1, THUMBNAIL_SIZE))
    return left


def handle(picture: Image.Image) -> Image.Image:
    """The square with the handle of a slider in its middle."""
    pen, middle = ImageDraw.Draw(picture), THUMBNAIL_SIZE // 2
    pen.circle((middle, middle), 26, "white")
    for side in (-1, 1):
        points = [(middle + side * x, middle + y) for x, y in ((20, 0), (7, -11), (7, 11))]
        pen.polygon(points, "black")
    return picture


def columns(picture: Image.Image) -> Image.Image:
    """One square of two pictures that stand side by side: the middle of each, and a gap."""
    width, height = picture.width // 2, picture.height
    result = Image.new("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE), "white")
    for number in (0, 1):
        half = picture.crop((number * width, 0, (number + 1) * width, height))
        column = ImageOps.fit(half, (THUMBNAIL_SIZE // 2 - 4, THUMBNAIL_SIZE))
        result.paste(column, (number * (THUMBNAIL_SIZE // 2 + 4), 0))
    return result


def closeup(picture: Image.Image) -> Image.Image:
    """The middle of a picture, twice as large."""
    width, height = picture.size
    return picture.crop((width // 4, height // 4, width * 3 // 4, height * 3 // 4))


def film(frames: Sequence[Image.Image]) -> Image.Image:
    """Four moments of two films, the second on the right halves, below a button to play."""
    before, after = frames[: len(frames) // 2], frames[len(frames) // 2 :]
    moments = [round(share * (len(before) - 1)) for share in (0, 1 / 3, 2 / 3, 1)]
    result = quarters([halves((before[moment], after[moment])) for moment in moments])
    pen, middle = ImageDraw.Draw(result), THUMBNAIL_SIZE // 2
    pen.circle((middle, middle), 52, "white")
    pen.polygon([(middle + x, middle + y) for x, y in ((-16, -27), (-16, 27), (30, 0))], "black")
    return result


def four_columns(grid: Image.Image) -> Image.Image:
    """One square of the first four columns of a grid of samples, with their captions."""
    picture = grid.crop((0, 0, grid.width * 4 // 6, grid.height))
    return picture.resize((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BOX)


def quarters(pictures: Sequence[Image.Image]) -> Image.Image:
    """One square of four small pictures: top left, top right, bottom left, bottom right."""
    half = THUMBNAIL_SIZE // 2
    result = Image.new("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE))
    for index, picture in enumerate(pictures):
        small = ImageOps.fit(picture, (half, half))
        result.paste(small, (index % 2 * half, index // 2 * half))
    return result


def progress(grids: Sequence[Image.Image]) -> Image.Image:
    """One square of two grids of samples, an early and a late one: two rows of each."""
    half = THUMBNAIL_SIZE // 2
    result = Image.new("RGB", (THUMBNAIL_SIZE, THUMBNAIL_SIZE), "white")
    for number, grid in enumerate(grids):
        side = grid.width // 6
        top = grid.height - 4 * side  # below the captions
        rows = grid.crop((0, top, 4 * side, top + 2 * side))
        rows = rows.resize((THUMBNAIL_SIZE, half - 3), Image.Resampling.BOX)
        result.paste(rows, (0, number * (half + 3)))
    return result


TILES = {
    "Translate a picture": halves,
    "Slider (ComfyUI 0.9 or newer)": lambda pair: handle(halves(pair)),
    "Before and after side by side": lambda pictures: columns(pictures[-1]),
    "Large photo, broad strokes": lambda pictures: halves(
        [closeup(picture) for picture in pictures[1:]]
    ),
    "Translate a video": film,
    "There and back again": quarters,
    "Train a style": lambda pictures: four_columns(pictures[-1]),
    "Go on with a training": progress,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Make the examples."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Make the example workflows and thumbnails.")
    parser.add_argument("names", nargs="*", default=[*EXAMPLES], help="which ones; all by default")
    parser.add_argument("--keep-thumbnails", action="store_true", help="run nothing")
    parser.add_argument("--graph", action="store_true", help="only docs/graph.jpg")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="cyclegan-examples-") as temp:
        host = Host(provision(), Path(temp).resolve())
        host.prepare()
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
            if arguments.graph:
                draw_graph(page, REPO_DIR / "docs" / "graph.jpg")
                arguments.names = []
            known = client.object_info()
            for name in arguments.names:
                if (
                    lacking := {node["type"] for node in EXAMPLES[name]["nodes"]}
                    - set(known)
                    - {"MarkdownNote"}
                ):
                    log.info("left out %s: no %s here", name, ", ".join(lacking))
                    continue
                make_example(page, client, name, run=not arguments.keep_thumbnails)
                log.info("made %s", EXAMPLES_DIR / name)
            browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
