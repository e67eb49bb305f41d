"""A student that begins as a part of its teacher: where nothing is lost, it is the teacher."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from cyclegan_core import CycleGAN, ModelConfig
from cyclegan_core.distillation.start import part_of
from cyclegan_core.networks import ResnetBlock

from ..checkpoint.foreign import scramble

SMALL = ModelConfig(base_channels=3, num_blocks=2, norm_affine=True)
PICTURES = torch.rand(6, 3, 24, 20, generator=torch.Generator().manual_seed(0))


def doubled(small: CycleGAN, *, extra_block: int) -> CycleGAN:
    """The same function with every channel twice, and with a block more that adds nothing."""
    config = small.config
    wide = replace(config, base_channels=2 * config.base_channels, num_blocks=3)
    large = CycleGAN(wide, directions=["a_to_b"]).eval()
    blocks = iter(m for m in small.generator("a_to_b").model if isinstance(m, ResnetBlock))
    sources: list[nn.Module] = []
    places = iter(range(3))
    for module in large.generator("a_to_b").model:
        if isinstance(module, ResnetBlock):
            if next(places) == extra_block:
                for weights in module.parameters():
                    weights.zero_()
            else:
                sources.append(next(blocks).conv_block)
                fill(module.conv_block, sources[-1])
    outer_small = [m for m in small.generator("a_to_b").model if not isinstance(m, ResnetBlock)]
    outer_large = [m for m in large.generator("a_to_b").model if not isinstance(m, ResnetBlock)]
    fill(nn.Sequential(*outer_large), nn.Sequential(*outer_small))
    return large


def fill(large: nn.Sequential, small: nn.Sequential) -> None:
    """Every number of the small layers where it belongs in those of twice the channels."""
    for wide, narrow in zip(large, small, strict=True):
        for name, tensor in wide.state_dict().items():
            source = narrow.state_dict()[name]
            for axis in range(min(source.ndim, 2)):
                if tensor.shape[axis] == 2 * source.shape[axis]:
                    source = torch.cat([source, source], axis)
            inputs = 0 if isinstance(wide, nn.ConvTranspose2d) else 1
            if tensor.ndim == 4 and tensor.shape[inputs] > 3:  # what comes in twice counts half
                source = source / 2
            tensor.copy_(source)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        replace(SMALL, norm="batch", norm_affine=False),
        replace(SMALL, norm="none", norm_affine=False, padding="zero"),
        replace(SMALL, upsample="resize", down_padding="reflect", value_range=(0.0, 1.0)),
        replace(SMALL, upsample="bilinear", downsample="blur"),
    ],
    ids=["instance", "batch", "none", "resize", "blur"],
)
@torch.no_grad()
def test_channels_and_blocks_that_add_nothing_are_those_left_out(config) -> None:
    small = CycleGAN(config, directions=["a_to_b"]).eval()
    scramble(small, 1)
    teacher = doubled(small, extra_block=1)
    wanted = small.translate(PICTURES)
    assert torch.allclose(teacher.translate(PICTURES), wanted, atol=1e-5)  # rounding
    student = part_of(teacher, "a_to_b", PICTURES, base_channels=3, num_blocks=2)
    assert student.config == config
    # Least squares with a ridge of 1e-4 takes so much from every layer, ten in a row.
    assert float((student.translate(PICTURES) - wanted).abs().mean()) < 5e-3


def test_other_directions_and_pictures_of_one_channel() -> None:
    config = replace(SMALL, channels_a=1, domain_a="sketch")
    teacher = CycleGAN(config).eval()
    student = part_of(teacher, "b_to_a", PICTURES, base_channels=2, num_blocks=0)
    assert student.directions == ("b_to_a",)
    assert student.translate(PICTURES, "b_to_a").shape == (6, 1, 24, 20)
    assert student.config.domain_a == "sketch"
