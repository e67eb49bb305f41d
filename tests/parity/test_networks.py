"""Each network of the package against the plain one of `plain.py`, on the same parameters.

`load_state_dict` is strict, so each comparison also proves that key names and shapes agree.

Bounds, relative in the 2-norm: 1e-10 in float64, where a difference of formula would be all that is
left (seen: 2e-14); 5e-6 in float32, the precision that people run. Float32 can't agree to the last
bit, because the plain norms subtract, divide and scale in turn while torch's kernels fuse that, and
each norm hands the difference on: mostly below 1e-6 is seen, 1.3e-6 for the paper's generator at
256x256, 2.8e-6 where norms stand on 2x2 maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from cyclegan_core.config import DIRECTIONS, ModelConfig
from cyclegan_core.networks import (
    PatchDiscriminator,
    PixelDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    init_weights,
)

from . import plain
from .plain import Arch, Params

pytestmark = pytest.mark.parity

NORMS = ("instance", "affine", "batch", "none")
TINY = Arch(width=4, num_blocks=2, in_channels=2)
PlainNetwork = Callable[..., Tensor]


def model_config(arch: Arch, **settings: object) -> ModelConfig:
    return ModelConfig(
        num_blocks=arch.num_blocks,
        num_downs=arch.num_downs,
        base_channels=arch.width,
        channels_a=arch.in_channels,
        channels_b=arch.out_channels,
        norm="instance" if arch.norm == "affine" else arch.norm,
        norm_affine=arch.norm == "affine",
        dropout=arch.dropout,
        padding=arch.padding,
        down_padding=arch.down_padding,
        downsample=arch.downsample,
        upsample=arch.upsample,
        **settings,
    )


def std_of(arch: Arch) -> float | None:
    """The paper's 0.02 where a norm restores the signal's size, else fan-in scaling does it."""
    return 0.02 if arch.norm in ("instance", "affine") else None


def noise(*shape: int) -> Tensor:
    """A picture in [-1,1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def assert_same(ours: Tensor, expected: Tensor) -> None:
    assert ours.shape == expected.shape
    assert expected.std() > 0.01, "too flat a picture to tell networks apart"
    bound = 1e-10 if expected.dtype == torch.float64 else 5e-6
    assert (ours - expected).norm() < bound * expected.norm()


@torch.no_grad()
def check(
    network: nn.Module,
    plain_network: PlainNetwork,
    params: Params,
    arch: Arch,
    x: Tensor,
    *,
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64),
) -> None:
    """Eval mode; with batch norm also two training passes, which move the running statistics."""
    for dtype in dtypes:
        network, x = network.to(dtype), x.to(dtype)
        params = {key: tensor.to(dtype) for key, tensor in params.items()}
        network.load_state_dict(params)
        assert_same(network.eval()(x), plain_network(params, x, arch))
        if arch.norm == "batch":
            network.train()
            for _ in range(2):
                assert_same(network(x), plain_network(params, x, arch, training=True))
            assert_close(network.state_dict(), params, check_dtype=False)  # running statistics
            assert_same(network.eval()(x), plain_network(params, x, arch))


# --- generators -----------------------------------------------------------------------------


@pytest.mark.parametrize("upsample", ["transposed", "resize", "bilinear"])
@pytest.mark.parametrize("padding", ["reflect", "zero"])
@pytest.mark.parametrize("norm", NORMS)
def test_resnet(norm: str, padding: str, upsample: str) -> None:
    for dropout, down_padding, downsample in [
        (False, "zero", "strided"),
        (True, "reflect", "strided"),
        (False, "reflect", "blur"),
        (True, "zero", "blur"),
    ]:
        arch = replace(
            TINY,
            norm=norm,
            padding=padding,
            upsample=upsample,
            dropout=dropout and norm != "batch",  # its training pass would draw
            down_padding=down_padding,
            downsample=downsample,
        )
        network = ResnetGenerator(model_config(arch))
        params = plain.resnet_params(arch, rng(), std_of(arch))
        check(network, plain.resnet_generator, params, arch, noise(2, 2, 20, 28))


@pytest.mark.parametrize("num_blocks", [0, 1, 6])
def test_resnet_any_number_of_blocks_at_its_smallest_size(num_blocks: int) -> None:
    arch = replace(TINY, num_blocks=num_blocks)
    config = model_config(arch)
    params = plain.resnet_params(arch, rng())
    x = noise(1, 2, config.min_size, config.min_size)
    check(ResnetGenerator(config), plain.resnet_generator, params, arch, x)


def test_resnet_at_full_size() -> None:
    arch = Arch()
    params = plain.resnet_params(arch, rng())
    network, x = ResnetGenerator(model_config(arch)), noise(1, 3, 256, 256)
    check(network, plain.resnet_generator, params, arch, x, dtypes=(torch.float32,))


@pytest.mark.parametrize("upsample", ["transposed", "resize", "bilinear"])
@pytest.mark.parametrize("norm", NORMS)
def test_unet(norm: str, upsample: str) -> None:
    for num_downs in (5, 6, 7):
        arch = replace(TINY, num_downs=num_downs, norm=norm, upsample=upsample, width=3)
        network = UnetGenerator(model_config(arch, generator="unet"))
        params = plain.unet_params(arch, rng(), std_of(arch))
        x = noise(2, 2, 2**num_downs, 2 * 2**num_downs)
        check(network, plain.unet_generator, params, arch, x)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("generator", ["resnet", "unet"])
def test_direction_swaps_the_channels(generator: str, direction: str) -> None:
    config = model_config(replace(TINY, num_downs=5), generator=generator)  # 2 -> 3 channels
    ends = {"in_channels": 2, "out_channels": 3}
    if direction == "b_to_a":
        ends = {"in_channels": 3, "out_channels": 2}
    arch = replace(TINY, num_downs=5, **ends)
    ours, make, run = {
        "resnet": (ResnetGenerator, plain.resnet_params, plain.resnet_generator),
        "unet": (UnetGenerator, plain.unet_params, plain.unet_generator),
    }[generator]
    x = noise(1, ends["in_channels"], 32, 32)
    check(ours(config, direction), run, make(arch, rng()), arch, x)


# --- discriminators -------------------------------------------------------------------------


@pytest.mark.parametrize("num_layers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_patch_discriminator(norm: str, num_layers: int) -> None:
    arch = replace(TINY, norm=norm, num_layers=num_layers)
    network = PatchDiscriminator(2, base_channels=4, num_layers=num_layers, norm=norm)
    params = plain.patch_params(arch, rng(), std_of(arch))
    check(network, plain.patch_discriminator, params, arch, noise(2, 2, 97, 128))


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_pixel_discriminator(norm: str) -> None:
    arch = replace(TINY, norm=norm)
    network = PixelDiscriminator(2, base_channels=4, norm=norm)
    params = plain.pixel_params(arch, rng(), std=None)
    check(network, plain.pixel_discriminator, params, arch, noise(2, 2, 7, 9))


def test_patch_discriminator_judges_30_by_30_patches() -> None:
    assert PatchDiscriminator(base_channels=4)(noise(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    x = noise(1, 3, 256, 256).requires_grad_(True)
    PatchDiscriminator(base_channels=4, norm="none")(x)[0, 0, 15, 15].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 == 70  # the receptive field that gives it its name


# --- sizes and start values (reference.md, section 2) ---------------------------------------


def _unet(num_downs: int, norm: str) -> UnetGenerator:
    return UnetGenerator(ModelConfig(generator="unet", num_downs=num_downs, norm=norm))


# The round figures 41.8M, 54.41M and 6.96M of reference.md, counted to the last digit on the
# classes of CUT b3ac297, a copy of the original's networks.
SIZES = {
    "resnet_9": (lambda: ResnetGenerator(ModelConfig()), 48, 11_378_179),
    "resnet_6": (lambda: ResnetGenerator(ModelConfig(num_blocks=6)), 36, 7_837_699),
    "unet_128": (lambda: _unet(7, "instance"), 28, 41_825_667),
    "unet_256_batch": (lambda: _unet(8, "batch"), 82, 54_413_955),
    "patch": (PatchDiscriminator, 10, 2_764_737),
    "patch_4": (lambda: PatchDiscriminator(num_layers=4), 12, 6_959_553),
    "pixel": (PixelDiscriminator, 6, 8_705),
}


@pytest.mark.parametrize("name", SIZES)
def test_size(name: str) -> None:
    build, num_tensors, num_parameters = SIZES[name]
    with torch.device("meta"):
        network = build()
    assert len(network.state_dict()) == num_tensors
    assert sum(p.numel() for p in network.parameters()) == num_parameters


def _layers(network: nn.Module) -> list[str]:
    return [key.removesuffix(".weight") for key in network.state_dict() if key.endswith(".weight")]


def test_key_names_as_listed_in_the_reference() -> None:
    """Literally, so that a mistake shared by `plain.py` and the package would show."""
    with torch.device("meta"):
        blocks = {
            variant: _layers(ResnetGenerator(ModelConfig(num_blocks=1, **dict(variant))))[3:5]
            for variant in [(), (("dropout", True),), (("padding", "zero"),)]
        }
        assert _layers(ResnetGenerator(ModelConfig(num_blocks=0))) == [
            f"model.{place}" for place in (1, 4, 7, 10, 13, 17)
        ]
        assert _layers(ResnetGenerator(ModelConfig(num_blocks=9)))[-3:] == [
            f"model.{place}" for place in (19, 22, 26)
        ]
        unet = _layers(_unet(7, "instance"))
        assert _layers(PatchDiscriminator()) == [f"model.{i}" for i in (0, 2, 5, 8, 11)]
        assert _layers(PixelDiscriminator()) == [f"net.{i}" for i in (0, 2, 5)]
    assert [
        [key.removeprefix("model.10.conv_block.") for key in keys] for keys in blocks.values()
    ] == [
        ["1", "5"],
        ["1", "6"],
        ["0", "3"],
    ]
    inner = "model.model.1" + ".model.3" * 5
    assert {"model.model.0", "model.model.3", "model.model.1.model.1", "model.model.1.model.5",
            f"{inner}.model.1", f"{inner}.model.3"} <= set(unet)  # fmt: skip


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_start_values_are_normal_with_deviation_002(norm: str) -> None:
    networks = [
        ResnetGenerator(ModelConfig(num_blocks=1, base_channels=32, norm=norm, upsample=upsample))
        for upsample in ("transposed", "resize")
    ]
    networks.append(PatchDiscriminator(base_channels=32, norm=norm))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for network in networks:
            init_weights(network)
    for key, value in [item for net in networks for item in net.named_parameters()]:
        if key.endswith("bias"):
            assert value.count_nonzero() == 0, key
            continue
        mean = 1.0 if value.ndim == 1 else 0.0  # a batch norm's scale
        bound = 5 * 0.02 / math.sqrt(value.numel())  # 5 standard errors
        assert abs(value.mean().item() - mean) < bound, key
        assert abs(value.std().item() - 0.02) < bound, key
        if value.numel() > 10_000:  # 0.27 % of a normal distribution lie beyond 3 deviations
            assert 0.0015 < ((value - mean).abs() > 0.06).float().mean() < 0.004, key
