"""What a person reads in the node when something is wrong: one sentence that says what to do."""

from __future__ import annotations

import re

import pytest

from .client import Client, Graph, Message
from .comfyui import Host
from .graphs import B_TO_A, load_model, node, translate
from .samples import assert_one_sentence, copy_model


def error_of(client: Client, graph: Graph, node_id: str) -> str:
    """Run a prompt that must fail in one node; return the sentence shown there."""
    run = client.run_prompt(graph)
    assert run.error is not None, f"ended with {run.ending}"
    assert run.error["node_id"] == node_id
    assert_one_sentence(run.error["exception_message"])
    return run.error["exception_message"]


def test_wrong_direction(client: Client, graph: Graph) -> None:
    graph["load"]["inputs"]["model_name"] = "forward.pth"
    graph["translate"]["inputs"]["direction"] = B_TO_A
    message = error_of(client, graph, "translate")
    assert "only translates" in message
    assert re.search("A ?→ ?B", message), "the sentence must use the words of the widget"


def test_mask_of_another_length_than_the_batch(client: Client, graph: Graph) -> None:
    graph["three"] = node("RepeatImageBatch", image=["image", 0], amount=3)
    graph["two"] = node("RepeatImageBatch", image=["image", 0], amount=2)
    graph["masks"] = node("ImageToMask", image=["two", 0], channel="red")
    graph |= translate(image=["three", 0], mask=["masks", 0])
    assert "2" in error_of(client, graph, "translate")


def test_damaged_file(client: Client, graph: Graph) -> None:
    graph["load"]["inputs"]["model_name"] = "damaged.safetensors"
    assert "damaged.safetensors" in error_of(client, graph, "load")


def test_fault_is_named_without_the_packs_path(client: Client, graph: Graph) -> None:
    """Pages show the type before the sentence."""
    graph["load"]["inputs"]["model_name"] = "damaged.safetensors"
    error = client.run_prompt(graph).error
    assert error is not None
    assert error["exception_type"] == "cyclegan_core.CheckpointError"


@pytest.mark.parametrize("widget", ["model_name", "model_name_b_to_a"])
def test_unknown_model_name(client: Client, graph: Graph, widget: str) -> None:
    """Our own sentence on every host, newer ones check choices by themselves where they may."""
    graph["load"]["inputs"][widget] = "nowhere.safetensors"
    message = error_of(client, graph, "load")
    assert message.startswith("There is no model 'nowhere.safetensors' in models/cyclegan; ")


@pytest.mark.parametrize(
    ("node_id", "name", "value"),
    [
        ("load", "direction", "sideways"),
        ("translate", "direction", "sideways"),
        ("translate", "memory", "huge"),
        ("translate", "precision", "int8"),
        ("translate", "strength", 1.5),
    ],
)
def test_impossible_value_is_named(
    client: Client, graph: Graph, node_id: str, name: str, value: object
) -> None:
    graph[node_id]["inputs"][name] = value
    assert str(value) in client.refusal(graph, node_id)


def test_path_outside_the_model_folders_is_no_model(
    client: Client, host: Host, graph: Graph
) -> None:
    (host.base_dir / "secret.safetensors").write_bytes(b"")
    graph["load"]["inputs"]["model_name"] = "../../secret.safetensors"
    assert "There is no model '../../secret.safetensors'" in error_of(client, graph, "load")


def test_model_deleted_while_its_prompt_waits(client: Client, host: Host, graph: Graph) -> None:
    """The name was valid when the prompt was queued; the file is gone when its turn comes."""
    doomed = copy_model(host, "both.safetensors", "doomed.safetensors")
    late_graph = graph | load_model(doomed.name)
    waiting: list[str] = []

    def swap(message: Message) -> None:
        if message.type == "progress" and not waiting:
            waiting.append(client.queue_prompt(late_graph))
            doomed.unlink()
            client.interrupt()

    blocker = graph | {"many": node("RepeatImageBatch", image=["image", 0], amount=4096)}
    blocker |= translate(image=["many", 0])
    assert client.run_prompt(blocker, on_message=swap).ending == "execution_interrupted"
    late = client.wait_for(waiting[0])
    assert late.error is not None
    assert late.error["node_id"] == "load"
    assert_one_sentence(late.error["exception_message"])
    assert "doomed.safetensors" in late.error["exception_message"]
