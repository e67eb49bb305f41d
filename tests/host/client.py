"""A small ComfyUI client: what a program does over HTTP and the websocket, and no more.

aiohttp and requests come with the host, which is provisioned after this module is imported;
so they are imported where they are used.
"""

from __future__ import annotations

import asyncio
import io
import json
import struct
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import requests

Graph = dict[str, dict[str, Any]]
"""An API-format prompt: node id → {"class_type", "inputs"}."""

MESSAGE_TIMEOUT_S = 180.0
HTTP_TIMEOUT_S = 60.0
PREVIEW_HEADER_BYTES = 8
"""Kind of event, kind of picture."""
TEXT_EVENT = 3
"""The kind of event of a line of text on a node: its id's length, the id, the text."""
FINAL_MESSAGES = {"execution_success", "execution_error", "execution_interrupted"}


class PromptRejectedError(Exception):
    """The host refused a prompt before running it; `node_errors` says why, by node id."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.node_errors: dict[str, Any] = answer.get("node_errors", {})
        super().__init__(json.dumps(answer, indent=1))


class PromptFailedError(Exception):
    """A prompt that should have succeeded did not; the text is the host's own error."""


@dataclass(frozen=True)
class Message:
    """One websocket message of a prompt."""

    type: str
    data: dict[str, Any]


@dataclass
class Run:
    """One finished prompt: its messages, in order, and what its output nodes gave."""

    prompt_id: str
    messages: list[Message] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    previews: list[bytes] = field(default_factory=list)
    """Picture files that were sent while nodes ran."""
    texts: dict[str, list[str]] = field(default_factory=dict)
    """Lines that nodes wrote on themselves while they ran, by node id."""

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        """The data of all messages of one type."""
        return [message.data for message in self.messages if message.type == kind]

    @property
    def ending(self) -> str:
        """How it ended: one of FINAL_MESSAGES."""
        return next(m.type for m in reversed(self.messages) if m.type in FINAL_MESSAGES)

    @property
    def error(self) -> dict[str, Any] | None:
        """The data of execution_error: node_id, exception_type, exception_message, traceback."""
        errors = self.of_type("execution_error")
        return errors[0] if errors else None

    @property
    def failure(self) -> str:
        """The error as text, with the part of the traceback that lies outside the host."""
        if self.error is None:
            return self.ending
        where = "".join(self.error["traceback"][-4:])
        return "{node_id}: {exception_type}: {exception_message}".format(**self.error) + where

    @property
    def executed_nodes(self) -> set[str]:
        """Ids of the nodes that the host ran, and did not take from its cache."""
        return {data["node"] for data in self.of_type("executing") if data["node"] is not None}


class Client:
    """Talks to one host under its own client id."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client_id = uuid.uuid4().hex

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """One HTTP request; any status is returned as it is."""
        import requests

        return requests.request(method, self.address + path, timeout=HTTP_TIMEOUT_S, **options)

    def object_info(self) -> dict[str, Any]:
        """Schemas of all nodes, by id."""
        return _checked(self.request("GET", "/object_info")).json()

    def upload_image(self, image: Image.Image, name: str) -> str:
        """Put a picture into the host's input folder; return the name LoadImage takes."""
        files = {"image": (name, png_bytes(image), "image/png")}
        answer = self.request("POST", "/upload/image", files=files, data={"overwrite": "true"})
        return str(_checked(answer).json()["name"])

    def queue_prompt(self, graph: Graph) -> str:
        """Queue a prompt; return its id. Raises PromptRejectedError if validation fails."""
        body = {"prompt": graph, "client_id": self.client_id}
        answer = self.request("POST", "/prompt", json=body)
        if not answer.ok or answer.json().get("node_errors"):
            raise PromptRejectedError(answer.json())
        return str(answer.json()["prompt_id"])

    def interrupt(self) -> None:
        """Cancel the prompt that runs now, as the page's Cancel button does."""
        _checked(self.request("POST", "/interrupt"))

    def free_memory(self) -> None:
        """Make the host forget results and unload models, as the page's Free buttons do."""
        _checked(self.request("POST", "/free", json={"unload_models": True, "free_memory": True}))
        self.forget_results()  # the host frees between two prompts

    def forget_results(self) -> None:
        """Run an unrelated prompt: the host keeps the results of its latest prompt only."""
        settings = {"width": 1, "height": 1, "batch_size": 1, "color": 0}
        empty = {"class_type": "EmptyImage", "inputs": settings}
        show = {"class_type": "PreviewImage", "inputs": {"images": ["empty", 0]}}
        self.run_prompt({"empty": empty, "show": show})

    def view(self, image: dict[str, str]) -> Image.Image:
        """Fetch a picture named in a run's outputs."""
        answer = _checked(self.request("GET", "/view", params=image))
        picture = Image.open(io.BytesIO(answer.content))
        picture.load()
        return picture

    def images(self, run: Run, node_id: str) -> list[Image.Image]:
        """All pictures an output node saved in a run, in batch order."""
        return [self.view(image) for image in run.outputs[node_id]["images"]]

    def run_prompt(
        self, graph: Graph, *, on_message: Callable[[Message], None] | None = None
    ) -> Run:
        """Queue a prompt, listen until it ended, and fetch its outputs.

        `on_message` is called with each message of the prompt as it arrives.
        """
        run = asyncio.run(self._listen(graph, on_message))
        run.outputs = self._history(run.prompt_id)["outputs"]
        return run

    def wait_for(self, prompt_id: str) -> Run:
        """Wait for a prompt queued before, asking the history; it keeps no progress messages."""
        deadline = time.monotonic() + MESSAGE_TIMEOUT_S
        while time.monotonic() < deadline:
            entry = self._history(prompt_id)
            if entry:
                messages = [Message(*message) for message in entry["status"]["messages"]]
                return Run(prompt_id, messages, entry["outputs"])
            time.sleep(0.05)  # the interval of polling; the deadline decides
        raise TimeoutError(f"prompt {prompt_id} did not end in {MESSAGE_TIMEOUT_S:.0f} s")

    def _history(self, prompt_id: str) -> dict[str, Any]:
        """What the host remembers of an ended prompt; empty before it ended."""
        return _checked(self.request("GET", f"/history/{prompt_id}")).json().get(prompt_id, {})

    def refusal(self, graph: Graph, *node_ids: str) -> str:
        """What one of these nodes, which must fail, shows: before the prompt runs, or when it runs.

        Hosts check numbers before; choices of V3 nodes only newer ones check.
        """
        try:
            run = self.run_prompt(graph)
        except PromptRejectedError as rejection:
            errors = [
                error
                for node_id in node_ids
                for error in rejection.node_errors.get(node_id, {"errors": []})["errors"]
            ]
            return "\n".join(f"{error['message']}: {error['details']}" for error in errors)
        if run.error is None or run.error["node_id"] not in node_ids:
            raise PromptFailedError(f"{node_ids} did not fail: {run.failure}")
        return str(run.error["exception_message"])

    def save_images(self, graph: Graph) -> list[Image.Image]:
        """Run a prompt that must succeed; return the pictures of its node `save`."""
        run = self.run_prompt(graph)
        if run.ending != "execution_success":
            raise PromptFailedError(run.failure)
        return self.images(run, "save")

    async def _listen(self, graph: Graph, on_message: Callable[[Message], None] | None) -> Run:
        import aiohttp

        url = f"{self.address}/ws?clientId={self.client_id}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            run = Run(self.queue_prompt(graph))
            while True:
                packet = await socket.receive(timeout=MESSAGE_TIMEOUT_S)
                if packet.type is aiohttp.WSMsgType.BINARY:
                    text = _take_binary(run, packet.data)
                    if text and on_message:
                        on_message(text)
                    continue
                content = json.loads(packet.data)
                message = Message(content["type"], content["data"])
                if message.data.get("prompt_id") != run.prompt_id:
                    continue
                run.messages.append(message)
                if on_message:
                    on_message(message)
                # Sent last, after the history is written, however the prompt ended.
                if message.type == "executing" and message.data["node"] is None:
                    return run


def png_bytes(image: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _take_binary(run: Run, data: bytes) -> Message | None:
    """A preview or a line of text, as the host packs them; the text as a message, too."""
    kind, length = struct.unpack(">II", data[:8])
    if kind == TEXT_EVENT:
        node_id, text = data[8 : 8 + length].decode(), data[8 + length :].decode()
        run.texts.setdefault(node_id, []).append(text)
        return Message("progress_text", {"node": node_id, "text": text})
    run.previews.append(data[PREVIEW_HEADER_BYTES:])
    return None


def _checked(answer: requests.Response) -> requests.Response:
    answer.raise_for_status()
    return answer
