"""Translation in strips: the whole pass's result, whatever the network, the size and the strips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from cyclegan_core import CycleGAN, ModelConfig, load_model
from cyclegan_core.hub.catalog import bundled_models
from cyclegan_core.pictures.rows import ImageRows, TensorRows, to_image
from cyclegan_core.streaming.plan import StreamPlan, stored_bytes, strip_rows
from cyclegan_core.streaming.stream import stream

from ..checkpoint.foreign import scramble

SMALL = ModelConfig(base_channels=4, num_blocks=2)

TRAINED = Path(__file__).with_name("trained.safetensors")
"""Instance norm and transposed convolutions after 1,500 steps: `cyclegan train` with 8 channels, 2
blocks, crops of 64 from 72 pixels, a PatchGAN of 2 layers and 16 channels, bf16, on 120 cut-outs
each of scikit-image's astronaut and coffee; half precision."""


def make(config: ModelConfig, seed: int = 0) -> CycleGAN:
    model = CycleGAN(config, directions=["a_to_b"])
    scramble(model, seed)
    return model


def photo(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def plan(config: ModelConfig, width: int, rows: int, dtype: torch.dtype) -> StreamPlan:
    """One that makes strips of so many rows."""
    least = next(n for n in range(1, 2**30, 2**9) if strip_rows(config, width, dtype, n) >= rows)
    return StreamPlan(strip_bytes=least)


def streamed(model: CycleGAN, images: Tensor, how: StreamPlan | None = None) -> Tensor:
    """(1,C,H,W) -> (1,C',H,W)."""
    result = images.new_full((1, model.config.channels_b, *images.shape[2:]), torch.nan)
    source, sink = TensorRows(images[0]), TensorRows(result[0])
    stream(model.generator("a_to_b"), model.config, source, sink, how or StreamPlan())
    return result


configs = st.builds(
    ModelConfig,
    base_channels=st.sampled_from([2, 3, 8]),
    num_blocks=st.integers(0, 3),
    norm=st.sampled_from(["instance", "instance", "batch", "none"]),
    norm_affine=st.booleans(),
    dropout=st.booleans(),
    padding=st.sampled_from(["reflect", "zero"]),
    down_padding=st.sampled_from(["reflect", "zero"]),
    downsample=st.sampled_from(["strided", "blur"]),
    upsample=st.sampled_from(["transposed", "resize", "bilinear"]),
    value_range=st.sampled_from([(-1.0, 1.0), (0.0, 1.0)]),
    channels_a=st.sampled_from([1, 3, 4]),
    channels_b=st.sampled_from([1, 3]),
)
sides = st.sampled_from([1, 2, 3, 5, 7, 8, 9, 12, 15, 31, 50])


@given(
    config=configs,
    size=st.one_of(st.tuples(sides, sides), st.sampled_from([(3, 400), (400, 3), (13, 260)])),
    rows=st.sampled_from([4, 8, 12, 128]),
    seed=st.integers(0, 100),
)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_exact_in_float64_for_every_network_size_and_strip(config, size, rows, seed) -> None:
    model, images = make(config, seed).double(), photo(1, config.channels_a, *size).double()
    how = plan(config, size[1], rows, torch.float64)
    # 1e-16 of rounding per layer, times 300 for every norm of a map that is almost constant.
    torch.testing.assert_close(
        streamed(model, images, how), model.translate(images, memory="whole"), rtol=0, atol=1e-10
    )


@given(config=configs, size=st.tuples(st.integers(16, 70), st.integers(16, 70)))
@settings(deadline=None, derandomize=True, max_examples=20)
def test_to_rounding_in_float32(config, size) -> None:
    model, images = make(config), photo(1, config.channels_a, *size)
    how = plan(config, size[1], 8, torch.float32)
    whole = model.translate(images, memory="whole")
    torch.testing.assert_close(streamed(model, images, how), whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize("path", [TRAINED, *bundled_models().values()], ids=lambda path: path.stem)
def test_trained_weights(path: Path) -> None:
    model = load_model(path)
    images = photo(1, 3, 150, 131)
    how = plan(model.config, 131, 16, torch.float32)
    (direction,) = model.directions[:1]
    result = torch.empty_like(images)
    network = model.generator(direction)
    stream(network, model.config, TensorRows(images[0]), TensorRows(result[0]), how)
    whole = model.translate(images, direction, memory="whole")
    assert whole.std() > 0.02
    torch.testing.assert_close(result, whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.04), (torch.float16, 0.005)])
def test_half_precision_is_as_close_as_the_whole_pass_is(norm, dtype, tolerance) -> None:
    model, images = make(replace(SMALL, norm=norm)), photo(1, 3, 45, 39)
    exact = model.translate(images, memory="whole")
    whole = (model.translate(images, memory="whole", dtype=dtype) - exact).abs()
    how = replace(plan(SMALL, 39, 8, dtype), dtype=dtype)
    ours = (streamed(model, images, how) - exact).abs()
    # Half precision rounds by 2^-9 (2^-12) per layer; other orders of sums round otherwise.
    assert 0 < ours.max() < tolerance
    assert ours.mean() < 1.2 * whole.mean()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_and_pictures_of_another_precision(dtype) -> None:
    model, images = make(SMALL), photo(1, 3, 20, 20)
    exact = model.translate(images, memory="whole")
    close = {"rtol": 0, "atol": 0.08}  # bfloat16's 2^-9, amplified by the layers
    torch.testing.assert_close(streamed(model, images.to(dtype)).float(), exact, **close)
    torch.testing.assert_close(streamed(model.to(dtype), images), exact, **close)
    half = StreamPlan(dtype=torch.bfloat16)
    torch.testing.assert_close(streamed(model, images, half), exact, **close)


def test_float32_is_no_half_precision_and_a_callers_autocast_changes_nothing() -> None:
    model, images = make(SMALL), photo(1, 3, 20, 20)
    expected = streamed(model, images)
    assert torch.equal(streamed(model, images, StreamPlan(dtype=torch.float32)), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(streamed(model, images), expected)


def test_dropout_is_off_and_the_mode_stays() -> None:
    model, images = make(replace(SMALL, dropout=True)), photo(1, 3, 20, 20)
    expected = streamed(model, images)
    model.train()
    assert torch.equal(streamed(model, images), expected)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_under_the_hosts_autograd_mode(mode) -> None:
    model, images = make(SMALL), photo(1, 3, 20, 20)
    expected = streamed(model, images)
    with mode():
        assert torch.equal(streamed(model, images), expected)


def test_bytes_in_bytes_out() -> None:
    model = make(SMALL)
    pixels = photo(3, 37, 21)
    source, sink = ImageRows(to_image(pixels)), ImageRows(Image.new("RGB", (21, 37)))
    plan_ = plan(SMALL, 21, 8, torch.float32)
    stream(model.generator("a_to_b"), SMALL, source, sink, plan_)
    whole = model.translate(source.read(0, 37)[None], memory="whole")[0]
    # Half a step by rounding, and what float32 adds to that.
    assert (sink.read(0, 37) - whole).abs().max() <= 0.5 / 255 + 2e-5


def test_grey_and_rgb_into_each_other() -> None:
    for config, given_ in ((SMALL, 1), (replace(SMALL, channels_a=1), 3)):
        model, images = make(config), photo(1, given_, 19, 22)
        result = torch.empty(1, 3, 19, 22)
        network, rows = model.generator("a_to_b"), TensorRows(result[0])
        stream(network, config, TensorRows(images[0]), rows, StreamPlan())
        whole = model.translate(images, memory="whole")
        torch.testing.assert_close(result, whole, rtol=0, atol=2e-5)


def test_bytes_of_the_stored_maps() -> None:
    config = ModelConfig()
    assert stored_bytes(config, 1024, 2048) == 128 * 1024 * 2048
    assert stored_bytes(config, 1022, 2047, torch.bfloat16) == 64 * 1024 * 2048
    assert stored_bytes(replace(config, norm="batch"), 1024, 1024) == 0


def test_strips_get_shorter_as_pictures_get_wider() -> None:
    config, budget = ModelConfig(), 2**29
    rows = [strip_rows(config, width, torch.float32, budget) for width in (512, 8192, 60000)]
    assert rows == [128, 64, 8]
    # Four maps of 64 channels and 4 bytes.
    assert all(4 * 64 * 4 * w * n <= budget for w, n in zip((512, 8192, 60000), rows, strict=True))
    assert strip_rows(config, 10**6, torch.float32, budget) == 4


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        (
            {"dtype": torch.float64},
            "dtype must be float32, bfloat16 or float16 .* got torch.float64",
        ),
        ({"strip_bytes": 0}, "strip_bytes must be a whole number of at least 1; got 0"),
        ({"store": "disk"}, "store must be device, host or a folder's Path; got 'disk'"),
    ],
)
def test_wrong_plans(settings_, message) -> None:
    with pytest.raises(ValueError, match=message):
        StreamPlan(**settings_)
