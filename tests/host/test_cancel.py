"""Cancel stops a batch between its pictures and a large picture between its layers."""

from __future__ import annotations

from .client import Client, Graph, Message
from .graphs import load_model, node, translate

BATCH = 4096
"""Pictures of a batch that takes many times as long as a cancel."""


def test_cancel_stops_a_long_batch_and_the_next_prompt_runs(client: Client, graph: Graph) -> None:
    cancelled = False

    def cancel(message: Message) -> None:
        nonlocal cancelled
        if message.type == "progress" and not cancelled:
            cancelled = True
            client.interrupt()

    graph["many"] = node("RepeatImageBatch", image=["image", 0], amount=BATCH)
    run = client.run_prompt(graph | translate(image=["many", 0]), on_message=cancel)
    assert run.ending == "execution_interrupted"
    assert [data["node_id"] for data in run.of_type("execution_interrupted")] == ["translate"]
    assert run.error is None
    last = run.of_type("progress")[-1]
    assert last["max"] == BATCH
    assert last["value"] < BATCH
    assert run.outputs == {}
    assert len(client.save_images(graph | translate())) == 1


def test_a_large_picture_tells_how_far_it_is_and_is_cancelled_inside(client: Client) -> None:
    """In one pass, which takes several seconds here."""
    graph = load_model("photo2monet.safetensors")
    graph |= translate(image=["empty", 0], memory="whole")
    graph["empty"] = node("EmptyImage", width=1024, height=1024, batch_size=1, color=0x808080)
    run = client.run_prompt(graph)
    assert run.ending == "execution_success", run.failure
    steps = [(p["value"], p["max"]) for p in run.of_type("progress") if p["node"] == "translate"]
    count = steps[-1][1]
    assert count > 10
    assert steps == [(step, count) for step in range(1, count + 1)]

    def cancel(message: Message) -> None:
        if message.type == "progress" and message.data["value"] == 2:
            client.interrupt()

    graph["empty"]["inputs"]["color"] = 0x808000
    run = client.run_prompt(graph, on_message=cancel)
    assert run.ending == "execution_interrupted"
    assert run.of_type("progress")[-1]["value"] < count
    assert run.outputs == {}


def test_cancel_stops_a_reconstruction(client: Client, graph: Graph) -> None:
    """Its progress counts the way there and the way back."""
    graph["many"] = node("RepeatImageBatch", image=["image", 0], amount=BATCH)
    graph["translate"] = node(
        "CycleGAN_Reconstruct", model=["load", 0], image=["many", 0], direction="A→B"
    )

    def cancel(message: Message) -> None:
        if message.type == "progress" and message.data["value"] == 1:
            client.interrupt()

    run = client.run_prompt(graph, on_message=cancel)
    assert run.ending == "execution_interrupted"
    assert run.of_type("progress")[-1]["max"] == 2 * BATCH
