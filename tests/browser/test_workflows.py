"""The example workflows: found, opened, run, and what a person sees when it goes wrong."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.host.client import Client
from tests.host.comfyui import PACK_NAME, Host
from tests.host.samples import assert_one_sentence, write_pictures

from .comfypage import ComfyPage, Workflow

EXAMPLES_DIR = Path(__file__).resolve().parents[2] / "example_workflows"
EXAMPLES = sorted(path.stem for path in EXAMPLES_DIR.glob("*.json"))
THUMBNAIL_LIMIT = 150_000
BATCH_SIZE = 16


def example(name: str, **widgets: object) -> Workflow:
    """An example workflow with some widget values of its nodes replaced: type="…" → [values]."""
    workflow = json.loads((EXAMPLES_DIR / f"{name}.json").read_text(encoding="utf-8"))
    for node in workflow["nodes"]:
        if node["type"] in widgets:
            node["widgets_values"] = widgets[node["type"]]
    return workflow


def read_picture(client: Client, url: str) -> Image.Image:
    """The picture that the page shows from an address of the host."""
    answer = client.request("GET", url.removeprefix(client.address))
    answer.raise_for_status()
    return Image.open(io.BytesIO(answer.content)).convert("RGB")


def test_there_are_examples() -> None:
    assert {"load_translate", "cycle_reconstruct", "train"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_opens_as_it_was_saved(page: ComfyPage, name: str) -> None:
    """No node is missing, and no widget is: saving it again gives the same file."""
    saved = example(name)
    page.load(saved, name)
    assert page.complaints() == []
    again = json.loads(page.tab.evaluate("() => JSON.stringify(app.graph.serialize())"))
    for ours, theirs in zip(saved["nodes"], again["nodes"], strict=True):
        assert ours["type"] == theirs["type"]
        assert (ours.get("widgets_values") or []) == (theirs.get("widgets_values") or [])
    assert again["links"] == saved["links"]
    page.shoot(f"{name}-opened")


def test_load_translate_shows_its_result(page: ComfyPage, client: Client) -> None:
    page.load_file(EXAMPLES_DIR / "load_translate.json")
    assert page.run() == "execution_success"
    (photo,) = page.shown_images("LoadImage")
    (result,) = page.shown_images("SaveImage")
    page.shoot("load_translate-done")
    assert result["size"] == photo["size"] == [256, 192]
    pictures = [read_picture(client, image["url"]).tobytes() for image in (photo, result)]
    assert pictures[0] != pictures[1]


def test_cycle_reconstruct_shows_all_results(page: ComfyPage) -> None:
    page.load_file(EXAMPLES_DIR / "cycle_reconstruct.json")
    assert page.run() == "execution_success"
    results = page.shown_images("PreviewImage", 3)
    assert [image["size"] for image in results] == [[256, 192]] * 3
    text = page.tab.evaluate(
        "() => app.graph.nodes.find(node => node.type === 'PreviewAny').widgets[0].value"
    )
    page.shoot("cycle_reconstruct-done")
    assert 0 < float(text) < 1


def test_train_shows_samples_and_losses_and_saves_the_model(page: ComfyPage, host: Host) -> None:
    """Three steps on small pictures; all else is as in the file."""
    folders = ("cats", "dogs")
    for seed, name in enumerate(folders):
        write_pictures(host.input_dir / name, count=2, seed=seed)
    widgets = [*folders, "pets", 3, 0, 32, 0.5, 0, True]
    page.load(example("train", CycleGAN_Train=widgets))
    assert page.run() == "execution_success"
    (preview,) = page.shown_images("CycleGAN_Train")
    samples, losses = page.shown_images("PreviewImage", 2)
    page.shoot("train-done")
    assert samples["size"] == [6 * 32, 4 * 32]
    assert preview["size"] == [1024, 683]  # the live one stays; the host enlarges it
    assert losses["size"] == [960, 540]
    assert (host.models_dir / "my_style.safetensors").exists()


def test_train_without_its_folders_is_one_readable_sentence(page: ComfyPage, host: Host) -> None:
    """As the example opens for everybody at first."""
    assert not (host.input_dir / "photos").exists()
    page.load_file(EXAMPLES_DIR / "train.json")
    assert page.run() == "execution_error"
    lines = page.dialog().inner_text().splitlines()
    page.shoot("error-train-folders")
    (message,) = [line for line in lines if "photos" in line]
    assert_one_sentence(message)
    assert message.startswith("There is no folder 'photos' under ComfyUI's input; ")


def test_progress_moves_in_the_title(page: ComfyPage) -> None:
    """A batch: the tab's title counts the node's percent up, picture by picture."""
    page.load_file(EXAMPLES_DIR / "load_translate.json")
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
        "load_translate",
        CycleGAN_Load=["forward.pth", "A→B", "none"],
        CycleGAN_Translate=["B→A", "auto", "auto", 1],
    )
    page.load(workflow)
    assert page.run() == "execution_error"
    dialog = page.dialog()
    page.shoot("error-direction")
    lines = dialog.inner_text().splitlines()
    (message,) = [line for line in lines if "only translates" in line]
    assert_one_sentence(message)
    assert "A→B" in message
    assert "Translate" in "".join(lines)


def test_missing_model_is_said_once(page: ComfyPage) -> None:
    """Nothing runs; the message blames the widget that is wrong, and no other."""
    page.load(example("load_translate", CycleGAN_Load=["gone.safetensors", "A→B", "none"]))
    page.press_run()
    text = page.dialog().inner_text()
    page.shoot("error-missing-model")
    assert "There is no model 'gone.safetensors' in models/cyclegan" in text
    assert text.count("gone.safetensors") == 1
    assert "model_name_b_to_a" not in text


def test_templates_show_the_examples(page: ComfyPage) -> None:
    """In the page's template browser, with their thumbnails; a click opens one."""
    page.tab.get_by_role("button", name="Templates").click()
    dialog = page.dialog()
    dialog.get_by_text(PACK_NAME).first.click()
    for name in EXAMPLES:
        card = dialog.get_by_test_id(f"template-workflow-{name}")
        card.locator("img").first.wait_for()
        page.tab.wait_for_function(
            "image => image.complete && image.naturalWidth > 0",
            arg=card.locator("img").first.element_handle(),
        )
    page.shoot("templates")
    dialog.get_by_test_id("template-workflow-load_translate").click()
    page.tab.wait_for_function(
        "() => app.graph.nodes.some(node => node.type === 'CycleGAN_Translate')"
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_thumbnail_is_small_and_served(client: Client, name: str) -> None:
    answer = client.request("GET", f"/api/workflow_templates/{PACK_NAME}/{name}.jpg")
    assert answer.ok
    assert len(answer.content) < THUMBNAIL_LIMIT
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.format == "JPEG"
        assert picture.width == picture.height
