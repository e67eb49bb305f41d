"""A person opens the page, finds the nodes, wires them and reads what they are for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.host.client import Client
from tests.host.comfyui import PACK_NAME

from .comfypage import ComfyPage

DOCS_DIR = Path(__file__).resolve().parents[2] / "web" / "docs"

HOST_NOISE = re.compile(
    # Files that a new host does not have yet.
    r"404 \(Not Found\).*/(user\.css|favicon\.ico|api/userdata[/?].*)\)$"
    # The page's own call to the outside, which the host forbids it.
    r"|Connecting to 'https://[^']*' violates the following Content Security Policy"
    # The page of 0.3.75 while it restores its (empty) list of open workflows.
    r"|TypeError: Cannot read properties of undefined \(reading 'id'\)\s+at onChange",
    re.DOTALL,
)
"""Errors that the page shows with no pack at all."""


@pytest.fixture(scope="module")
def our_nodes(client: Client) -> dict[str, dict]:
    """Schemas of the pack's nodes, by id."""
    return {
        node_id: schema
        for node_id, schema in client.object_info().items()
        if schema["python_module"].endswith(PACK_NAME)
    }


def test_page_has_no_error_of_ours(page: ComfyPage, our_nodes: dict[str, dict]) -> None:
    registered = page.tab.evaluate("() => Object.keys(LiteGraph.registered_node_types)")
    assert our_nodes
    assert set(our_nodes) <= set(registered)
    assert [error for error in page.errors if not HOST_NOISE.search(error)] == []


def test_search_finds_every_node(page: ComfyPage, our_nodes: dict[str, dict]) -> None:
    page.new_workflow()
    found = page.search("CycleGAN")
    titles = [option.get_attribute("aria-label") for option in found.all()]
    page.shoot("search")
    assert set(titles) == {schema["display_name"] for schema in our_nodes.values()}


def test_search_shows_descriptions_in_full(page: ComfyPage, our_nodes: dict[str, dict]) -> None:
    """The page reads a description as Markdown, in which `<name>` is an unknown tag: nothing."""
    page.new_workflow()
    page.search("CycleGAN")
    preview = page.tab.locator("._sb_description")
    for schema in our_nodes.values():
        page.found(schema["display_name"]).hover()
        page.tab.locator("._sb_node_preview").get_by_text(schema["display_name"]).wait_for()
        page.shoot(f"preview-{schema['name']}")
        assert preview.inner_text().split() == schema["description"].split()


def test_person_builds_and_runs_the_main_job(page: ComfyPage) -> None:
    page.new_workflow()
    page.add_node("Load CycleGAN", at=(120, 180))
    page.add_node("Load Image", at=(120, 420))
    page.add_node("Translate (CycleGAN)", at=(520, 180))
    page.add_node("Save Image", at=(920, 180))
    page.drag_link(("CycleGAN_Load", "CYCLEGAN"), ("CycleGAN_Translate", "model"))
    page.drag_link(("LoadImage", "IMAGE"), ("CycleGAN_Translate", "image"))
    page.drag_link(("CycleGAN_Translate", "IMAGE"), ("SaveImage", "images"))
    page.shoot("built-by-hand")
    page.choose("CycleGAN_Load", "model_name", "photo2monet.safetensors")
    assert page.run() == "execution_success"
    page.shown_images("SaveImage")
    page.shoot("built-by-hand-done")


def test_tooltips_explain_the_widgets(page: ComfyPage, our_nodes: dict[str, dict]) -> None:
    page.new_workflow()
    page.add_node("Translate (CycleGAN)", at=(500, 300))
    required = our_nodes["CycleGAN_Translate"]["input"]["required"]
    for widget in ("direction", "memory", "precision", "strength"):
        page.hover_widget("CycleGAN_Translate", widget)
        page.tab.locator(".node-tooltip").get_by_text(required[widget][1]["tooltip"]).wait_for()
        page.shoot(f"tooltip-{widget}")


def test_every_node_has_help_for_all_its_sockets(
    client: Client, our_nodes: dict[str, dict]
) -> None:
    for node_id, schema in our_nodes.items():
        answer = client.request("GET", f"/extensions/{PACK_NAME}/docs/{node_id}.md")
        assert answer.ok, node_id
        entries = re.findall(r"^- ((?:\*\*[^*]+\*\*(?:, )?)+)", answer.text, re.MULTILINE)
        explained = [name for entry in entries for name in re.findall(r"\*\*(.+?)\*\*", entry)]
        inputs = {
            name
            for kind in ("required", "optional")
            for name in schema["input_order"].get(kind, [])
        }
        missing = (inputs | set(schema["output_name"])) - set(explained)
        assert not missing, f"{node_id}: the help does not explain {missing}"


def test_no_help_without_a_node(our_nodes: dict[str, dict]) -> None:
    assert {path.stem for path in DOCS_DIR.glob("*.md")} == set(our_nodes)


def test_help_opens_from_the_node(page: ComfyPage) -> None:
    page.new_workflow()
    page.add_node("Translate (CycleGAN)", at=(500, 300))
    page.select("CycleGAN_Translate")
    page.tab.get_by_test_id("info-button").click()
    page.tab.get_by_role("heading", name="If something goes wrong").wait_for()
    page.shoot("help")
