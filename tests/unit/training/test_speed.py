"""The switches that make a step faster or smaller: each is bounded by what it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from cyclegan_core.config import ModelConfig, TrainConfig
from cyclegan_core.device.graphs import compiled
from cyclegan_core.errors import CycleGANError
from cyclegan_core.networks import PatchDiscriminator, ResnetBlock
from cyclegan_core.training import losses as losses_module
from cyclegan_core.training.losses import by_name, gains_by_sharing
from cyclegan_core.training.trainer import Trainer

from ..tiny import (
    FEATURES,
    MODEL,
    ByHand,
    assert_same,
    everything,
    make_batch,
    make_config,
    networks,
    weights,
)

WIDE = replace(MODEL, base_channels=4)
OFF = {"batch_passes": "off", "fused_adam": False}


def make_trainer(**settings) -> Trainer:
    return Trainer(make_config(**{"model": WIDE, "pool_size": 2} | settings), ByHand())


def steps(
    trainer: Trainer, *, count: int = 4, size: int = 1, dtype=torch.float32
) -> Iterator[torch.Tensor]:
    """The losses of `count` steps, with networks and pictures of `dtype`."""
    for network in (*networks(trainer).values(), trainer.state.ema):
        network.to(dtype)
    for number in range(count):
        a, b = make_batch(number, size=size)
        losses = trainer.train_step(a.to(dtype), b.to(dtype))
        yield torch.stack([*by_name(losses).values()])


def assert_equal_training(one: Trainer, other: Trainer, *, size: int = 1) -> None:
    """Four steps in double precision, where Adam's epsilon is far above rounding.

    1e-12 is what summing in another order does to a term of some tens; weights may differ by 1e-7,
    because Adam divides gradients that should be 0 by its epsilon of 1e-8.
    """
    kwargs = {"size": size, "dtype": torch.float64}
    for ours, theirs in zip(steps(one, **kwargs), steps(other, **kwargs), strict=True):
        assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    for name, tensor in networks(one).items():
        for key, weight in tensor.state_dict().items():
            assert_close(weight, networks(other)[name].state_dict()[key], rtol=0, atol=1e-7)
    assert one.state.pool_rng.getstate() == other.state.pool_rng.getstate()
    for ours, theirs in zip(one.state.pool_a.images, other.state.pool_a.images, strict=True):
        assert_close(ours, theirs, rtol=0, atol=1e-6)


# --- passes together ---------------------------------------------------------------------------

TOGETHER = {
    "paper": {},
    "no identity": {"lambda_identity": 0.0},
    "only identity a": {"lambda_b": 0.0},
    "affine": {"model": replace(WIDE, norm_affine=True)},
    "no norm": {"model": replace(WIDE, norm="none")},
    "penalty": {"gan_mode": "wgangp"},
    "pixels": {"discriminator": "pixel"},
    "batch of 3": {"batch_size": 3},
    "features": FEATURES,
    "features and patches": {**FEATURES, "discriminator": "patch_features", "batch_size": 2},
    "noise": {"input_noise": 0.2},
    "identity now and then": {"identity_every": 2},
    "warm-up": {"warmup_steps": 2, "gan_mode": "hinge", "disc_norm": "spectral"},
}


@pytest.mark.parametrize("name", TOGETHER)
def test_passes_together_are_the_same_step(name):
    settings = TOGETHER[name]
    one, other = (make_trainer(**settings, batch_passes=on) for on in ("on", "off"))
    assert_equal_training(one, other, size=one.config.batch_size)


def test_passes_together_in_float32():
    """The first step's terms, before Adam has amplified anything."""
    one, other = (make_trainer(batch_passes=on) for on in ("on", "off"))
    (ours,), (theirs,) = steps(one, count=1), steps(other, count=1)
    assert_close(ours, theirs, rtol=1e-6, atol=0)


def passes(trainer: Trainer, *batch: torch.Tensor) -> dict[str, list[int]]:
    """How many pictures each network was given at each call of a step."""
    seen: dict[str, list[int]] = {}
    for name, network in networks(trainer).items():
        calls = seen[name] = []
        network.register_forward_pre_hook(lambda _, args, calls=calls: calls.append(len(args[0])))
    trainer.train_step(*batch)
    return seen


def test_two_generator_passes_and_two_of_a_discriminator_instead_of_three():
    assert passes(make_trainer(), *make_batch(1)) == {
        "gen_ab": [2, 1],
        "gen_ba": [2, 1],
        "disc_a": [1, 2],
        "disc_b": [1, 2],
    }
    alone = passes(make_trainer(batch_passes="off"), *make_batch(1))
    assert set(map(tuple, alone.values())) == {(1, 1, 1)}


@pytest.mark.parametrize(
    ("settings", "side", "count"),
    [
        ({}, 252, 2),
        ({}, 256, 1),
        ({}, 364, 2),  # where each alone is too large already
        ({"precision": "bf16"}, 356, 2),
        ({"precision": "bf16"}, 364, 1),
        ({"batch_passes": "on"}, 256, 2),
    ],
)
def test_large_maps_pass_alone_on_a_cpu(settings, side, count):
    """Of the paper's 64 channels: twice 256 x 256 in float32 are 32 MB."""
    config = TrainConfig(**settings)
    pictures = torch.empty(1, 3, side, side)
    assert gains_by_sharing(config, pictures) == (count == 2)
    assert gains_by_sharing(config, pictures.to("meta"))


def test_passes_alone_by_themselves(monkeypatch):
    """The generators', of which a shared pass is above the bound; the discriminators' stay."""
    monkeypatch.setattr(losses_module, "_KEPT_BYTES", 4 * 2 * 4 * 16 * 16)
    trainer = make_trainer()
    seen = passes(trainer, *make_batch(1))
    assert (seen["gen_ab"], seen["disc_a"]) == ([1, 1, 1], [1, 2])


def test_batch_norm_and_pictures_of_two_sizes_pass_alone():
    """Batch norm would mix the domains; pictures of two sizes are no batch."""
    trainer = make_trainer(model=replace(WIDE, norm="batch"))
    assert passes(trainer, *make_batch(1))["gen_ab"] == [1, 1, 1]
    a, b = make_batch(1)[0], make_batch(1, side=24)[1]
    assert passes(make_trainer(), a, b)["gen_ba"] == [1, 1, 1]


# --- memory layout, one pass over the weights --------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{"channels_last": "on"}, {"fused_adam": True}, {"channels_last": "on", "gan_mode": "wgangp"}],
)
def test_layout_and_fused_adam_are_the_same_step(settings):
    plain = OFF | {"channels_last": "off", "gan_mode": settings.get("gan_mode", "lsgan")}
    assert_equal_training(make_trainer(**plain | settings), make_trainer(**plain))


@pytest.mark.parametrize(
    ("choice", "precision", "is_last"),
    [
        ("auto", "fp32", False),
        ("auto", "bf16", True),
        ("auto", "fp16", True),
        ("off", "bf16", False),
    ],
)
def test_layout_follows_the_precision(choice, precision, is_last):
    trainer = make_trainer(channels_last=choice, precision=precision)
    trainer.train_step(*make_batch(1))
    for network in (*networks(trainer).values(), trainer.state.ema):
        for weight in network.parameters():
            if weight.ndim == 4 and min(weight.shape[:2]) > 1:
                assert weight.is_contiguous(memory_format=torch.channels_last) == is_last


def test_a_step_by_winograd_is_nearly_the_same():
    """Losses differ by rounding, and after a step by Adam's answer to it.

    Its first move is as large for the smallest gradients, whose sign is rounding.
    """
    model = replace(MODEL, base_channels=32, num_blocks=2)
    runs = [
        make_trainer(model=model, winograd=on, channels_last=layout)
        for on, layout in ((True, "auto"), (False, "on"))
    ]
    for number, rtol in enumerate((1e-5, 1e-3)):
        batch = make_batch(number, side=96)
        ours, plain = (
            torch.stack([*by_name(trainer.train_step(*batch)).values()]) for trainer in runs
        )
        assert_close(ours, plain, rtol=rtol, atol=1e-5)
    assert not torch.equal(*(torch.cat(trainer.history) for trainer in runs))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_half_precision_in_either_layout_is_near_float32(precision, norm):
    """8 and 11 bits of mantissa, some ten layers deep."""
    model = replace(WIDE, norm=norm)
    (full,) = steps(make_trainer(model=model), count=1)
    for layout in ("on", "off"):
        trainer = make_trainer(model=model, precision=precision, channels_last=layout)
        (half,) = steps(trainer, count=1)
        assert_close(half, full, rtol=0.05, atol=0.01)
        assert not torch.equal(half, full)


# --- less memory -------------------------------------------------------------------------------


@pytest.mark.parametrize("gan_mode", ["lsgan", "wgangp"])
@pytest.mark.parametrize("batch_passes", ["on", "off"])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_are_the_same_step(gan_mode, batch_passes, parts):
    settings = {"batch_size": 4, "gan_mode": gan_mode, "batch_passes": batch_passes}
    one, other = (make_trainer(**settings, accumulate=n) for n in (parts, 1))
    assert_equal_training(one, other, size=4)


@pytest.mark.parametrize("batch_passes", ["on", "off"])
@pytest.mark.parametrize("discriminator", ["features", "patch_features"])
def test_parts_of_a_batch_judged_by_features_are_the_same_step(discriminator, batch_passes):
    """The random numbers of the augmentation and of spectral norm do not depend on the parts."""
    settings = {**FEATURES, "discriminator": discriminator, "batch_size": 4, "warmup_steps": 1}
    settings["batch_passes"] = batch_passes
    one, other = (make_trainer(**settings, accumulate=n) for n in (2, 1))
    assert_equal_training(one, other, size=4)


def test_a_part_is_what_the_networks_are_given():
    trainer = make_trainer(batch_size=4, accumulate=2, batch_passes="off")
    assert set(map(tuple, passes(trainer, *make_batch(1, size=4)).values())) == {(2,) * 6}


@pytest.mark.parametrize(
    "settings", [{}, {"precision": "bf16"}, {"model": replace(WIDE, dropout=True)}]
)
def test_recomputing_changes_no_bit(settings):
    one, other = (make_trainer(**settings, recompute=on) for on in (True, False))
    runs = [list(steps(trainer)) for trainer in (one, other)]
    assert all(map(torch.equal, *runs))
    assert_same(everything(one), everything(other))


def test_recomputing_keeps_less():
    """Bytes that the backward pass keeps; a block keeps its input instead of its inside."""
    kept = []
    for recompute in (False, True):
        block = ResnetBlock(8, ModelConfig())
        block.recompute = recompute
        sizes: dict[int, int] = {}

        def pack(tensor, sizes=sizes):
            sizes[tensor.data_ptr()] = tensor.numel()
            return tensor

        x = torch.rand(1, 8, 32, 32, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            block(x)
        kept.append(sum(sizes.values()))
    assert kept[1] < kept[0] / 4


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"accumulate": 2}, "accumulate must divide batch_size into equal parts; got 2 and 1."),
        ({"accumulate": 0}, "accumulate must be a whole number of at least 1; got 0."),
        ({"recompute": True, "model": replace(MODEL, norm="batch")}, "recompute must be off"),
        (
            {"recompute": True, "model": ModelConfig(generator="unet", num_downs=5)},
            "recompute must be off unless .*; got unet with norm instance.",
        ),
        ({"compile": True, "gan_mode": "wgangp"}, "compile must be off with gan_mode wgangp"),
        ({"compile": True, "lambda_r1": 1.0}, "compile must be off with .* lambda_r1, whose"),
        ({"lambda_r1": -1.0}, "lambda_r1 must be"),
        ({"r1_every": 0}, "r1_every must be a whole number of at least 1; got 0."),
        ({"batch_passes": True}, "batch_passes must be one of auto, on, off; got True."),
        ({"winograd": 1}, "winograd must be true or false; got 1."),
        ({"channels_last": True}, "channels_last must be one of auto, on, off; got True."),
    ],
)
def test_settings_that_do_not_go_together(settings, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}"):
        TrainConfig(**settings)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # which the tracer looks at
def test_a_compiled_step_is_the_same_step():
    """With the backend that needs no C++ compiler: torch's own operations, traced and sorted."""
    one, other = make_trainer(), make_trainer()
    for network in networks(one).values():
        network.compile(backend="aot_eager")
    (ours,), (theirs,) = steps(one, count=1), steps(other, count=1)
    assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_what_can_not_be_compiled_is_said_in_a_sentence():
    """As on a machine without a C++ compiler, which torch looks for at the first step."""

    def backend(*_):
        raise OSError("No compiler.\nSearched everywhere.")

    network = torch.compile(torch.nn.Linear(1, 1), backend=backend)
    sentence = r"^The networks can't be compiled here \(.*No compiler\); do without compile, or "
    with pytest.raises(CycleGANError, match=sentence), compiled(wanted=True):
        network(torch.zeros(1))


# --- the cost of what is left to torch ---------------------------------------------------------


def test_a_discriminators_halves_are_judged_apart():
    """What batching rests on: a picture's verdict does not depend on its neighbour."""
    torch.manual_seed(0)
    disc = PatchDiscriminator(3, base_channels=4, num_layers=1).double()
    a, b = torch.rand(2, 1, 3, 16, 16, dtype=torch.float64)
    assert_close(disc(torch.cat([a, b])), torch.cat([disc(a), disc(b)]), rtol=0, atol=1e-13)


def test_parts_leave_everything_else_as_it_was():
    """Adam's moments too: the sum of the parts' gradients is the batch's."""
    one, other = (make_trainer(batch_size=2, accumulate=n) for n in (1, 2))
    for trainer in (one, other):
        trainer.train_step(*make_batch(1, size=2))
    for (name, ours), theirs in zip(weights(one).items(), weights(other).values(), strict=True):
        if "exp_avg" in name:
            assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=name)
