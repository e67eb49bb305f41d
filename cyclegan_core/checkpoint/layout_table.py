"""The one table of foreign layouts: where each keeps the layers of the paper's generator.

To add a layout, add an entry here and its plain module to `tests/unit/checkpoint/foreign.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..config import Direction

BlockKind = tuple[bool, Literal["reflect", "zero"]]
"""Whether a residual block has dropout, and its padding."""

PADDED: Mapping[tuple[str, str], BlockKind] = {
    ("1", "5"): (False, "reflect"),
    ("1", "6"): (True, "reflect"),
    ("0", "3"): (False, "zero"),
    ("0", "4"): (True, "zero"),
}
"""Position of a block's convolutions when padding and dropout are layers of their own."""


@dataclass(frozen=True, kw_only=True)
class ResnetLayout:
    """Names of a resnet generator's convolutions; `{+k}` is the number of blocks plus k."""

    name: str
    """How `inspect_checkpoint` calls it."""
    encoder: tuple[str, str, str]
    """The first convolution and the two of stride 2."""
    block: str
    """A block's convolutions: {i} is the block, {j} the convolution."""
    first_block: int = 0
    """The first {i}."""
    convs: Mapping[tuple[str, str], BlockKind]
    """Both {j} -> what they tell about the block."""
    decoder: tuple[str, str, str]
    """The two upsampling convolutions and the last one."""
    filters: tuple[str, ...] = ()
    """Where the fixed blurs of antialiased down- and upsampling lie."""
    downsample: Literal["strided", "blur"] = "strided"
    upsample: Literal["transposed", "resize", "bilinear"] = "transposed"
    down_padding: Literal["zero", "reflect"] = "zero"
    tracks: bool = False
    """Its instance norm really uses the running statistics that are stored."""
    pads_by_channels: bool = False
    """It pads the ends by the number of channels, which is right for three only."""
    is_bgr: bool = False
    """It was trained on blue-green-red pictures."""
    prefers_average: bool = True
    """If the file holds averaged (EMA) weights too, those are the better ones."""
    directions: Mapping[str, Direction] = field(default_factory=dict[str, Direction])
    """Generators whose names mean something else here than everywhere else."""
    names_target: bool = False
    """The generator is named after the domain that it makes."""
    image_size: int = 256
    """Side of the pictures it was trained on, as far as the layout tells."""

    def anchors(self) -> Iterable[str]:
        """Keys of which the first block must have one."""
        for first, _ in self.convs:
            yield self.block.format(i=self.first_block, j=first) + ".weight"

    def outer(self, num_blocks: int) -> list[str]:
        """Names of the six convolutions outside the blocks, in their order."""
        return _placed((*self.encoder, *self.decoder), num_blocks)

    def blurs(self, num_blocks: int) -> list[str]:
        """Keys of its filters, in their order."""
        return [f"{name}.filt" for name in _placed(self.filters, num_blocks)]


def _placed(names: Iterable[str], num_blocks: int) -> list[str]:
    return [re.sub(r"\{\+(\d+)\}", lambda m: str(num_blocks + int(m[1])), n) for n in names]


_ENCODER = ("model.1", "model.4", "model.7")
_DECODER = ("model.{+10}", "model.{+13}", "model.{+17}")
_RESIZE_DECODER = ("model.{+11}", "model.{+15}", "model.{+19}")
_REVERSED: Mapping[str, Direction] = {
    "G_A": "b_to_a",
    "G_B": "a_to_b",
    "Gab": "b_to_a",
    "Gba": "a_to_b",
}

# CUT and FastCUT (taesungp/contrastive-unpaired-translation): a blur is a layer of its own, after
# the ReLU on the way down, before the convolution on the way up; either can be switched off.
_CUT_ENCODER = ("model.1", "model.4", "model.8")
_CUT_DOWN = ("model.7", "model.11")

# Those with equal keys are tried in this order; a shorter one's keys end a longer one's.
RESNET_LAYOUTS: tuple[ResnetLayout, ...] = (
    ResnetLayout(
        name="cut",
        encoder=_CUT_ENCODER,
        block="model.{i}.conv_block.{j}",
        first_block=12,
        convs=PADDED,
        decoder=("model.{+13}", "model.{+17}", "model.{+21}"),
        filters=(*_CUT_DOWN, "model.{+12}", "model.{+16}"),
        downsample="blur",
        upsample="bilinear",
    ),
    ResnetLayout(
        name="cut",
        encoder=_CUT_ENCODER,
        block="model.{i}.conv_block.{j}",
        first_block=12,
        convs=PADDED,
        decoder=("model.{+12}", "model.{+15}", "model.{+19}"),
        filters=_CUT_DOWN,
        downsample="blur",
    ),
    ResnetLayout(
        name="cut",
        encoder=_ENCODER,
        block="model.{i}.conv_block.{j}",
        first_block=10,
        convs=PADDED,
        decoder=_RESIZE_DECODER,
        filters=("model.{+10}", "model.{+14}"),
        upsample="bilinear",
    ),
    # junyanz/pytorch-CycleGAN-and-pix2pix, dlwpt-code, aitorzip, eriklindernoren until 2018
    ResnetLayout(
        name="upstream",
        encoder=_ENCODER,
        block="model.{i}.conv_block.{j}",
        first_block=10,
        convs=PADDED,
        decoder=_DECODER,
    ),
    ResnetLayout(
        name="upstream",
        encoder=_ENCODER,
        block="model.{i}.conv_block.{j}",
        first_block=10,
        convs=PADDED,
        decoder=_RESIZE_DECODER,
        upsample="resize",
    ),
    # vintagify on PyPI
    ResnetLayout(
        name="vintagify",
        encoder=_ENCODER,
        block="model.{i}.block.{j}",
        first_block=10,
        convs=PADDED,
        decoder=_DECODER,
        image_size=512,
    ),
    # eriklindernoren/PyTorch-GAN since 2019, and huggan's copy of it
    ResnetLayout(
        name="eriklindernoren",
        encoder=_ENCODER,
        block="model.{i}.block.{j}",
        first_block=10,
        convs=PADDED,
        decoder=_RESIZE_DECODER,
        upsample="resize",
        pads_by_channels=True,
    ),
    # Lornatang/CycleGAN-PyTorch; before PyTorch 2.0 its EMA left the statistics behind
    ResnetLayout(
        name="lornatang",
        encoder=("main.1", "main.4", "main.7"),
        block="main.{i}.res.{j}",
        first_block=10,
        convs=PADDED,
        decoder=("main.{+10}", "main.{+13}", "main.{+17}"),
        tracks=True,
        prefers_average=False,
    ),
    # mmgeneration and mmagic read pictures with OpenCV
    ResnetLayout(
        name="mmgen",
        encoder=("model.0.conv", "model.1.conv", "model.2.conv"),
        block="model.{i}.block.{j}.conv",
        first_block=3,
        convs={("0", "1"): (False, "reflect"), ("0", "2"): (True, "reflect")},
        decoder=("model.{+3}.conv", "model.{+4}.conv", "model.{+5}.conv"),
        is_bgr=True,
        names_target=True,
    ),
    # aladdinpersson/Machine-Learning-Collection
    ResnetLayout(
        name="aladdinpersson",
        encoder=("initial.0", "down_blocks.0.conv.0", "down_blocks.1.conv.0"),
        block="res_blocks.{i}.block.{j}.conv.0",
        convs={("0", "1"): (False, "reflect")},
        decoder=("up_blocks.0.conv.0", "up_blocks.1.conv.0", "last"),
        down_padding="reflect",
    ),
    # arnab39/cycleGAN-PyTorch; its Gab makes a from b
    ResnetLayout(
        name="arnab39",
        encoder=("res_model.1.0", "res_model.2.0", "res_model.3.0"),
        block="res_model.{i}.res_block.{j}",
        first_block=4,
        convs={("1.0", "3"): (False, "reflect"), ("1.0", "4"): (True, "reflect")},
        decoder=("res_model.{+4}.0", "res_model.{+5}.0", "res_model.{+7}"),
        directions=_REVERSED,
    ),
    # tmabraham/UPIT; its G_A makes domain A
    ResnetLayout(
        name="upit",
        encoder=("1", "4", "7"),
        block="{i}.conv_block.{j}",
        first_block=10,
        convs=PADDED,
        decoder=("{+10}", "{+13}", "{+17}"),
        directions=_REVERSED,
    ),
)
