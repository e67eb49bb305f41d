"""Translation: any picture comes out at its size, alone or in a batch, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody uses
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cyclegan_core import CycleGAN, CycleGANError, MissingDirectionError, ModelConfig
from cyclegan_core.config import FilmSettings
from cyclegan_core.pixels import pad

from .checkpoint import foreign

RESNET = ModelConfig(base_channels=2, num_blocks=1)
UNET = ModelConfig(generator="unet", base_channels=1, num_downs=5)
NORMS = [("instance", False), ("instance", True), ("batch", False), ("none", False)]
CONFIGS = [replace(net, norm=n, norm_affine=a) for net in (RESNET, UNET) for n, a in NORMS]
CONFIGS += [replace(RESNET, padding="zero", upsample="resize", down_padding="reflect")]


def make(config: ModelConfig = RESNET, **settings) -> CycleGAN:
    """A model whose output varies: fresh weights of 0.02 would make every picture grey."""
    model = CycleGAN(config, **settings)
    foreign.scramble(model, 3)
    return model.eval()


def photo(batch: int, channels: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(5))


# --- size, range, dtype ------------------------------------------------------------------------


@given(st.sampled_from(CONFIGS), st.integers(1, 67), st.integers(1, 67), st.integers(0, 2))
@example(RESNET, 1, 1, 1)
@example(UNET, 1, 1, 1)
@example(RESNET, 3, 5, 1)
@example(UNET, 3, 5, 1)
@example(RESNET, 255, 257, 1)
@example(UNET, 255, 257, 1)
@settings(max_examples=40, deadline=None)
def test_any_size_comes_out_as_it_went_in(config, height: int, width: int, batch: int) -> None:
    result = make(config).translate(photo(batch, 3, height, width))
    assert result.shape == (batch, 3, height, width)
    assert not result.requires_grad
    assert ((result >= 0) & (result <= 1)).all()


def test_a_real_photo_size() -> None:
    result = make().translate(photo(1, 3, 683, 1024))
    assert result.shape == (1, 3, 683, 1024)
    assert result.std() > 0.01


def test_the_paper_network_takes_a_single_pixel() -> None:
    model = CycleGAN(replace(UNET, num_downs=8), directions=["a_to_b"])
    assert model.translate(photo(1, 3, 1, 1)).shape == (1, 3, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_the_result_has_the_dtype_of_the_pictures(dtype: torch.dtype) -> None:
    model, images = make(), photo(1, 3, 8, 9).to(dtype)
    result = model.translate(images)
    assert result.dtype == dtype
    assert torch.equal(result, model.translate(images.float()).to(dtype))


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([RESNET, UNET]))
@settings(max_examples=50, deadline=None)
def test_padding_mirrors_and_keeps_the_picture(height: int, width: int, config) -> None:
    multiple, least = {"resnet": (4, 8), "unet": (32, 32)}[config.generator]
    images = photo(1, 1, height, width)
    padded = pad(images, config.padded_size(height, width))
    new_height, new_width = padded.shape[-2:]
    assert new_height % multiple == new_width % multiple == 0
    assert height <= new_height < max(height + multiple, least + 1)
    assert width <= new_width < max(width + multiple, least + 1)
    assert torch.equal(padded[..., :height, :width], images)
    for row in range(height, new_height):
        mirrored = padded[..., max(2 * (height - 1) - row, 0), :]
        assert torch.equal(padded[..., row, :], mirrored)
    for column in range(width, new_width):
        assert torch.equal(padded[..., column], padded[..., max(2 * (width - 1) - column, 0)])


# --- each picture alone ------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_a_batch_is_each_picture_alone(config: ModelConfig) -> None:
    model, images = make(config), photo(3, 3, 17, 30)
    alone = torch.cat([model.translate(image[None]) for image in images])
    assert torch.equal(model.translate(images), alone)
    assert not torch.equal(alone[0], alone[1])


def test_twice_is_bit_equal_and_the_inputs_stay() -> None:
    for config in (RESNET, replace(RESNET, norm="none"), UNET, replace(UNET, norm="none")):
        model, images = make(config), photo(2, 3, 32, 32)
        before, weights = images.clone(), {k: v.clone() for k, v in model.state_dict().items()}
        assert torch.equal(model.translate(images), model.translate(images))
        assert torch.equal(images, before)
        assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_views_are_translated_like_their_copies() -> None:
    model = make()
    wide = photo(2, 24, 20, 3).movedim(-1, 1)[..., ::2]
    assert torch.equal(model.translate(wide), model.translate(wide.contiguous()))


def test_the_arithmetic_is_the_networks() -> None:
    """At a size that needs no padding the result is the network's, moved to [0,1]."""
    model, images = make(), photo(1, 3, 16, 24)
    expected = (model.gen_ba(images * 2 - 1) + 1) / 2
    torch.testing.assert_close(model.translate(images, "b_to_a"), expected, rtol=0, atol=1e-6)


def test_black_and_white_are_what_the_config_says() -> None:
    seen: list[Tensor] = []
    model = make(replace(RESNET, value_range=(-3.0, 5.0)))
    model.gen_ab.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    model.translate(torch.tensor([0.0, 1.0, 0.25, 0.5]).repeat(4, 2).expand(1, 3, 4, 8))
    assert seen[0][0, 0, 0, :4].tolist() == [-3.0, 5.0, -1.0, 1.0]


def test_grey_and_rgb_become_each_other() -> None:
    images = photo(1, 3, 12, 12)
    luma = 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]
    model = make(replace(RESNET, channels_a=1))
    assert model.translate(luma).shape == (1, 3, 12, 12)
    torch.testing.assert_close(model.translate(images), model.translate(luma), rtol=0, atol=1e-5)
    assert model.translate(images, "b_to_a").shape == (1, 1, 12, 12)
    grey = luma.expand(-1, 3, -1, -1)
    assert torch.equal(model.translate(luma, "b_to_a"), model.translate(grey, "b_to_a"))


# --- modes -------------------------------------------------------------------------------------


def test_dropout_is_off_and_every_mode_stays_as_it_was() -> None:
    model = make(replace(RESNET, dropout=True, norm="batch"))
    images = photo(1, 3, 16, 16)
    expected = model.translate(images)
    model.train()
    frozen = next(m for m in model.gen_ab.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    modes = {name: module.training for name, module in model.named_modules()}
    assert torch.equal(model.translate(images), expected)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert not frozen.training
    model.eval()
    frozen.train()
    assert torch.equal(model.translate(images), expected)
    assert frozen.training
    assert not model.gen_ab.training


def test_inference_mode_and_gradients_make_no_difference() -> None:
    model, images = make(), photo(2, 3, 9, 8)
    expected = model.translate(images)
    wanting = images.clone().requires_grad_()
    there_and_back = model.reconstruct(wanting)
    for result in (model.translate(wanting), there_and_back.fake):
        assert torch.equal(result, expected)
    assert not any(t.requires_grad for t in (there_and_back.rec, there_and_back.error))
    with torch.inference_mode():
        assert torch.equal(model.translate(images), expected)
        born_there = images.clone()
    assert torch.equal(model.translate(born_there), expected)
    assert torch.is_grad_enabled()


# --- progress and cancelling -------------------------------------------------------------------


def test_progress_counts_pictures() -> None:
    calls: list[tuple[int, int]] = []
    model = make()
    model.translate(photo(3, 3, 8, 8), on_progress=lambda *call: calls.append(call))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    calls.clear()
    model.reconstruct(photo(2, 3, 8, 8), on_progress=lambda *call: calls.append(call))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    calls.clear()
    empty = model.translate(photo(0, 3, 8, 8), on_progress=lambda *call: calls.append(call))
    assert (empty.shape, calls) == ((0, 3, 8, 8), [])


def test_a_callback_cancels_by_raising() -> None:
    class Cancelled(BaseException):
        pass

    done: list[int] = []

    def stop_at_two(now: int, _: int) -> None:
        done.append(now)
        if now == 2:
            raise Cancelled

    model = make().train()
    with pytest.raises(Cancelled):
        model.translate(photo(5, 3, 8, 8), on_progress=stop_at_two)
    assert done == [1, 2]
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


# --- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
@pytest.mark.parametrize("config", [RESNET, UNET, replace(RESNET, channels_b=1)])
def test_reconstruct_is_two_translations(config: ModelConfig, direction) -> None:
    model, images = make(config), photo(2, config.channels(direction)[0], 11, 13)
    result = model.reconstruct(images, direction)
    back = "b_to_a" if direction == "a_to_b" else "a_to_b"
    assert torch.equal(result.fake, model.translate(images, direction))
    assert torch.equal(result.rec, model.translate(result.fake, back))
    assert torch.equal(result.error, (result.rec - images).abs())
    assert result.error.mean() > 0.01


def test_the_error_of_an_rgb_picture_in_a_grey_domain() -> None:
    model, images = make(replace(RESNET, channels_a=1)), photo(1, 3, 8, 8)
    result = model.reconstruct(images)
    assert result.fake.shape == (1, 3, 8, 8)
    assert result.rec.shape == result.error.shape == (1, 1, 8, 8)
    grey = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    assert torch.equal(result.error, (result.rec - grey).abs())


# --- wrong arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize("call", [CycleGAN.translate, CycleGAN.reconstruct])
@pytest.mark.parametrize(
    ("images", "settings", "expected"),
    [
        (photo(1, 3, 8, 8)[0], {}, r"float tensor \(B,C,H,W\) in \[0,1\]; got \(3, 8, 8\) of"),
        (torch.tensor(0.5), {}, r"got \(\) of torch.float32"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), {}, "of torch.uint8"),
        (np.zeros((1, 3, 8, 8)), {}, r"float tensor \(B,C,H,W\) in \[0,1\]; got ndarray"),
        (photo(1, 3, 8, 8) * 2 - 1, {}, r"in \[0,1\], and .* from -.* give images / 2 \+ 0.5\.$"),
        (photo(1, 3, 8, 8) * 255, {}, r"in \[0,1\], and these go .* give images / 255\.$"),
        (photo(1, 3, 8, 8) * 9 - 4, {}, r"in \[0,1\], and these go from -[34].* to 4\.\d+\.$"),
        (torch.zeros(1, 3, 0, 8), {}, "at least one pixel"),
        (photo(1, 4, 8, 8), {}, "takes 3-channel pictures; got 4 channels"),
        (photo(1, 2, 8, 8), {}, "takes 3-channel pictures; got 2 channels"),
        (photo(1, 3, 8, 8), {"direction": "sideways"}, "direction must be one of .* 'sideways'"),
        (photo(1, 3, 8, 8), {"memory": "tiles"}, "memory must be one of .* got 'tiles'"),
        (photo(1, 3, 8, 8), {"dtype": torch.int8}, "dtype must be float32, bfloat16 or float16"),
        (photo(1, 3, 8, 8), {"dtype": torch.float64}, "got torch.float64"),
        (photo(1, 3, 8, 8), {"dtype": "bf16"}, "such as torch.bfloat16; got 'bf16'"),
    ],
)
def test_wrong_arguments(call, images: Tensor, settings, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        call(make(), images, **settings)
    assert "\n" not in str(caught.value)


def test_a_little_outside_is_taken_as_it_is() -> None:
    """A checkerboard made larger by torch's bicubic goes as far outside as any picture can."""
    board = torch.arange(8).remainder(2).float()
    board = (board[:, None] - board).abs().expand(1, 3, 8, 8)
    large = F.interpolate(board, size=(32, 32), mode="bicubic")
    assert large.min() < -0.2
    assert large.max() > 1.2
    assert make().translate(large).shape == large.shape


def test_the_frames_of_a_film_are_in_range() -> None:
    for statistics in ("frame", "shared"):
        film = make().film(settings=FilmSettings(statistics=statistics))
        for call in (film.measure, film.translate):
            with pytest.raises(ValueError, match=r"give images / 255\."):
                call(photo(1, 3, 8, 8) * 255)


@pytest.mark.parametrize("directions", [(), ("a_to_c",), "a_to_b"])
def test_a_model_needs_a_direction(directions) -> None:
    with pytest.raises(ValueError, match="directions must name one or both"):
        CycleGAN(RESNET, directions=directions)


def test_a_direction_that_the_model_lacks() -> None:
    config = replace(RESNET, domain_a="horse", domain_b="zebra")
    one_way = make(config, directions=["b_to_a"])
    assert one_way.directions == ("b_to_a",)
    assert one_way.translate(photo(1, 3, 8, 8), "b_to_a").shape == (1, 3, 8, 8)
    sentence = r"only translates B→A \(zebra → horse\), not A→B; choose the other direction"
    with pytest.raises(MissingDirectionError, match=sentence):
        one_way.translate(photo(1, 3, 8, 8))
    calls: list[tuple[int, int]] = []
    sentence = "needs both directions, .* only translates B→A; load a second file for A→B"
    for direction in ("a_to_b", "b_to_a"):
        with pytest.raises(MissingDirectionError, match=sentence) as caught:
            one_way.reconstruct(
                photo(1, 3, 8, 8), direction, on_progress=lambda *call: calls.append(call)
            )
        assert isinstance(caught.value, CycleGANError)
    assert not calls  # nothing was translated before it was noticed


def test_a_call_says_what_to_call_instead() -> None:
    with pytest.raises(NotImplementedError, match=r"use translate\(images in \[0,1\]"):
        CycleGAN(ModelConfig(num_blocks=1, base_channels=2))(torch.zeros(1, 3, 8, 8))


def test_a_model_prints_as_a_summary() -> None:
    """Its networks print whole, as torch's do."""
    model = CycleGAN(ModelConfig(base_channels=2, num_blocks=1, domain_a="horse"))
    count = sum(x.numel() for x in model.gen_ab.parameters())
    assert repr(model) == (
        "CycleGAN(\n"
        "  resnet, 1 blocks, 2 channels, instance norm\n"
        f"  (gen_ab): horse → B, {count:,} parameters\n"
        f"  (gen_ba): B → horse, {count:,} parameters\n"
        ")"
    )
    unet = ModelConfig(generator="unet", num_downs=5, base_channels=2, norm="none")
    one_way = repr(CycleGAN(unet, directions=["b_to_a"]))
    assert "unet, 5 downs, 2 channels, no norm\n  (gen_ba): B → A, " in one_way
    assert "gen_ab" not in one_way
    assert "(1): Conv2d(" in repr(model.gen_ab)
