"""`cyclegan train`: every setting is an option, help explains it, presets change defaults."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

import pytest

from cyclegan_core.cli import main as cli
from cyclegan_core.cli.train import Train, defaults
from cyclegan_core.config import DataConfig, ModelConfig, TrainConfig
from cyclegan_core.training.presets import PRESETS

from ..commands import Shell


@pytest.fixture
def run(capsys, caplog):
    with caplog.at_level(logging.INFO, "cyclegan_core"):  # and put back what the command sets
        yield Shell(capsys)


def parse(*argv: object) -> Train:
    """The command that `main` would run."""
    return cli.parse(["train", "A", "B", "--run", "R", *map(str, argv)])


def options(kind: type, prefix: str = "") -> dict[str, tuple[str, object]]:
    """Field -> its option, and a value that is not its default."""
    found = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        choices = [choice for choice in get_args(hints[field.name]) if choice is not NoneType]
        if field.name in ("model", "value_range", "background"):
            continue
        first = choices[0] if choices else hints[field.name]
        if field.name == "feature_taps":
            value = (1, 3)
        elif isinstance(first, str):  # a Literal, whose last choice is no default
            value = choices[-1]
        else:
            value = {int: 7, float: 0.25, str: "x", bool: not field.default}[first]
        found[field.name] = ("--" + prefix + field.name.replace("_", "-"), value)
    return found


def as_words(option: str, value: object) -> tuple[object, ...]:
    """A switch has no value: --compile, --no-compile; several have several."""
    if isinstance(value, bool):
        return (option if value else option.replace("--", "--no-"),)
    return (option, *value) if isinstance(value, tuple) else (option, value)


def test_every_setting_is_an_option():
    wanted = options(TrainConfig)
    wanted["gan_mode"] = ("--gan-mode", "vanilla")  # the last choice can't be compiled
    for name in (
        "objective",
        "lambda_features",
        "lambda_r1",
    ):  # either choice excludes settings of the other
        del wanted[name]
    pairs = parse("--objective", "pix2pix", "--lambda-features", 0.25)
    assert (pairs.config.objective, pairs.config.lambda_features) == ("pix2pix", 0.25)
    assert parse("--lambda-r1", 2.0).config.lambda_r1 == 2.0
    command = parse(*(word for pair in wanted.values() for word in as_words(*pair)))
    assert {name: getattr(command.config, name) for name in wanted} == {
        name: value for name, (_, value) in wanted.items()
    }
    for name, (_, value) in wanted.items():
        assert value != getattr(TrainConfig(), name)
        assert type(getattr(command.config, name)) is type(value)
    assert len(wanted) == len(dataclasses.fields(TrainConfig)) - 4  # and the networks


def test_every_setting_of_the_networks_is_an_option():
    wanted = options(ModelConfig, "model.")
    del wanted["generator"]  # a U-Net has no blurs
    assert parse("--model.generator", "unet").config.model.generator == "unet"
    words = [word for pair in wanted.values() for word in as_words(*pair)]
    model = parse(*words, "--model.value-range", 0, 1).config.model
    for name, (_, value) in wanted.items():
        assert getattr(model, name) == value != getattr(ModelConfig(), name)
    assert model.value_range == (0.0, 1.0)
    assert len(wanted) == len(dataclasses.fields(ModelConfig)) - 2


def test_settings_of_the_pictures_are_options():
    words = (
        *("--load-size", 300, "--preprocess", "none", "--no-flip", "--max-images", 5),
        *("--background", 1, 2, 3, "--crop-size", 64, "--side-by-side", "ba", "--channels-a", 1),
        *("--channels-b", 1, "--cache-bytes", 10, "--scales", 2),
    )
    data = parse(*words).data
    assert data == DataConfig(
        load_size=300,
        preprocess="none",
        flip=False,
        max_images=5,
        background=(1, 2, 3),
        crop_size=64,
        side_by_side="ba",
        channels_a=1,
        channels_b=1,
        cache_bytes=10,
        scales=2.0,
    )
    for field in dataclasses.fields(DataConfig):
        assert getattr(data, field.name) != field.default
    default = parse()
    assert (default.data, default.config) == (DataConfig(), TrainConfig())


def test_none_can_be_said():
    names = ("grad_clip", "lr_interval", "max_minutes", "lr_discriminator")
    words = [word for name in names for word in ("--" + name.replace("_", "-"), "none")]
    command = parse(*words, "--max-images", "none")
    assert {getattr(command.config, name) for name in names} == {command.data.max_images} == {None}


@pytest.mark.parametrize("width", ["80", "120"])
def test_help_names_and_explains_every_option(run, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    result = run("train", "--help-all")
    assert (result.code, result.err) == (0, "")
    text = " ".join(re.sub(r"[│╭╰─╮╯]", " ", result.out).split())
    for kind, prefix in ((TrainConfig, ""), (DataConfig, ""), (ModelConfig, "model.")):
        for option, _ in options(kind, prefix).values():
            assert re.search(f"{option}[ ,]", text)  # a switch: --compile, --no-compile
    for kind in (TrainConfig, ModelConfig, DataConfig):
        for name, first in first_sentences(kind).items():
            assert first in text, f"{name} is not explained"
    for name, preset in PRESETS.items():
        assert f"{name}: {preset.advice}" in text
    assert "None" not in text
    assert max(map(len, result.out.splitlines())) <= int(width)


def test_the_short_help_has_what_everybody_needs(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for word in ("--help", "-h"):
        code, out, err = run("train", word)
        assert (code, err) == (0, "")
        for option in ("--run", "--preset", "--start", "--max-steps", "--crop-size", "--precision"):
            assert re.search(rf"^\W+{option}\b", out, re.MULTILINE)
        for option in (
            "--beta1",
            "--disc-norm",
            "--compile",
            "--model.norm",
            "--test-a",
            "--evalu",
        ):
            assert option not in out
        assert out.endswith("cyclegan train --help-all\n")
        assert len(out.splitlines()) < 90
    whole = run("train", "--help-all").out
    for subject in ("losses", "discriminator", "learning", "speed", "pictures", "scores", "model"):
        assert f" {subject} options " in whole


def first_sentences(kind: type) -> dict[str, str]:
    """Field -> what its docstring says, up to the first full stop or line."""
    import inspect

    source = inspect.getsource(kind)
    found = re.findall(r'^    (\w+): .*\n(?:.*\n)*?    """(.+?)(?:\.|"""|$)', source, re.MULTILINE)
    sentences = {name: re.sub(r"\s+", " ", text) for name, text in found}
    assert {field.name for field in dataclasses.fields(kind)} <= set(sentences)
    return {name: text for name, text in sentences.items() if name != "model"}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_change_defaults_and_options_win(name):
    preset, command = PRESETS[name], parse("--preset", name)
    assert command.preset == name
    own = {name: getattr(preset, name) for name in ("max_steps", "sample_every")}
    settings = {name: value for name, value in own.items() if value} | preset.train
    assert command.config == TrainConfig(**settings, model=ModelConfig(**preset.model))
    assert command.data == DataConfig(**preset.data)
    assert parse(f"--preset={name}") == command
    winner = parse(
        *("--preset", name, "--lambda-identity", 0.125, "--lambda-a", 3, "--preprocess", "none"),
        *("--model.upsample", "transposed"),
    )
    assert (winner.config.lambda_identity, winner.config.lambda_a) == (0.125, 3)
    assert (winner.data.preprocess, winner.config.model.upsample) == ("none", "transposed")
    assert winner.config.lambda_b == command.config.lambda_b


def test_the_choice_of_presets_is_the_table():
    assert parse("--preset", "none") == parse()
    for name in PRESETS:
        assert parse("--preset", name).preset == name


_TRAINED = {"config": TrainConfig().to_dict(), "data": {"config": {}}, "command": {}}


def as_before(folder: Path, text: str) -> Train | None:
    """What `cyclegan train --run folder` takes from a run.json."""
    (folder / "run.json").write_text(text)
    return defaults(["train", "--run", str(folder)])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("tracker", value) for value in ("antigravity", "os", "", None, 5, ["wandb"])],
        *[("preset", value) for value in ("__init__", None, {})],
        *[(name, value) for name in ("dir_a", "test_b", "start") for value in (5, ["x"], {})],
        *[(name, value) for name in ("evaluate_every", "patience") for value in (True, 1.5, "x")],
        ("evaluation_settings", {"no such": 1}),
        ("evaluation_settings", 5),
    ],
)
def test_what_a_strangers_run_says_is_checked(tmp_path: Path, name: str, value: object) -> None:
    """The tracker's name, above all: it is imported."""
    run = _TRAINED | {"command": {name: value}}
    with pytest.raises(ValueError, match=r"run\.json can't be read \(.*\); delete it"):
        as_before(tmp_path, json.dumps(run))


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 100_000, '{"a":' * 100_000, "[]", "null", "1e400", "\0", ""),
        *(json.dumps(_TRAINED | {"command": value}) for value in (None, [], 5)),
        *(json.dumps(_TRAINED | {"data": value}) for value in (None, [1], {"config": 5})),
        json.dumps(_TRAINED | {"data": {"config": {"no such": 1}}}),
        json.dumps(_TRAINED | {"data": {"config": {"background": 5}}}),
    ],
    ids=range(15),
)
def test_what_is_no_run_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"run\.json can't be read \(.*\); delete it"):
        as_before(tmp_path, text)


def test_what_a_run_says_is_taken(tmp_path: Path) -> None:
    command = {"dir_a": "a", "tracker": "trackio", "preset": "quick", "patience": 3}
    before = as_before(tmp_path, json.dumps(_TRAINED | {"command": command}))
    assert before is not None
    assert (before.dir_a, before.tracker, before.preset) == (Path("a"), "trackio", "quick")
