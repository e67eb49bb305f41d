"""The example workflows: found, opened, run, and what a person sees when it goes wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from tests.host.client import Client
from tests.host.comfyui import PACK_NAME, Host
from tests.host.samples import assert_one_sentence
from tests.unit.films.clips import times_of

from .comfypage import ComfyPage, Workflow

EXAMPLES_DIR = Path(__file__).resolve().parents[2] / "example_workflows"
EXAMPLES = sorted(path.stem for path in EXAMPLES_DIR.glob("*.json"))
TRANSLATE = "Translate a picture"
RESULTS = {
    "Before and after side by side": {"PreviewImage": 1},
    "Slider (ComfyUI 0.9 or newer)": {"PreviewImage": 1},
    "Go on with a training": {"CycleGAN_Train": 1, "PreviewImage": 2},
    "Large photo, broad strokes": {"PreviewImage": 2},
    "There and back again": {"PreviewImage": 3},
    "Train a style": {"CycleGAN_Train": 1, "PreviewImage": 1},
    "Translate a picture": {"SaveImage": 1},
    "Translate a video": {},
}
"""Pictures that a run of an example shows, by type of node; the download has a test of its own."""

THUMBNAIL_LIMIT = 150_000
BATCH_SIZE = 16


@pytest.fixture(scope="module")
def known(client: Client) -> set[str]:
    """Types of nodes that the page can draw."""
    return {*client.object_info(), "MarkdownNote"}


def example(name: str, known: set[str] | None = None, **widgets: dict[str, object]) -> Workflow:
    """An example workflow with some widget values replaced: type of node={name: value}."""
    workflow = json.loads((EXAMPLES_DIR / f"{name}.json").read_text(encoding="utf-8"))
    for node in workflow["nodes"]:
        if known and node["type"] not in known:
            pytest.skip(f"this host has no {node['type']}")
        names = node["properties"].get("cyclegan_widgets", [])
        for widget, value in widgets.get(node["type"], {}).items():
            node["widgets_values"][names.index(widget)] = value
    return workflow


def read_picture(client: Client, url: str) -> Image.Image:
    """The picture that the page shows from an address of the host."""
    answer = client.request("GET", url.removeprefix(client.address))
    answer.raise_for_status()
    return Image.open(io.BytesIO(answer.content)).convert("RGB")


def test_there_are_examples_and_each_has_a_test_of_its_run() -> None:
    assert {*RESULTS, "Download a model from the Hub"} == set(EXAMPLES)
    assert max(map(len, EXAMPLES)) <= 30, "the page's cards cut a longer title"


@pytest.mark.parametrize("name", EXAMPLES)
def test_notes_are_readable_on_every_page(name: str) -> None:
    """Newer pages draw code in notes dark on dark."""
    notes = [node for node in example(name)["nodes"] if node["type"] == "MarkdownNote"]
    assert notes
    assert "`" not in str(notes)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_opens_as_it_was_saved(page: ComfyPage, name: str, known: set[str]) -> None:
    """No node is missing, and no widget is: saving it again gives the same file."""
    saved = example(name, known)
    page.load(saved, name)
    assert page.complaints() == []
    again = json.loads(page.tab.evaluate("() => JSON.stringify(app.graph.serialize())"))
    for ours, theirs in zip(saved["nodes"], again["nodes"], strict=True):
        assert ours["type"] == theirs["type"]
        values, same = (node.get("widgets_values") or [] for node in (ours, theirs))
        assert same[: len(values)] == values  # a newer page may add what it shows
    assert again["links"] == saved["links"]
    page.shoot(f"{name}-opened")


@pytest.mark.parametrize("name", RESULTS)
def test_example_runs_as_it_stands(page: ComfyPage, name: str, known: set[str]) -> None:
    """Open it, press Run, see pictures; a training is cut short. No node hides another after it."""
    # A run of its own: what another template has trained just so, the host would not train again.
    training = {"steps": 2, "run_name": name.replace(" ", "_")}
    page.load(example(name, known, CycleGAN_Train=training), name)
    assert page.run() == "execution_success", page.error_text()
    for kind, count in RESULTS[name].items():
        page.shown_images(kind, count)
    page.shoot(f"{name}-done")
    page.use_modern_nodes()
    page.fit_view()
    page.shoot(f"{name}-modern")
    assert page.overlaps() == []
    assert page.drawn_images("CycleGAN_Train") == RESULTS[name].get("CycleGAN_Train", 0)


def test_translation_differs_and_keeps_the_size(page: ComfyPage, client: Client) -> None:
    page.load(example(TRANSLATE))
    assert page.run() == "execution_success"
    (photo,) = page.shown_images("LoadImage")
    (result,) = page.shown_images("SaveImage")
    assert result["size"] == photo["size"] == [256, 192]
    pictures = [read_picture(client, image["url"]).tobytes() for image in (photo, result)]
    assert pictures[0] != pictures[1]


def test_the_video_is_saved_with_all_frames_of_the_clip(page: ComfyPage, host: Host) -> None:
    folder = host.output_dir / "video"
    before = {*folder.glob("*")}
    # Not as it was run before, which would be there already.
    page.load(example("Translate a video", CycleGAN_TranslateVideo={"detail": 0.9}))
    assert page.run() == "execution_success", page.error_text()
    (made,) = {*folder.glob("*")} - before
    assert times_of(made) == times_of(host.input_dir / "cyclegan_mountain.mp4") != []


def test_cycle_error_is_shown(page: ComfyPage) -> None:
    page.load(example("There and back again"))
    assert page.run() == "execution_success"
    text = page.tab.evaluate(
        "() => app.graph.nodes.find(node => node.type === 'PreviewAny').widgets"
        ".map(widget => widget.value).find(value => parseFloat(value) > 0)"
    )
    assert 0 < float(text) < 1


def model_names(client: Client) -> set[str]:
    """What Load CycleGAN offers."""
    _, options = client.object_info()["CycleGAN_Load"]["input"]["required"]["model_name"]
    return {*options["options"]}


def test_train_shows_samples_and_saves_the_model(
    page: ComfyPage, client: Client, host: Host
) -> None:
    """Three steps on the drawings; all else is as in the file. Load has one model more."""
    before = model_names(client)
    page.load(example("Train a style", CycleGAN_Train={"steps": 3, "run_name": "short"}))
    assert page.run() == "execution_success", page.error_text()
    (samples,) = page.shown_images("PreviewImage")
    assert samples["size"][0] >= 4 * 64
    assert model_names(client) - before == {"short/model.safetensors"}
    drawings = [*(host.input_dir / "cyclegan_examples").rglob("*.png")]
    assert len(drawings) == 2 * 100
    assert {path.parent.name for path in drawings} == {"summer", "winter"}


@pytest.mark.parametrize("is_modern", [False, True])
def test_what_a_training_says_has_room_and_stays(
    page: ComfyPage,
    client: Client,
    is_modern: bool,  # noqa: FBT001 - a parameter of pytest
) -> None:
    """While it runs and after a cancel, beside its samples."""
    # The drawings are smaller than that, which is worth a warning for each folder.
    settings = {"steps": 100_000, "run_name": f"room_{is_modern}", "image_size": 128}
    page.load(
        example(
            "Train a style", CycleGAN_Train=settings, CycleGAN_TrainSettings={"sample_every": 5}
        )
    )
    if is_modern:
        page.use_modern_nodes()
    page.press_run()
    try:
        page.wait_for_text("CycleGAN_Train", lines=5)  # step, losses, what, two warnings
        page.wait_for_preview("CycleGAN_Train")
        assert_has_room(page.room_on("CycleGAN_Train", "Step "))
        page.shoot(f"train-room-{is_modern}")
    finally:
        client.interrupt()
    page.tab.wait_for_function("() => seen.endings.at(-1) === 'execution_interrupted'")
    assert_has_room(page.room_on("CycleGAN_Train", "Cancelled: everything is saved at step "))
    page.shoot(f"train-room-{is_modern}-cancelled")


def assert_has_room(found: dict[str, Any]) -> None:
    """All of the text is to be seen, on the node, and above or below its picture."""
    assert found["cut"] == []
    node, text, picture = (found[name] for name in ("node", "text", "picture"))
    assert node[0] < text[0] < text[1] < node[1]
    assert text[1] <= picture[0] or picture[1] <= text[0]


def test_training_without_its_folders_is_one_readable_sentence(page: ComfyPage) -> None:
    workflow = example("Train a style")
    train = next(node for node in workflow["nodes"] if node["type"] == "CycleGAN_Train")
    gone = [link[0] for link in workflow["links"] if link[3] == train["id"] and link[1] == 2]
    assert len(gone) == 2, "the folders come from the drawings"
    page.load(workflow)
    page.tab.evaluate(
        """() => {
            const train = app.graph.nodes.find(node => node.type === 'CycleGAN_Train');
            for (const name of ['folder_a', 'folder_b']) {
                train.disconnectInput(train.findInputSlot(name));
                train.widgets.find(widget => widget.name === name).value = 'nowhere';
            }
        }"""
    )
    assert page.run() == "execution_error"
    lines = page.error_text().splitlines()
    page.shoot("error-train-folders")
    message = next(line for line in lines if "nowhere" in line)
    assert "There is no folder 'nowhere' under ComfyUI's input; " in message


def test_progress_moves_in_the_title(page: ComfyPage) -> None:
    """A batch: the tab's title counts the node's percent up, picture by picture."""
    page.load(example(TRANSLATE))
    page.repeat_image(BATCH_SIZE)
    assert page.run() == "execution_success"
    percents = page.progress_of("CycleGAN_Translate")
    assert percents == sorted(percents)
    # The page draws the newest state only, so a busy machine skips some.
    assert len(set(percents) - {0, 100}) >= 3
    page.shown_images("SaveImage", BATCH_SIZE)
    page.shoot("batch-done")


def test_wrong_direction_is_one_readable_sentence(page: ComfyPage) -> None:
    workflow = example(
        TRANSLATE,
        CycleGAN_Load={"model_name": "forward.pth"},
        CycleGAN_Translate={"direction": "B→A"},
    )
    page.load(workflow)
    assert page.run() == "execution_error"
    text = page.error_text()
    page.shoot("error-direction")
    line = next(line for line in text.splitlines() if "only translates" in line)
    # Before it stands what kind of error it is, in words of the page's version.
    message = line[line.index("This model") :]
    assert_one_sentence(message)
    assert "A→B" in message
    assert "Translate" in text


def test_missing_model_is_one_readable_sentence(page: ComfyPage) -> None:
    page.load(example(TRANSLATE, CycleGAN_Load={"model_name": "gone.safetensors"}))
    assert page.run() == "execution_error"
    text = page.error_text()
    page.shoot("error-missing-model")
    assert "There is no model 'gone.safetensors' in models/cyclegan" in text


def test_templates_show_the_examples(page: ComfyPage) -> None:
    """In the page's template browser, with their thumbnails; a click opens one."""
    page.tab.get_by_role("button", name="Templates").click()
    dialog = page.dialog()
    dialog.get_by_text(PACK_NAME).first.click()
    for name in EXAMPLES:
        card = dialog.get_by_test_id(f"template-workflow-{name}")
        card.get_by_text(name, exact=True).first.wait_for()
        card.scroll_into_view_if_needed()  # the page loads a thumbnail when it can be seen
        card.locator("img").first.wait_for()
        page.tab.wait_for_function(
            "image => image.complete && image.naturalWidth > 0",
            arg=card.locator("img").first.element_handle(),
        )
    page.shoot("templates")
    dialog.get_by_test_id(f"template-workflow-{TRANSLATE}").click()
    page.tab.wait_for_function(
        "() => app.graph.nodes.some(node => node.type === 'CycleGAN_Translate')"
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_thumbnail_is_small_and_served(client: Client, name: str) -> None:
    answer = client.request("GET", f"/api/workflow_templates/{PACK_NAME}/{quote(name)}.jpg")
    assert answer.ok
    assert len(answer.content) < THUMBNAIL_LIMIT
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == "JPEG"
        assert picture.width == picture.height
