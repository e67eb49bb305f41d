"""There and back again: the four outputs of Cycle Reconstruct."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

import cyclegan_core
from cyclegan_core.device.precision import fastest_dtype

from .client import Client
from .graphs import A_TO_B, B_TO_A, load_image, load_model, node, save_image, show_text
from .samples import ONE_LEVEL, assert_one_sentence, level_difference, to_tensor


@pytest.mark.parametrize(("arrow", "direction"), [(A_TO_B, "a_to_b"), (B_TO_A, "b_to_a")])
def test_outputs_are_those_of_the_library(
    client: Client,
    both: cyclegan_core.CycleGAN,
    small: Image.Image,
    arrow: str,
    direction: cyclegan_core.Direction,
) -> None:
    graph = load_image(client.upload_image(small, "small.png")) | load_model("both.safetensors")
    graph["cycle"] = node(
        "CycleGAN_Reconstruct", model=["load", 0], image=["image", 0], direction=arrow
    )
    names = ("translated", "reconstructed", "error_map")
    graph |= {name: save_image("cycle", index) for index, name in enumerate(names)}
    graph["cycle_error"] = show_text("cycle", 3)
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure

    # The node has no widget for it: what this machine is clearly fast at, here as in the host.
    dtype = fastest_dtype(torch.device("cpu"))
    expected = both.reconstruct(to_tensor(small), direction, dtype=dtype)
    (translated,), (reconstructed,), (error_map,) = (client.images(run, name) for name in names)
    assert level_difference(translated, expected.fake) <= ONE_LEVEL
    assert level_difference(reconstructed, expected.rec) <= ONE_LEVEL
    assert error_map.size == small.size
    assert error_map.convert("L").getextrema() != (0, 0)
    cycle_error = float(run.outputs["cycle_error"]["text"][0])
    assert cycle_error == pytest.approx(float(expected.error.mean()), rel=1e-4)


def test_one_way_model_is_refused_in_one_sentence(client: Client, small: Image.Image) -> None:
    graph = load_image(client.upload_image(small, "small.png")) | load_model("forward.pth")
    graph["cycle"] = node(
        "CycleGAN_Reconstruct", model=["load", 0], image=["image", 0], direction=A_TO_B
    )
    graph["save"] = save_image("cycle")
    run = client.run_prompt(graph)
    assert run.error is not None
    assert run.error["node_id"] == "cycle"
    assert_one_sentence(run.error["exception_message"])
