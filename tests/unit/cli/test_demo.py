"""`cyclegan demo`: what the page does with a picture, and what is said when it can't be shown.

In a browser it is tested by tests/browser/test_demo.py.
"""

from __future__ import annotations

import socket
import sys

import pytest
import torch
from PIL import Image

from cyclegan_core import load_model
from cyclegan_core.cli.computer import demo

from ..commands import Shell, draw, save


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A pulled model that knows both ways; its pictures are grey on one side."""
    monkeypatch.setenv("CYCLEGAN_MODELS", str(tmp_path))
    save(tmp_path / "mine.safetensors")
    yield tmp_path / "mine.safetensors"
    demo._load.cache_clear()


def test_strength_blends_the_result_with_the_picture(mine, tmp_path) -> None:
    with Image.open(draw(tmp_path / "x.png", "RGBA", size=(40, 24))) as picture:
        before, after = demo.apply(picture, "mine", "b_to_a", 1.0, 0, lambda *_: None)
        _, half = demo.apply(picture, "mine", "b_to_a", 0.5, 0, lambda *_: None)
        _, none = demo.apply(picture, "mine", "b_to_a", 0.0, "auto", lambda *_: None)
    pixels = demo_pixels(before)
    made = load_model(mine).translate(pixels, "b_to_a", dtype=torch.float32)
    assert (demo_pixels(after) - made).abs().mean() < 0.01  # perhaps in half precision
    assert (demo_pixels(half) - (pixels + demo_pixels(after)) / 2).abs().max() <= 1.5 / 255
    assert none.tobytes() == before.tobytes()
    assert before.size == after.size == (40, 24)


def demo_pixels(image: Image.Image) -> torch.Tensor:
    from cyclegan_core.pictures.rows import bytes_of

    return bytes_of(image)[None].float() / 255


def test_directions_are_in_words(mine) -> None:
    assert demo.ways("mine") == [("horse → zebra", "a_to_b"), ("zebra → horse", "b_to_a")]


def test_a_missing_extra(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    result = Shell(capsys)("demo", "--port", free)
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        'cyclegan: The page needs gradio; install the extra with: pip install "cyclegan[demo]"\n'
    )


def test_a_port_that_is_taken(capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = Shell(capsys)("demo", "--port", port)
    assert (result.code, result.out) == (1, "")
    assert f"can't be shown at port {port} (Address already in use" in result.err
    result = Shell(capsys)("demo", "--port", 70000)
    assert (result.code, "--port must be a number from 1 to 65535; got 70000." in result.err) == (
        2,
        True,
    )
