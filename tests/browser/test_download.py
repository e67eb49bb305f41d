"""A person downloads a model of the catalog in the page, and translates in strips with it."""

from __future__ import annotations

from tests.host.client import Client
from tests.host.comfyui import Host
from tests.host.samples import random_halves
from tests.unit.hub.server import Hub

from .comfypage import ComfyPage
from .test_workflows import example

REPO = "johko/cyclegan-horse2zebra"
NAME = "johko--cyclegan-horse2zebra.safetensors"


def test_download_and_translate_in_strips(
    page: ComfyPage, client: Client, host: Host, one_hub: Hub
) -> None:
    one_hub.add(REPO, random_halves(host.base_dir, seed=8))

    page.load(example("Download a model from the Hub"))
    page.choose("CycleGAN_Download", "catalog", f"({REPO})")
    page.show_advanced("CycleGAN_Translate")
    page.choose("CycleGAN_Translate", "memory", "streamed")
    assert page.run() == "execution_success"
    (result,) = page.shown_images("SaveImage")
    page.shoot("download-done")
    assert result["size"] == [256, 192]
    assert (host.models_dir / NAME).is_file()
    assert page.text_on("CycleGAN_Download").startswith(f"models/cyclegan/{NAME}")
    assert NAME in str(client.object_info()["CycleGAN_Load"]["input"])
