"""API-format prompts for the tests; the names of the nodes in them are fixed."""

from __future__ import annotations

from typing import Any

from .client import Graph

AUTO, A_TO_B, B_TO_A = "auto", "A→B", "B→A"


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node of a prompt; an input is a value or a link [node id, output index]."""
    return {"class_type": class_type, "inputs": inputs}


def load_image(name: str) -> Graph:
    """The node `image`: a picture of the input folder (output 0) and its mask (output 1)."""
    return {"image": node("LoadImage", image=name)}


def load_model(model_name: str, direction: str = A_TO_B) -> Graph:
    """The node `load`: a model (output 0) and what is known of it (output 1)."""
    return {"load": node("CycleGAN_Load", model_name=model_name, direction=direction)}


def translate(**inputs: Any) -> Graph:
    """The node `translate` on the nodes `load` and `image`, and `save`, which stores its result."""
    settings = {
        "model": ["load", 0],
        "image": ["image", 0],
        "direction": A_TO_B,
        "memory": "auto",
        "precision": "fp32",
        "strength": 1.0,
    }
    return {
        "translate": node("CycleGAN_Translate", **(settings | inputs)),
        "save": save_image("translate"),
    }


def save_image(source: str, output: int = 0) -> dict[str, Any]:
    """A node that stores the pictures of another node as PNG files."""
    return node("SaveImage", images=[source, output], filename_prefix="host_test")


def show_text(source: str, output: int) -> dict[str, Any]:
    """A node whose result is the text of another node's output."""
    return node("PreviewAny", source=[source, output])


def defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """What the page fills in for the required widgets of a node, from /object_info."""
    widgets = schema["input"]["required"].items()
    return {
        name: options[0]["default"] for name, (_, *options) in widgets if "default" in options[0]
    }


def train(info: dict[str, Any], folders: tuple[str, str], run_name: str, **inputs: Any) -> Graph:
    """The nodes `settings` (tiny networks) and `train` (32-pixel crops), with no time limit."""
    tiny = {"base_channels": 4, "num_blocks": 1, "sample_every": 2}
    own = {
        "folder_a": folders[0],
        "folder_b": folders[1],
        "run_name": run_name,
        "steps": 4,
        "max_minutes": 0.0,
        "image_size": 32,
        "settings": ["settings", 0],
    }
    return {
        "settings": node(
            "CycleGAN_TrainSettings", **defaults(info["CycleGAN_TrainSettings"]) | tiny
        ),
        "train": node("CycleGAN_Train", **defaults(info["CycleGAN_Train"]) | own | inputs),
    }
