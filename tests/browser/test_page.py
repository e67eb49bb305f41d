"""A person opens the page, finds the nodes, wires them and reads what they are for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.host.client import Client
from tests.host.comfyui import PACK_NAME

from .comfypage import SETTINGS, ComfyPage

REPO_DIR = Path(__file__).resolve().parents[2]
DOCS_DIR = REPO_DIR / "web" / "docs"
LOCALES_DIR = REPO_DIR / "locales"
BLUEPRINT = REPO_DIR / "subgraphs" / "Translate photo (CycleGAN).json"
OTHER_PACKS_NODE = "HostTest_ToHalf"
"""A node whose pack has a Chinese title for it, and nothing else that could go wrong with it."""

FIRST_VERSION = Path(__file__).with_name("first_version.json")
"""A workflow that the page saved with the pack's first version, and its values by node and name."""

ADD = """id => {
    for (const node of [...app.graph.nodes]) app.graph.remove(node);
    app.graph.add(LiteGraph.createNode(id));
}"""
"""The only node of the graph, with a number of its own: newer pages keep things by it."""

TOO_WIDE = """() => {
    const node = app.graph.nodes.at(-1), pen = document.createElement('canvas').getContext('2d');
    pen.font = LiteGraph.NODE_SUBTEXT_SIZE + 'px ' + (LiteGraph.NODE_FONT ?? 'Arial');
    const wide = text => pen.measureText(String(text ?? '')).width;
    return (node.widgets ?? []).filter(widget =>
        wide(widget.label ?? widget.name) + wide(widget.value) + 80 > node.size[0]
    ).map(widget => widget.name);
}"""
"""Widgets whose name and value don't fit the node; 80 for margins and arrows."""

IN_SIGHT = """() => {
    const node = app.graph.nodes.at(-1);
    return (node.widgets ?? []).filter(widget => node.isWidgetVisible(widget))
        .map(widget => widget.name);
}"""
"""Widgets of the newest node that the classic canvas shows."""

GAPS = """() => {
    const node = app.graph.nodes.at(-1);
    const rows = (node.widgets ?? []).filter(widget => node.isWidgetVisible(widget))
        .map(widget => widget.y);
    return rows.slice(1).map((y, index) => y - rows[index]).filter(step => step > 30);
}"""
"""Steps from row to row of the newest node that leave room for another row."""

UNFOLD = """() => {
    const node = app.graph.nodes[0];
    node.showAdvanced = node.widgets?.some(widget => widget.options?.advanced);
}"""

HEIGHT = "() => app.graph.nodes.at(-1).size[1]"

CUT_OFF = """() => {
    const node = document.querySelector('[data-node-id]');
    const isCut = each => each.checkVisibility() && each.clientWidth
        && each.scrollWidth > each.clientWidth + 1 && !['', 'visible'].includes(
            getComputedStyle(each).overflowX);
    const isText = each => each.value || [...each.childNodes].some(
        child => child.nodeType === Node.TEXT_NODE && child.textContent.trim());
    return [...node.querySelectorAll('*')].filter(each => isCut(each) && isText(each))
        .map(each => each.value || each.textContent.trim());
}"""
"""Texts of the only node that "Nodes 2.0" has no room for."""

LABELS = """id => {
    const node = LiteGraph.createNode(id);
    const inputs = (node.inputs ?? []).map(input => [input.name, input.localized_name]);
    return [node.title, inputs];
}"""
"""A new node's title, and its inputs, widgets among them, as they are named on it."""

AROUND = """() => {
    const [blueprint] = app.graph.nodes;
    const [before, after] = ['LoadImage', 'PreviewImage'].map(id => LiteGraph.createNode(id));
    app.graph.add(before);
    app.graph.add(after);
    [before.pos, after.pos] = [[-420, 0], [420, 0]];
    before.connect(0, blueprint, blueprint.findInputSlot('image'));
    blueprint.connect(0, after, 0);
}"""
"""A picture for the blueprint, and a place for its result."""

HOST_NOISE = re.compile(
    # Files that a new host does not have yet.
    r"404 \(Not Found\).*/(user\.css|favicon\.ico|api/userdata[/?].*)\)$"
    # What a page asks of a server that is older than it.
    r"|404 \(Not Found\).*/api/jobs\?.*\)$|^\[Jobs API\]|^Failed to fetch queue"
    # The page's own calls that the host forbids it, and what it says then.
    r"|^(Connecting to '|Fetch API cannot load )(https://|data:).*Content Security Policy"
    r"|^uncaught: Failed to fetch$"
    # The page of 0.3.75 while it restores its (empty) list of open workflows.
    r"|TypeError: Cannot read properties of undefined \(reading 'id'\)\s+at onChange"
    # The page of 0.33 while it reads its settings.
    r"|^ComfyApp graph accessed before initialization",
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
    page.search("CycleGAN")
    page.shoot("search")
    for schema in our_nodes.values():
        page.found(schema["display_name"]).wait_for()


def test_search_finds_nodes_by_what_people_call_it(
    page: ComfyPage, our_nodes: dict[str, dict]
) -> None:
    if "search_aliases" not in our_nodes["CycleGAN_Translate"]:
        pytest.skip("this host knows no other names of nodes")
    page.new_workflow()
    page.search("pix2pix", finds="CycleGAN")
    page.shoot("search-alias")
    page.found("Translate (CycleGAN)").wait_for()


def test_search_shows_descriptions_in_full(page: ComfyPage, our_nodes: dict[str, dict]) -> None:
    """The page reads a description as Markdown, in which `<name>` is an unknown tag: nothing."""
    page.new_workflow()
    page.search("CycleGAN")
    for schema in our_nodes.values():
        page.found(schema["display_name"]).hover()
        page.tab.wait_for_function(
            "text => document.body.innerText.split(/\\s+/).join(' ').includes(text)",
            arg=" ".join(schema["description"].split()),
        )


def test_person_builds_and_runs_the_main_job(page: ComfyPage) -> None:
    """Nothing is chosen: all defaults together give a picture, and the nodes say what it is."""
    page.new_workflow()
    page.add_node("Load CycleGAN", at=(120, 180))
    page.add_node("Load Image", at=(120, 420))
    page.add_node("Translate (CycleGAN)", at=(560, 180))
    page.add_node("Preview Image", at=(960, 180))
    page.drag_link(("CycleGAN_Load", "CYCLEGAN"), ("CycleGAN_Translate", "model"))
    page.drag_link(("LoadImage", "IMAGE"), ("CycleGAN_Translate", "image"))
    page.drag_link(("CycleGAN_Translate", "IMAGE"), ("PreviewImage", "images"))
    page.shoot("built-by-hand")
    assert page.run() == "execution_success"
    page.shown_images("PreviewImage")
    page.shoot("built-by-hand-done")
    assert page.text_on("CycleGAN_Load") == "photo → Monet"
    assert page.text_on("CycleGAN_Translate") == "photo → Monet"


def test_names_and_values_fit_a_new_node(page: ComfyPage, our_nodes: dict[str, dict]) -> None:
    """In the width of the page's own font, name and value of each widget side by side."""
    page.new_workflow()
    cut_off = {}
    for node_id in our_nodes:
        page.tab.evaluate(ADD, node_id)
        page.shoot(f"new-{node_id}")
        cut_off[node_id] = page.tab.evaluate(TOO_WIDE)
    assert {node_id: names for node_id, names in cut_off.items() if names} == {}


def test_what_few_need_is_folded_away_on_the_canvas(
    page: ComfyPage, our_nodes: dict[str, dict]
) -> None:
    """A button shows it, and hides it again; Nodes 2.0 has that of itself."""
    page.new_workflow()
    for node_id, schema in our_nodes.items():
        inputs = {**schema["input"].get("required", {}), **schema["input"].get("optional", {})}
        folded = {name for name, (_, *o) in inputs.items() if o and o[0].get("advanced")}
        page.tab.evaluate(ADD, node_id)
        page.settle()
        before, height = page.tab.evaluate(IN_SIGHT), page.tab.evaluate(HEIGHT)
        assert folded.isdisjoint(before)
        assert page.tab.evaluate(GAPS) == []
        if not folded:
            assert "show_advanced" not in before
            continue
        page.show_advanced(node_id)
        page.shoot(f"unfolded-{node_id}")
        assert set(page.tab.evaluate(IN_SIGHT)) == {*before, *folded}
        assert page.tab.evaluate(HEIGHT) > height
        page.show_advanced(node_id)
        assert page.tab.evaluate(IN_SIGHT) == before
        assert page.tab.evaluate(HEIGHT) == height


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_and_values_fit_a_new_node_of_nodes_2(
    page: ComfyPage, client: Client, our_nodes: dict[str, dict], language: str
) -> None:
    if not page.tab.evaluate("() => 'getLayoutWidgets' in LiteGraph.LGraphNode.prototype"):
        pytest.skip("the first Nodes 2.0 cut every name after some letters, however wide the node")
    client.request("POST", "/settings", json=SETTINGS | {"Comfy.Locale": language})
    page.open()
    cut_off = {}
    for node_id in our_nodes:
        page.tab.evaluate(ADD, node_id)
        page.tab.evaluate(UNFOLD)
        page.use_modern_nodes()
        page.settle()
        page.shoot(f"new-modern-{language}-{node_id}")
        cut_off[node_id] = page.tab.evaluate(CUT_OFF)
    assert {node_id: texts for node_id, texts in cut_off.items() if texts} == {}


def assert_holds(found: dict[str, dict], saved: dict[str, dict]) -> None:
    """Each saved value is in its widget; widgets that came later are as they are."""
    for node_type, values in saved.items():
        assert {name: found[node_type][name] for name in values} == values


def test_values_of_the_first_version_find_their_widgets(page: ComfyPage) -> None:
    """Its workflows hold values by position, in an order that has changed since."""
    old = json.loads(FIRST_VERSION.read_text(encoding="utf-8"))
    page.load(old["workflow"])
    assert_holds(page.widgets(), old["values"])
    again = json.loads(page.tab.evaluate("() => JSON.stringify(app.graph.serialize())"))
    page.new_workflow()
    page.load(again)
    assert_holds(page.widgets(), old["values"])


def test_tooltips_explain_the_widgets(page: ComfyPage, our_nodes: dict[str, dict]) -> None:
    page.new_workflow()
    page.add_node("Translate (CycleGAN)", at=(500, 300))
    page.show_advanced("CycleGAN_Translate")
    inputs = our_nodes["CycleGAN_Translate"]["input"]
    for widget in ("direction", "strength", "work_size", "memory", "precision"):
        options = {**inputs["required"], **inputs["optional"]}[widget][1]
        page.hover_widget("CycleGAN_Translate", widget)
        page.tab.locator(".node-tooltip").get_by_text(options["tooltip"]).wait_for()
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


def test_nodes_speak_the_pages_language(
    page: ComfyPage, client: Client, our_nodes: dict[str, dict]
) -> None:
    """In Chinese: titles, widgets and inputs, as locales/zh has them."""
    settings = SETTINGS | {"Comfy.Locale": "zh"}
    client.request("POST", "/settings", json=settings).raise_for_status()
    page.open()
    if page.tab.evaluate(LABELS, OTHER_PACKS_NODE)[0] == "To half precision":
        pytest.skip(
            "this page reads the languages of packs first and its own then, which replaces them: "
            "all packs are in English (mended by pull request 7214 of ComfyUI_frontend)"
        )
    texts = json.loads((LOCALES_DIR / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))
    for node_id in our_nodes:
        title, labels = page.tab.evaluate(LABELS, node_id)
        assert title == texts[node_id]["display_name"]
        for name, label in labels:
            assert label == texts[node_id]["inputs"][name]["name"], (node_id, name)
    page.tab.evaluate("() => void app.graph.add(LiteGraph.createNode('CycleGAN_Train'))")
    page.settle()
    page.shoot("chinese")


def test_blueprint_is_offered_opens_and_runs(page: ComfyPage) -> None:
    """Load CycleGAN and Translate in one node, whose widgets are the creative ones."""
    page.new_workflow()
    page.search(BLUEPRINT.stem)
    page.found(BLUEPRINT.stem).first.wait_for()
    page.tab.keyboard.press("Escape")
    page.load(json.loads(BLUEPRINT.read_text(encoding="utf-8")))
    shown = page.tab.evaluate(
        "() => app.graph.nodes[0].widgets.map(widget => widget.label ?? widget.name)"
    )
    assert shown == ["model_name", "direction", "strength", "work_size"]
    page.tab.evaluate(AROUND)
    page.fit_view()
    assert page.run() == "execution_success", page.error_text()
    page.shown_images("PreviewImage")
    page.shoot("blueprint-done")
