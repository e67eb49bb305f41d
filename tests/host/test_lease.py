"""What a host with a GPU is asked for, and what is chosen there: on torch's device "meta"."""

from __future__ import annotations

import json

from .client import Client, Graph
from .graphs import node, show_text


def test_a_model_left_half_on_the_cpu_is_made_whole(client: Client, graph: Graph) -> None:
    """For the loan all of it is on the GPU; then it is moved back to where it was found."""
    half = {"half": node("HostTest_HalfLoaded", model=["load", 0]), "text": show_text("half", 0)}
    run = client.run_prompt({"load": graph["load"]} | half)
    assert run.ending == "execution_success", run.failure
    assert json.loads(run.outputs["text"]["text"][0]) == [["meta"], [1, 3, 8, 8], ["meta", "cpu"]]
    assert len(client.save_images(graph)) == 1


def test_what_is_chosen_on_a_gpu(client: Client, graph: Graph) -> None:
    """The host's own opinion of its GPU counts, and what it says is free."""
    gpu = {"gpu": node("HostTest_OnGpu", model=["load", 0]), "text": show_text("gpu", 0)}
    run = client.run_prompt({"load": graph["load"]} | gpu)
    assert run.ending == "execution_success", run.failure
    free, formats, on_cpu, told, place, shape = json.loads(run.outputs["text"]["text"][0])
    assert (free, on_cpu) == (12345, False)
    assert formats == [[f"torch.{name}"] * 2 for name in ("bfloat16", "float16", "float32")]
    # All other models go before a training, and what it kept goes after it.
    assert told == ["unload_all_models", "soft_empty_cache", "meta", "soft_empty_cache"]
    assert (place, shape) == ("meta", [1, 8, 8, 3])
