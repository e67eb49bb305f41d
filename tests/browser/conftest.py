"""One real ComfyUI and one real Chromium for all tests of this folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.host.client import Client
from tests.host.comfyui import HELPER_PACK, REPO_DIR, Host
from tests.host.samples import write_models
from tests.unavailable import unavailable
from tests.unit.hub.server import Hub

from .comfypage import SCREENSHOTS_VARIABLE, SETTINGS, ComfyPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM_VARIABLE = "CYCLEGAN_CHROMIUM"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_OPTIONS = (
    "--no-sandbox",  # it has none as root, as in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
BUNDLED_MODEL, BUNDLED_MODEL_BACK = "photo2monet.safetensors", "monet2photo.safetensors"
"""The model named in the example workflows."""

VIEWPORT = {"width": 1400, "height": 900}
TAB = pytest.StashKey["Page"]()
"""A test's tab, for the screenshot if it fails."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `browser`, before `-m` selects."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save what the page shows at the moment a test fails, and say where."""
    report = yield
    if report.failed and TAB in item.stash and not item.stash[TAB].is_closed():
        folder = Path(os.environ.get(SCREENSHOTS_VARIABLE) or REPO_DIR / "out")
        path = folder / f"failed-{item.name}-{report.when}.png"
        item.stash[TAB].screenshot(path=path)
        report.sections.append(("screenshot", str(path)))
    return report


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The program of an installed Chromium or Chrome."""
    candidates = [os.environ.get(CHROMIUM_VARIABLE), *map(shutil.which, CHROMIUM_NAMES)]
    found = next((Path(path) for path in candidates if path and Path(path).is_file()), None)
    if found is None:
        unavailable(
            f"No Chromium found; install it (Debian: apt-get install chromium) or set "
            f"{CHROMIUM_VARIABLE} to its path."
        )
    return found


@pytest.fixture(scope="session")
def browser(chromium: Path) -> Iterator[Browser]:
    """A headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable('Playwright is not installed; run pip install -e ".[browser]".')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_OPTIONS])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def host(
    browser: Browser, app_dir: Path, one_hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    """A running ComfyUI with the pack, the models and the picture the example workflows name."""
    from skimage import data  # comes with the host's requirements

    host = Host(app_dir, tmp_path_factory.mktemp("host").resolve())
    host.use_hub(one_hub.url)
    host.prepare()
    host.link_pack(HELPER_PACK, "host-test-nodes")
    write_models(host.models_dir)
    picture = Image.fromarray(data.astronaut()).resize((256, 192))
    for name in ("stream", "mountain", "mountain_large"):  # quicker than the pack's
        picture.save(host.input_dir / f"cyclegan_{name}.jpg")
    with host:
        yield host


@pytest.fixture(scope="session")
def client(host: Host) -> Client:
    """A client of the running host, for plain HTTP."""
    return Client(host.address)


@pytest.fixture
def tab(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A new tab, as of a person who comes for the first time."""
    with browser.new_context(viewport=VIEWPORT) as context:
        request.node.stash[TAB] = context.new_page()
        yield request.node.stash[TAB]


@pytest.fixture
def page(host: Host, client: Client, tab: Page) -> ComfyPage:
    """The tab with ComfyUI in it, and with the settings that all tests begin with."""
    client.request("POST", "/settings", json=SETTINGS).raise_for_status()
    page = ComfyPage(tab, host.address)
    page.open()
    return page
