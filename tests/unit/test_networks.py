"""What the networks promise beyond their arithmetic, which `parity/test_networks.py` holds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from cyclegan_core.config import DIRECTIONS, ModelConfig
from cyclegan_core.layers import BatchNorm, InstanceNorm, NarrowConv2d, ResizeConv2d
from cyclegan_core.networks import (
    PatchDiscriminator,
    PixelDiscriminator,
    ResnetBlock,
    ResnetGenerator,
    SpectralConv2d,
    UnetGenerator,
    build_generator,
    init_residual_zero,
    init_weights,
)

TINY = {"base_channels": 4, "num_blocks": 1, "num_downs": 5}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def picture(*shape: int) -> Tensor:
    return torch.rand(*shape) * 2 - 1


def every_network() -> dict[str, nn.Module]:
    return {
        "resnet": ResnetGenerator(ModelConfig(**TINY)),
        "resnet_zero": ResnetGenerator(ModelConfig(**TINY, padding="zero", upsample="resize")),
        "unet": UnetGenerator(ModelConfig(**TINY, generator="unet")),
        "patch": PatchDiscriminator(base_channels=4),
        "pixel": PixelDiscriminator(base_channels=4),
    }


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("upsample", ["transposed", "resize", "bilinear"])
@pytest.mark.parametrize("generator", ["resnet", "unet"])
def test_generator_keeps_the_size(generator: str, upsample: str, direction: str) -> None:
    config = ModelConfig(**TINY, generator=generator, upsample=upsample, channels_a=1, channels_b=4)
    network = build_generator(config, direction)
    assert type(network) is {"resnet": ResnetGenerator, "unet": UnetGenerator}[generator]
    channels_in, channels_out = config.channels(direction)
    height, width = config.min_size, config.min_size + 3 * config.size_multiple
    result = network(picture(2, channels_in, height, width))
    assert result.shape == (2, channels_out, height, width)
    assert result.abs().max() <= 1
    assert result.std() > 0


def test_min_size_is_the_least_that_works() -> None:
    network, least = ResnetGenerator(ModelConfig(**TINY)), ModelConfig().min_size
    assert network(picture(1, 3, least, least)).isfinite().all()
    with pytest.raises((RuntimeError, ValueError)):  # torch's own: no neighbour to reflect
        network(picture(1, 3, least - 4, least - 4))


@pytest.mark.parametrize("num_layers", [1, 3, 4])
def test_patch_map_size(num_layers: int) -> None:
    side = 96
    expected = side >> num_layers
    result = PatchDiscriminator(1, base_channels=2, num_layers=num_layers)(picture(2, 1, side, 128))
    assert result.shape == (2, 1, expected - 2, (128 >> num_layers) - 2)


def test_pixel_map_has_the_pictures_size() -> None:
    assert PixelDiscriminator(base_channels=2)(picture(2, 3, 5, 7)).shape == (2, 1, 5, 7)


@pytest.mark.parametrize("name", every_network())
def test_training_reaches_every_parameter_and_spares_the_input(name: str) -> None:
    network, x = every_network()[name], picture(2, 3, 64, 64)
    kept = x.clone()
    network(x).square().sum().backward()
    assert torch.equal(x, kept)
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@pytest.mark.parametrize("name", every_network())
def test_pictures_of_a_batch_do_not_meet_with_instance_norm(name: str) -> None:
    """So passes that share weights may run as one batch."""
    network, batch = every_network()[name].train(), picture(3, 3, 64, 64)
    alone = torch.cat([network(image[None]) for image in batch])
    assert_close(network(batch), alone, rtol=0, atol=1e-5)  # other kernels for other batch sizes


def test_batch_norm_pictures_meet_in_training_only() -> None:
    network, batch = ResnetGenerator(ModelConfig(**TINY, norm="batch")), picture(2, 3, 16, 16)
    assert (network(batch)[:1] - network(batch[:1])).abs().max() > 1e-3
    network.eval()
    assert_close(network(batch)[:1], network(batch[:1]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("generator", ["resnet", "unet"])
def test_dropout_acts_in_training_only(generator: str) -> None:
    settings = TINY | {"num_downs": 6}  # with 5 the U-Net has no inner level to drop in
    network = build_generator(ModelConfig(**settings, generator=generator, dropout=True), "a_to_b")
    x = picture(1, 3, 64, 64)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    silent = build_generator(ModelConfig(**settings, generator=generator), "a_to_b")
    assert torch.equal(silent(x), silent(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [InstanceNorm, BatchNorm])
def test_norm_statistics_are_float32(kind: type[nn.Module], dtype: torch.dtype) -> None:
    """A map around 300 with deviation 8: its squares overflow float16, its mean drowns bfloat16."""
    x = (300 + 8 * torch.randn(2, 3, 32, 32)).to(dtype)
    result = kind(3)(x)
    assert result.dtype == dtype
    axes = (2, 3) if kind is InstanceNorm else (0, 2, 3)
    exact = x.double()
    exact = (exact - exact.mean(axes, keepdim=True)) / exact.std(axes, keepdim=True, correction=0)
    # One rounding at the end: half a unit in the last place of numbers below 4.
    assert_close(result.double(), exact, rtol=0, atol=2.1 * torch.finfo(dtype).eps)


def test_resize_convolution_has_no_checkerboard() -> None:
    flat = torch.ones(1, 4, 8, 8)
    inside = ResizeConv2d(4, 2, bias=True)(flat)[:, :, 1:-1, 1:-1]
    assert inside.shape == (1, 2, 14, 14)
    assert_close(inside, inside[:, :, :1, :1].expand_as(inside))
    transposed = nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1)(flat)
    assert transposed[:, :, 1:-1, 1:-1].std() > 0.01  # what it is there to avoid


@pytest.mark.parametrize("generator", ["resnet", "unet"])
def test_all_ways_of_resampling_share_their_keys(generator: str) -> None:
    ways = [{"upsample": way} for way in ("transposed", "resize", "bilinear")]
    ways += [{"downsample": "blur"}] if generator == "resnet" else []
    first, *others = (
        list(
            build_generator(ModelConfig(**TINY, generator=generator, **way), "a_to_b").state_dict()
        )
        for way in ways
    )
    assert all(keys == first for keys in others)


def test_init_is_repeatable_and_leaves_no_trace_in_autograd() -> None:
    network = ResnetGenerator(ModelConfig(**TINY, norm="batch"))
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        init_weights(network)
        drawn.append({key: value.clone() for key, value in network.state_dict().items()})
    assert_close(drawn[0], drawn[1], rtol=0, atol=0)
    assert all(p.requires_grad and p.is_leaf for p in network.parameters())
    init_weights(network, std=0.0)
    weights = dict(network.named_parameters())
    assert weights["model.1.weight"].count_nonzero() == 0
    assert torch.equal(weights["model.2.weight"], torch.ones(4))  # a batch norm's scale


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_narrow_convolution_is_the_convolution(layout) -> None:
    torch.manual_seed(0)
    conv = NarrowConv2d(8, 3, 7)
    x = torch.randn(2, 8, 12, 15).contiguous(memory_format=layout)
    expected = torch.nn.functional.conv2d(x.double(), conv.weight.double(), conv.bias.double())
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            kept = x.clone()
            # Sums of 392 products below 1, in another order.
            assert_close(conv(x).double(), expected, rtol=0, atol=3e-6)
            assert torch.equal(x, kept)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        narrow = conv(x)
    assert narrow.dtype == (torch.float32 if layout == torch.channels_last else torch.bfloat16)
    # Roundings of the inputs, the weights and seven parts, all of numbers below 2.
    assert_close(narrow.double(), expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("upsample", ["transposed", "resize"])
def test_a_residual_zero_start_keeps_what_goes_through(upsample: str) -> None:
    """Blocks begin as the identity, and the size of the features stays within a factor of two."""
    config = ModelConfig(base_channels=16, num_blocks=3, norm="none", upsample=upsample)
    network = ResnetGenerator(config)
    init_residual_zero(network)
    sizes: list[float] = []
    x = picture(1, 3, 32, 32)
    for layer in network.model:
        y = layer(x)
        if isinstance(layer, ResnetBlock):
            assert torch.equal(y, x)
        if isinstance(layer, nn.ReLU):
            sizes.append(float(y.detach().square().mean()))
        x = y
    assert len(sizes) == 5
    assert all(0.5 < later / sizes[0] < 2 for later in sizes)
    assert float(x.detach().abs().mean()) < 0.6  # tanh is not saturated
    biases = [p.detach() for name, p in network.named_parameters() if "bias" in name]
    assert all(not bias.any() for bias in biases)


def test_spectral_norm_stands_for_norms_of_maps() -> None:
    network = PatchDiscriminator(base_channels=4, num_layers=2, norm="spectral")
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(layers) == 4
    assert not any(isinstance(module, InstanceNorm) for module in network.modules())
    for layer in layers:
        assert isinstance(layer, SpectralConv2d)
        assert layer.bias is not None
        # Fresh from 15 iterations; the norm is that of torch's own decomposition.
        matrix = layer.weight.detach().flatten(1)
        used = float((matrix.T @ layer.left).norm())
        assert_close(used, float(torch.linalg.matrix_norm(matrix, 2)), rtol=0.05, atol=0)
