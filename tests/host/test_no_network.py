"""A real ComfyUI asks no network unasked: every connection and every name is refused."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from .client import Client
from .comfyui import Host
from .graphs import AUTO, load_image, load_model, train, translate
from .samples import write_pictures

REFUSE = """
import socket, sys, traceback

def refuse(event, words):
    if event in ("socket.connect", "socket.sendto"):
        address = words[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        address = words[:2]
    else:
        return
    near = ("127.0.0.1", "localhost", "::1", "", None)
    if isinstance(address, tuple) and address[0] not in near:
        with open({log!r}, "a") as file:
            file.write("".join([f"{{event}} {{address}}\\n", *traceback.format_stack()[-12:]]))
        raise OSError("the network was asked")

sys.addaudithook(refuse)
try:
    socket.getaddrinfo("example.org", 443)
except OSError as error:
    print("From the first moment on:", error, flush=True)
open({log!r}, "w").close()
"""
"""What Python runs before anything else."""


def test_no_import_no_schema_and_no_run_asks_the_network(
    app_dir: Path, tmp_path: Path, small: Image.Image
) -> None:
    log, first = tmp_path / "asked.txt", tmp_path / "first"
    first.mkdir()
    (first / "sitecustomize.py").write_text(REFUSE.format(log=str(log)), encoding="utf-8")
    host = Host(app_dir, tmp_path.resolve() / "base")
    host.environment = {"PYTHONPATH": str(first)}
    host.prepare()
    for seed, name in enumerate("ab"):
        write_pictures(host.input_dir / name, count=3, seed=seed)
    with host:
        assert "From the first moment on: the network was asked" in host.log_text()
        client = Client(host.address)
        info = client.object_info()
        assert "CycleGAN_Download" in info
        graph = load_image(client.upload_image(small, "small.png"))
        graph |= load_model("photo2monet.safetensors") | translate(direction=AUTO)
        (result,) = client.save_images(graph)
        assert result.size == small.size
        run = client.run_prompt(train(info, ("a", "b"), "offline", steps=2))
        assert run.error is None, run.failure
    assert log.read_text(encoding="utf-8") == ""
