"""EfficientNet-Lite0's first eleven blocks, trained on ImageNet and frozen: what pictures show.

Sources: Tan & Le 2019 (the stages of EfficientNet-B0, table 1), Sandler et al. 2018 (MBConv:
expand 1x1, depthwise kxk, project 1x1, added to its input where nothing changes shape), Liu 2020
(Lite: no squeeze-and-excite, ReLU6). Batch norm is folded into the convolutions, which for a
frozen network is the same function. The weights come with the package; `make.py` beside them made
the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..device.precision import at_least_float32
from ..errors import CheckpointError, reason
from ..hub.catalog import FEATURES_NAME, weights_folder


class Stage(NamedTuple):
    """A row of the paper's table."""

    repeats: int
    kernel: int
    stride: int
    """Of the stage's first block; the others have 1."""
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
)
"""Stages 2 to 6 of Tan & Le 2019: eleven blocks, a seventh of the network's numbers."""

STEM_CHANNELS = 32


class Block(NamedTuple):
    """One of the blocks in the order in which pictures pass them."""

    in_channels: int
    kernel: int
    stride: int
    expansion: int
    channels: int
    """That it gives."""
    reduction: int
    """How many times smaller than the picture what it gives is, per side."""


def _blocks() -> tuple[Block, ...]:
    """The stages written out."""
    blocks: list[Block] = []
    channels, reduction = STEM_CHANNELS, 2
    for stage in STAGES:
        for number in range(stage.repeats):
            stride = stage.stride if number == 0 else 1
            reduction *= stride
            shape = (channels, stage.kernel, stride, stage.expansion, stage.channels)
            blocks.append(Block(*shape, reduction))
            channels = stage.channels
    return tuple(blocks)


BLOCKS = _blocks()
"""All blocks of which the package has the weights."""


class FrozenConv2d(nn.Module):
    """A convolution with TensorFlow's "same" padding, whose weights are not trained.

    They are buffers that a state dict leaves out, since they are the same in every training;
    `.to` moves them like weights.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, *, stride: int = 1) -> None:
        """`weight`: (O,I,k,k), or (O,1,k,k) for a depthwise one; `bias`: (O,)."""
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(B,I,H,W) -> (B,O,ceil(H/stride),ceil(W/stride))."""
        kernel = self.weight.shape[-1]
        groups = x.shape[1] // self.weight.shape[1]
        if self.stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=kernel // 2, groups=groups)
        # What is missing is padded, the odd pixel at the right and the bottom.
        rows, columns = (max(0, kernel - 1 - (n - 1) % self.stride) for n in x.shape[-2:])
        x = F.pad(x, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=groups)


class MBConv(nn.Module):
    """Expand, depthwise, project; added to its input when it keeps the shape."""

    def __init__(self, block: Block, weights: Mapping[str, Tensor], prefix: str) -> None:
        """`weights` of this block have names that begin with `prefix`."""
        super().__init__()

        def convolution(name: str, *, stride: int = 1) -> FrozenConv2d:
            name = prefix + name
            return FrozenConv2d(weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride)

        self.expand = convolution("expand") if block.expansion > 1 else None
        self.depthwise = convolution("depthwise", stride=block.stride)
        self.project = convolution("project")
        self.is_residual = block.stride == 1 and block.in_channels == block.channels

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> (B,C',H/stride,W/stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = F.relu6(self.depthwise(y))
        y = self.project(y)
        return x + y if self.is_residual else y


class FeatureNetwork(nn.Module):
    """The stem and the first blocks."""

    def __init__(self, weights: Mapping[str, Tensor], *, num_blocks: int = len(BLOCKS)) -> None:
        """`weights` by the names that they have in the file, with batch norm folded in."""
        super().__init__()
        self.stem = FrozenConv2d(weights["stem.weight"], weights["stem.bias"], stride=2)
        self.blocks = nn.ModuleList(
            MBConv(block, weights, f"blocks.{number}.")
            for number, block in enumerate(BLOCKS[:num_blocks])
        )

    def forward(self, x: Tensor, taps: Sequence[int]) -> list[Tensor]:
        """Pictures (B,3,H,W) in [-1,1] -> what the blocks numbered `taps`, ascending, give."""
        x = F.relu6(self.stem(x))
        found: list[Tensor] = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in taps:
                found.append(x)
        return found


LOOKS = (0, 2, 4, 10)
"""Blocks whose maps are a half, a quarter, an eighth and a sixteenth of the picture per side."""


def feature_distance(network: FeatureNetwork, pictures: Tensor, others: Tensor) -> Tensor:
    """How different pictures look, summed over the blocks `LOOKS`: a scalar from 0, in float32.

    In each block's maps the feature vector at each place is brought to length 1; the squared length
    of the difference is averaged over places (Zhang et al. 2018, without learned weights).

    Args:
        network: all blocks.
        pictures: (B,C,H,W) in [-1,1] with 1 or 3 channels; they take the gradient.
        others: of the same shape; they take none.
    """

    def units(images: Tensor) -> list[Tensor]:
        x = at_least_float32(images).expand(-1, 3, -1, -1)
        maps = network(x.contiguous(memory_format=torch.channels_last), LOOKS)
        return [F.normalize(each, dim=1) for each in maps]

    # Depthwise convolutions are slower in half precision.
    with torch.autocast(pictures.device.type, enabled=False):
        with torch.no_grad():
            wanted = units(others)
        pairs = zip(units(pictures), wanted, strict=True)
        return torch.stack([(x - y).square().sum(1).mean() for x, y in pairs]).sum()


def load_feature_network(num_blocks: int, path: Path | None = None) -> FeatureNetwork:
    """The network with ImageNet's weights, by default those that come with the package.

    Raises:
        CheckpointError: the file is missing or is not what the package came with.
    """
    path = path or weights_folder() / "features" / FEATURES_NAME
    try:
        weights = {name: tensor.float() for name, tensor in load_file(path).items()}
        return FeatureNetwork(weights, num_blocks=num_blocks)
    except OSError as error:
        why = reason(error)
    except SafetensorError as error:
        why = str(error).rstrip(".")
    except KeyError as error:
        why = f"{error} is not in it"
    raise CheckpointError(
        f"The ImageNet features {path} can't be used ({why}); install CycleGAN again, or choose "
        "the discriminator patch."
    )
