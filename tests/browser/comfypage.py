"""ComfyUI's page as a person uses it: search, wire, run, read.

Elements are found by role, text and test id, which pages of several versions share; where they
differ, the page decides which way is taken.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Locator, Page

Workflow = dict[str, Any]
"""What the page saves: nodes with places and sizes, links, widget values."""

SCREENSHOTS_VARIABLE = "CYCLEGAN_SCREENSHOTS"
TIMEOUT_MS = float(os.environ.get("CYCLEGAN_PAGE_TIMEOUT_MS", "60000"))

SETTINGS = {
    "Comfy.TutorialCompleted": True,  # else the template browser covers the page
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.PromptFilename": True,
    "Comfy.Locale": "en",
    "Comfy.VueNodes.Enabled": False,  # the canvas that all versions have; tests turn it on
}
"""Choices a person makes once; they keep the canvas free and the page the same each time."""

MODERN = "() => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', true)"

READY = "() => window.app?.extensionManager && (window.app.graph?.nodes?.length ?? 0) > 0"

LISTEN = """() => {
    window.seen = {endings: [], titles: []};
    for (const kind of ['execution_success', 'execution_error', 'execution_interrupted'])
        app.api.addEventListener(kind, () => seen.endings.push(kind));
    new MutationObserver(() => seen.titles.push(document.title)).observe(
        document.querySelector('title'), {childList: true, characterData: true, subtree: true});
}"""

LOAD = "([workflow, name]) => app.loadGraphData(workflow, true, true, name)"

SHOWN = """(type) => app.graph.nodes.filter(node => node.type === type && node.imgs?.length)
    .flatMap(node => node.imgs.map(image =>
        ({complete: image.complete, size: [image.naturalWidth, image.naturalHeight],
          url: image.src})))"""

SLOT = """([type, isInput, slot]) => {
    const node = app.graph.nodes.find(node => node.type === type);
    const slots = isInput ? node.inputs : node.outputs;
    const index = slots.findIndex(each => each.name === slot);
    return app.canvasPosToClientPos(node.getConnectionPos(isInput, index));
}"""

TITLE = """(type) => {
    const node = app.graph.nodes.find(node => node.type === type);
    return app.canvasPosToClientPos([node.pos[0] + node.size[0] / 2, node.pos[1] - 15]);
}"""

WIDGET = """([type, name]) => {
    const node = app.graph.nodes.find(node => node.type === type);
    const widget = node.widgets.find(widget => widget.name === name);
    return app.canvasPosToClientPos([node.pos[0] + node.size[0] / 2, node.pos[1] + widget.y + 10]);
}"""

UNFOLDED = """type =>
    Boolean(app.graph.nodes.find(node => node.type === type).showAdvanced)"""

WIDGETS = """() => Object.fromEntries(app.graph.nodes.map(node => [node.type, Object.fromEntries(
    (node.widgets ?? []).filter(widget => widget.serialize !== false && widget.type !== 'button')
        .map(widget => [widget.name, widget.value]))]))"""

OVERLAPS = """() => {
    const boxes = [...document.querySelectorAll('[data-node-id]')].map(element =>
        [app.graph.getNodeById(element.dataset.nodeId)?.title, element.getBoundingClientRect()]);
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom
        && b.top < a.bottom;
    return boxes.flatMap(([name, box], index) => boxes.slice(index + 1)
        .filter(([, other]) => meet(box, other)).map(([other]) => [name, other]));
}"""

DRAWN = """(type) => app.graph.nodes.filter(node => node.type === type).flatMap(node =>
    [...document.querySelectorAll(`[data-node-id="${node.id}"] img`)]).length"""

TEXT = """type => app.graph.nodes.find(node => node.type === type).widgets
    ?.find(widget => widget.name === '$$node-text-preview')?.value"""

ROOM = """([type, start]) => {
    const node = app.graph.nodes.find(node => node.type === type);
    const drawn = document.querySelector(`[data-node-id="${node.id}"]`);
    const holds = element => element.textContent.trim().startsWith(start);
    const [text] = [...(drawn ?? document.body).querySelectorAll('*')].filter(element =>
        element.checkVisibility() && holds(element) && ![...element.children].some(holds));
    if (!text) return null;
    const cut = [];
    for (let box = text; box && box !== drawn; box = box.parentElement)  // 8: a margin below it
        if (box.clientHeight && box.scrollHeight > box.clientHeight + 8) cut.push(box.className);
    const edges = ({top, bottom}) => [top, bottom];
    const onCanvas = (top, bottom) => [top, bottom].map(y =>
        app.canvasPosToClientPos([node.pos[0], node.pos[1] + y])[1]);
    const picture = node.widgets.find(widget => widget.name === '$$canvas-image-preview');
    const range = document.createRange();
    range.selectNodeContents(text);
    return {
        cut, text: edges(range.getBoundingClientRect()),
        node: drawn ? edges(drawn.getBoundingClientRect()) : onCanvas(0, node.size[1]),
        picture: drawn ? edges(drawn.querySelector('img').getBoundingClientRect())
            : onCanvas(picture.y, picture.y + picture.computedHeight),
    };
}"""
"""Upper and lower edges on the screen of a node, of the text on it and of its picture; and what
around the text has less room than it needs."""

IN_HAND = """() => app.canvas.state?.ghostNodeId == null ? null
    : [app.graph.nodes.at(-1).size[0] / 2 * app.canvas.ds.scale, -10 * app.canvas.ds.scale]"""
"""Where the mouse holds a new node that follows it until it is put down: from the node's corner."""

REPEAT = """(amount) => {
    const find = type => app.graph.nodes.find(node => node.type === type);
    const repeat = LiteGraph.createNode('RepeatImageBatch');
    app.graph.add(repeat);
    repeat.pos = [760, 300];
    repeat.widgets[0].value = amount;
    find('LoadImage').connect(0, repeat, 0);
    repeat.connect(0, find('CycleGAN_Translate'), 'image');
}"""


def shoot(tab: Page, name: str) -> None:
    """Save a screenshot for a person to look at, if they gave a folder for it."""
    if folder := os.environ.get(SCREENSHOTS_VARIABLE):
        tab.screenshot(path=Path(folder, f"{name}.png"))


class ComfyPage:
    """One tab with ComfyUI in it. Waits are for what the page shows, never for a time."""

    def __init__(self, tab: Page, address: str) -> None:
        self.tab = tab
        self.address = address
        self.errors: list[str] = []
        """Errors on the console and uncaught exceptions, each with where it comes from."""
        tab.set_default_timeout(TIMEOUT_MS)
        tab.on("console", self._on_console)
        tab.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        # The host's own templates are hundreds of megabytes that tests do without.
        tab.route("**/templates/index*.json", lambda route: route.fulfill(json=[]))

        # A newer page warns of the templates and help texts that a checkout comes without.
        warning = tab.get_by_role("alert").filter(has_text="Version Compatibility Warning")
        # It moves and fades, so that the mouse may miss its button.
        close = warning.get_by_role("button", name="Close")
        press = "buttons => buttons.forEach(button => button.click())"
        tab.add_locator_handler(
            warning.first, lambda _: close.evaluate_all(press), no_wait_after=True
        )

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def open(self) -> None:
        """Open the page and wait until it shows a graph."""
        self.tab.goto(self.address)
        self.tab.wait_for_function(READY)
        self.tab.evaluate(LISTEN)

    def use_modern_nodes(self) -> None:
        """Draw nodes as "Nodes 2.0" does, if this page can."""
        self.tab.evaluate(MODERN)
        self.tab.locator("[data-node-id]").first.wait_for()

    def new_workflow(self) -> None:
        """Start with an empty canvas."""
        self.tab.get_by_role("button", name="Create a new blank workflow").click()
        self.tab.wait_for_function("() => app.graph.nodes.length === 0")

    def load(self, workflow: Workflow, name: str = "test") -> None:
        """Open a saved workflow, as dropping its file on the canvas does, and show all of it."""
        self.tab.evaluate(LOAD, [workflow, name])
        self.tab.wait_for_function(
            "count => app.graph.nodes.length === count", arg=len(workflow["nodes"])
        )
        self.fit_view()

    def load_file(self, path: Path) -> None:
        """Open a workflow file."""
        self.load(json.loads(path.read_text(encoding="utf-8")), path.stem)

    def fit_view(self) -> None:
        """Press the button that shows the whole graph."""
        self.tab.get_by_label("Fit View").click()
        self.settle()

    def settle(self) -> None:
        """Wait until the view stands still and is drawn: the same place and scale for 10 frames."""
        self.tab.evaluate(
            """() => new Promise(done => {
                let last = '', same = 0;
                const frame = () => {
                    const now = JSON.stringify([app.canvas.ds.scale, [...app.canvas.ds.offset]]);
                    same = now === last ? same + 1 : 0;
                    last = now;
                    same < 10 ? requestAnimationFrame(frame) : done();
                };
                frame();
            })"""
        )

    def search(
        self, text: str, *, finds: str | None = None, at: tuple[float, float] = (700, 500)
    ) -> Locator:
        """Double-click the empty canvas and type; return the nodes that the page offers.

        It has found something when it offers a node with `finds` (or else `text`) in its title.
        """
        from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

        field = self.tab.locator("input[role=combobox]:focus")
        for _ in range(4):  # a page that has just opened a workflow may miss a double click
            self.tab.mouse.dblclick(*at)
            with suppress(PlaywrightTimeoutError):
                field.wait_for(timeout=TIMEOUT_MS / 4)
                break
        field.fill(text)
        self.offered().filter(has_text=finds or text).first.wait_for()
        return self.offered()

    def offered(self) -> Locator:
        """The nodes that the open search offers; an older page has other options beside them."""
        return self.tab.locator("[role=option][aria-label], [role=option][data-testid=result-item]")

    def found(self, title: str) -> Locator:
        """The node of this title among those that the search offers."""
        newer = self.tab.get_by_test_id("result-item")
        return self.tab.locator(f"[role=option][aria-label='{title}']").or_(
            newer.filter(has=self.tab.get_by_text(title, exact=True))
        )

    def add_node(self, title: str, *, at: tuple[float, float]) -> None:
        """Find a node by its title and put it on the canvas."""
        count = self.tab.evaluate("() => app.graph.nodes.length")
        self.search(title, at=at)
        # Newer pages mark what was typed, in longer titles too; the best match comes first.
        self.found(title).first.click()
        self.tab.wait_for_function("count => app.graph.nodes.length > count", arg=count)
        self.offered().first.wait_for(state="detached")
        if held := self.tab.evaluate(IN_HAND):  # on newer pages
            self.tab.mouse.move(at[0] + held[0], at[1] + held[1], steps=3)
            self.tab.mouse.down()
            self.tab.mouse.up()
            self.tab.wait_for_function(f"() => ({IN_HAND})() === null")
        self.settle()

    def drag_link(self, source: tuple[str, str], target: tuple[str, str]) -> None:
        """Drag a wire from an output to an input, both as (node type, slot name)."""
        count = self.tab.evaluate("() => app.graph.links.size")
        self.tab.mouse.move(*self.tab.evaluate(SLOT, [source[0], False, source[1]]))
        self.tab.mouse.down()
        self.tab.mouse.move(*self.tab.evaluate(SLOT, [target[0], True, target[1]]), steps=5)
        self.tab.mouse.up()
        self.tab.wait_for_function("count => app.graph.links.size > count", arg=count)

    def select(self, node_type: str) -> None:
        """Click a node's title."""
        self.tab.mouse.click(*self.tab.evaluate(TITLE, node_type))
        self.tab.wait_for_function(
            "type => [...app.canvas.selectedItems].some(item => item.type === type)", arg=node_type
        )

    def hover_widget(self, node_type: str, name: str) -> None:
        """Rest the mouse on a widget, for its tooltip."""
        self.tab.mouse.move(*self.tab.evaluate(WIDGET, [node_type, name]), steps=3)

    def choose(self, node_type: str, name: str, value: str) -> None:
        """Open a widget's list and choose from it."""
        self.tab.mouse.click(*self.tab.evaluate(WIDGET, [node_type, name]))
        self.tab.locator(".litecontextmenu .litemenu-entry").filter(has_text=value).first.click()

    def show_advanced(self, node_type: str) -> None:
        """Press the button of a node on the classic canvas that unfolds or folds its widgets."""
        self.fit_view()  # away from the page's own bars
        at = self.tab.evaluate(WIDGET, [node_type, "show_advanced"])
        before = self.tab.evaluate(UNFOLDED, node_type)
        self.tab.mouse.click(*at)
        self.tab.wait_for_function(
            f"([type, before]) => ({UNFOLDED})(type) !== before", arg=[node_type, before]
        )
        self.settle()

    def repeat_image(self, amount: int) -> None:
        """Put the host's RepeatImageBatch between Load Image and Translate."""
        self.tab.evaluate(REPEAT, amount)

    def run(self) -> str:
        """Press Run and wait for the end; return how it ended, e.g. "execution_success"."""
        count = self.tab.evaluate("() => seen.endings.length")
        self.press_run()
        self.tab.wait_for_function("count => seen.endings.length > count", arg=count)
        return str(self.tab.evaluate("() => seen.endings.at(-1)"))

    def press_run(self) -> None:
        """Press the button Run."""
        # A newer page calls the menu beside it by the same name.
        self.tab.get_by_role("button", name="Run", exact=True).filter(has_text="Run").click()

    def shown_images(self, node_type: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until nodes of a type show `count` pictures; return their sizes and addresses."""
        self.tab.wait_for_function(
            f"([type, count]) => {{ const shown = ({SHOWN})(type);"
            "return shown.length === count && shown.every(image => image.complete); }",
            arg=[node_type, count],
        )
        self.tab.evaluate("() => app.canvas.setDirty(true, true)")  # loaded is not yet drawn
        self.settle()
        return list(self.tab.evaluate(SHOWN, node_type))

    def overlaps(self) -> list[list[str]]:
        """Pairs of nodes, as "Nodes 2.0" draws them, of which one hides a part of the other."""
        self.settle()
        return list(self.tab.evaluate(OVERLAPS))

    def drawn_images(self, node_type: str) -> int:
        """How many pictures "Nodes 2.0" draws in all nodes of a type."""
        return int(self.tab.evaluate(DRAWN, node_type))

    def wait_for_preview(self, node_type: str) -> None:
        """Wait until a picture is to be seen on a node that runs."""
        self.tab.wait_for_function(
            f"type => ({SHOWN})(type).length || ({DRAWN})(type)", arg=node_type
        )

    def widgets(self) -> dict[str, dict[str, Any]]:
        """Values of all widgets that are saved, by type of node and name."""
        return dict(self.tab.evaluate(WIDGETS))

    def text_on(self, node_type: str) -> str:
        """The line that a node wrote on itself while it ran."""
        return str(self.tab.wait_for_function(TEXT, arg=node_type).json_value())

    def room_on(self, node_type: str, start: str) -> dict[str, Any]:
        """Where the text that begins with `start` lies on a node: see `ROOM`."""
        self.settle()
        return dict(self.tab.wait_for_function(ROOM, arg=[node_type, start]).json_value())

    def wait_for_text(self, node_type: str, lines: int) -> None:
        """Wait until what a node has written on itself has so many lines."""
        self.tab.wait_for_function(
            f"([type, lines]) => (({TEXT})(type) ?? '').split('\\n').length >= lines",
            arg=[node_type, lines],
        )

    def progress_of(self, node: str) -> list[int]:
        """Percentages of a node that the tab's title has shown, in order."""
        titles: list[str] = self.tab.evaluate("() => seen.titles")
        pattern = re.compile(rf"\[(\d+)%\] {re.escape(node)}$")
        return [int(found[1]) for title in titles if (found := pattern.search(title))]

    def dialog(self) -> Locator:
        """The dialog in front, once it is there and has faded in."""
        dialog = self.tab.get_by_role("dialog").last
        dialog.wait_for()
        dialog.evaluate("e => Promise.all(e.getAnimations().map(each => each.finished))")
        return dialog

    def error_text(self) -> str:
        """All that the page says of what went wrong, once it says something."""
        details = self.tab.get_by_test_id("error-overlay-see-errors")
        dialog = self.tab.get_by_role("dialog")
        details.or_(dialog).first.wait_for()
        if not details.count():
            return self.dialog().inner_text()
        details.click()  # a newer page has them in a panel, and gathers the report first
        self.tab.get_by_text("ComfyUI Error Report").first.wait_for()
        return self.tab.locator("body").inner_text()

    def complaints(self) -> list[str]:
        """What dialogs and alerts say now, such as that a node is missing or a file is invalid."""
        said = self.tab.locator("[role=dialog], [role=alert], [data-testid=error-overlay]")
        texts = map(str.strip, said.all_inner_texts())  # some wait empty for what may come
        return [text for text in texts if text and "Version Compatibility" not in text]

    def shoot(self, name: str) -> None:
        """As the function of this name does."""
        shoot(self.tab, name)
