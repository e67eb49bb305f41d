"""ModelConfig: checks itself, travels as JSON."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pydoc
import re
from typing import get_args, get_type_hints

import pytest

from cyclegan_core import config
from cyclegan_core._docs import field_docs
from cyclegan_core.config import DIRECTIONS, ModelConfig, TrainConfig

SETTINGS = [
    kind
    for kind in vars(config).values()
    if dataclasses.is_dataclass(kind) and kind.__module__ == config.__name__
]

ODD = [
    ModelConfig(),
    ModelConfig(generator="unet", num_downs=5, norm="batch", dropout=True),
    ModelConfig(num_blocks=0, base_channels=1, channels_a=1, channels_b=4, image_size=1),
    ModelConfig(norm="none", padding="zero", down_padding="reflect", upsample="resize"),
    ModelConfig(downsample="blur", upsample="bilinear"),
    ModelConfig(norm_affine=True, value_range=(0.0, 1.0), domain_a="Foto", domain_b="浮世絵"),
]


def test_defaults_are_the_papers_generator() -> None:
    config = ModelConfig()
    assert (config.generator, config.num_blocks, config.base_channels) == ("resnet", 9, 64)
    assert (config.norm, config.norm_affine, config.dropout) == ("instance", False, False)
    assert (config.padding, config.down_padding, config.upsample) == (
        "reflect",
        "zero",
        "transposed",
    )
    assert (config.value_range, config.image_size) == ((-1.0, 1.0), 256)


@pytest.mark.parametrize("config", ODD)
def test_round_trip_through_json(config: ModelConfig) -> None:
    values = json.loads(json.dumps(config.to_dict()))
    kept = dict(values)
    assert ModelConfig.from_dict(values) == config
    assert values == kept  # the caller's mapping is left alone
    assert hash(ModelConfig.from_dict(values)) == hash(config)
    assert set(values) == {field.name for field in dataclasses.fields(ModelConfig)}


def test_missing_settings_get_their_defaults() -> None:
    assert ModelConfig.from_dict({}) == ModelConfig()
    assert ModelConfig.from_dict({"num_blocks": 6}) == ModelConfig(num_blocks=6)
    whole = ModelConfig.from_dict({"value_range": [0, 1]})
    assert [type(limit) for limit in whole.value_range] == [float, float]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"generator": "vit"}, "generator must be one of resnet, unet; got 'vit'."),
        ({"norm": None}, "norm must be one of instance, batch, none; got None."),
        ({"padding": "Reflect"}, "padding must be one of reflect, zero; got 'Reflect'."),
        ({"down_padding": ""}, "down_padding must be one of zero, reflect; got ''."),
        (
            {"generator": "unet", "downsample": "blur"},
            "downsample must be strided for a unet; got blur.",
        ),
        (
            {"upsample": ["resize"]},
            "upsample must be one of transposed, resize, bilinear; got ['resize'].",
        ),
        ({"base_channels": 0}, "base_channels must be a whole number of at least 1; got 0."),
        ({"channels_a": -3}, "channels_a must be a whole number of at least 1; got -3."),
        ({"channels_b": 3.0}, "channels_b must be a whole number of at least 1; got 3.0."),
        ({"image_size": True}, "image_size must be a whole number of at least 1; got True."),
        ({"num_blocks": -1}, "num_blocks must be a whole number of at least 0; got -1."),
        ({"num_blocks": "9"}, "num_blocks must be a whole number of at least 0; got '9'."),
        ({"num_downs": 4}, "num_downs must be a whole number of at least 5; got 4."),
        (
            {"value_range": (1.0, 1.0)},
            "value_range must be (low, high) with low < high; got (1.0, 1.0).",
        ),
        (  # more than a float can hold
            {"value_range": (0, 10**309)},
            f"value_range must be (low, high) with low < high; got (0, {10**309}).",
        ),
        (
            {"value_range": (0.0, float("nan"))},
            "value_range must be (low, high) with low < high; got (0.0, nan).",
        ),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], text: str) -> None:
    for make in (lambda: ModelConfig(**settings), lambda: ModelConfig.from_dict(settings)):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
            make()


def test_unknown_settings_are_named_in_order() -> None:
    text = "unknown setting 'attention', 'zoom'; it may come from a newer version."
    with pytest.raises(ValueError, match=f"^{text}$"):
        ModelConfig.from_dict({"zoom": 1, "attention": True, "norm": "instance"})


def test_settings_are_frozen_and_named() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().num_blocks = 6  # type: ignore[misc]
    with pytest.raises(TypeError, match="positional"):
        ModelConfig("resnet")  # type: ignore[misc]
    assert dataclasses.replace(ModelConfig(), num_blocks=6).num_blocks == 6
    with pytest.raises(ValueError, match="num_blocks"):
        dataclasses.replace(ModelConfig(), num_blocks=-6)


def test_direction_turns_channels_and_names() -> None:
    config = ModelConfig(channels_a=1, channels_b=3, domain_a="sketch", domain_b="photo")
    assert DIRECTIONS == ("a_to_b", "b_to_a")
    assert [config.channels(direction) for direction in DIRECTIONS] == [(1, 3), (3, 1)]
    assert [config.domains(direction) for direction in DIRECTIONS] == [
        ("sketch", "photo"),
        ("photo", "sketch"),
    ]


@pytest.mark.parametrize(
    ("settings", "size_multiple", "min_size"),
    [
        ({}, 4, 8),
        ({"num_downs": 5}, 4, 8),  # not the resnet's business
        ({"generator": "unet", "num_downs": 5}, 32, 32),
        ({"generator": "unet"}, 256, 256),
    ],
)
def test_sizes(settings: dict[str, object], size_multiple: int, min_size: int) -> None:
    config = ModelConfig(**settings)
    assert (config.size_multiple, config.min_size) == (size_multiple, min_size)


# --- what help() says ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SETTINGS)
def test_help_explains_every_setting(kind: type) -> None:
    said = " ".join(pydoc.plain(pydoc.render_doc(kind)).replace("|", " ").split())
    for field in dataclasses.fields(kind):
        text = field_docs(kind)[field.name]
        assert f" {field.name} (" in said
        assert f"): {text} Default: " in said
    assert inspect.getdoc(kind).count("Attributes:") == 1


def test_help_has_choices_ranges_and_defaults() -> None:
    lines = " ".join(inspect.getdoc(TrainConfig).split())
    assert "gan_mode (lsgan, vanilla, wgangp, hinge): Adversarial loss" in lines
    assert "augment_shift (float, 0 to 0.5): How far" in lines
    assert "lambda_a (float, 0 or more): Weight of the cycle A → B → A. Default: 10.0." in lines
    assert "lr (float, above 0): " in lines
    assert "max_steps (int, 1 or more): " in lines


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_number_has_a_range_that_is_checked(kind: type) -> None:
    hints = get_type_hints(kind)
    numbers = [name for name, hint in hints.items() if {int, float} & {hint, *get_args(hint)}]
    numbers = [name for name in numbers if "tuple" not in str(hints[name])]
    elsewhere = {"channels_a", "channels_b"} if kind.__name__ == "DataConfig" else set()
    assert set(kind.ranges) == set(numbers) - elsewhere
    for name, (low, _) in kind.ranges.items():
        with pytest.raises(ValueError, match=rf"^{name} must be a "):
            kind(**{name: low - 1})
