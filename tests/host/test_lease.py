"""The loan of a model that the host's loader left half on the CPU."""

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
