"""`cyclegan train`: options, presets, lines of JSON, faults, and going on after Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

import pytest
import torch

from cyclegan_core import CycleGAN, load_model, save_model
from cyclegan_core.cli_train import Train
from cyclegan_core.config import ModelConfig, TrainConfig
from cyclegan_core.presets import PRESETS
from cyclegan_core.trainer import Trainer
from cyclegan_core.transforms import DataConfig

from .commands import Shell
from .runs import files
from .training import MODEL, assert_same, draw_folders, everything, make_config, open_folders

TINY = (
    *("--model.base-channels", 2, "--model.num-blocks", 1, "--disc-channels", 2),
    *("--disc-layers", 1, "--load-size", 18, "--crop-size", 16, "--device", "cpu"),
)


@pytest.fixture
def run(capsys, caplog):
    with caplog.at_level(logging.INFO, "cyclegan_core"):  # and put back what the command sets
        yield Shell(capsys)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "data"
    draw_folders(path)
    return path


def parse(*argv: object) -> Train:
    """The command that `main` would run."""
    import tyro

    from cyclegan_core import cli

    words = ["train", "A", "B", "--run", "R", *map(str, argv)]
    return tyro.cli(
        cli._commands(words),
        args=words,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes),
        registry=cli._registry(),
    )


# --- options -----------------------------------------------------------------------------------


def options(kind: type, prefix: str = "") -> dict[str, tuple[str, object]]:
    """Field -> its option, and a value that is not its default."""
    found = {}
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        choices = [choice for choice in get_args(hints[field.name]) if choice is not NoneType]
        if field.name in ("model", "value_range", "background"):
            continue
        first = choices[0] if choices else hints[field.name]
        if isinstance(first, str):  # a Literal, whose last choice is no default
            value = choices[-1]
        else:
            value = {int: 7, float: 0.25, str: "x", bool: not field.default}[first]
        found[field.name] = ("--" + prefix + field.name.replace("_", "-"), value)
    return found


def test_every_setting_is_an_option():
    wanted = options(TrainConfig)
    command = parse(*(word for pair in wanted.values() for word in pair))
    assert {name: getattr(command.config, name) for name in wanted} == {
        name: value for name, (_, value) in wanted.items()
    }
    for name, (_, value) in wanted.items():
        assert value != getattr(TrainConfig(), name)
        assert type(getattr(command.config, name)) is type(value)
    assert len(wanted) == len(dataclasses.fields(TrainConfig)) - 1  # all but the networks


def test_every_setting_of_the_networks_is_an_option():
    wanted = options(ModelConfig, "model.")
    words = [(option,) if value is True else (option, value) for option, value in wanted.values()]
    flat = [word for pair in words for word in pair]
    model = parse(*flat, "--model.value-range", 0, 1).config.model
    for name, (_, value) in wanted.items():
        assert getattr(model, name) == value != getattr(ModelConfig(), name)
    assert model.value_range == (0.0, 1.0)
    assert len(wanted) == len(dataclasses.fields(ModelConfig)) - 1


def test_settings_of_the_pictures_are_options():
    words = (
        *("--load-size", 300, "--preprocess", "none", "--flip", "False", "--max-images", 5),
        *("--background", 1, 2, 3, "--crop-size", 64, "--pairing", "paired", "--channels-a", 1),
        *("--channels-b", 1, "--cache-bytes", 10),
    )
    data = parse(*words).data
    assert data == DataConfig(
        load_size=300,
        preprocess="none",
        flip=False,
        max_images=5,
        background=(1, 2, 3),
        crop_size=64,
        pairing="paired",
        channels_a=1,
        channels_b=1,
        cache_bytes=10,
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
    result = run("train", "--help")
    assert (result.code, result.err) == (0, "")
    text = " ".join(re.sub(r"[│╭╰─╮╯]", " ", result.out).split())
    for kind, prefix in ((TrainConfig, ""), (DataConfig, ""), (ModelConfig, "model.")):
        for option, _ in options(kind, prefix).values():
            assert f"{option} " in text
    for kind in (TrainConfig, ModelConfig, DataConfig):
        for name, first in first_sentences(kind).items():
            assert first in text, f"{name} is not explained"
    for name, preset in PRESETS.items():
        assert f"{name}: {preset.advice}" in text
    assert "None" not in text
    assert max(map(len, result.out.splitlines())) <= int(width)


def first_sentences(kind: type) -> dict[str, str]:
    """Field -> what its docstring says, up to the first full stop or line."""
    import inspect

    source = inspect.getsource(kind)
    found = re.findall(r'^    (\w+): .*\n(?:.*\n)*?    """(.+?)(?:\.|""")', source, re.MULTILINE)
    sentences = {name: re.sub(r"\s+", " ", text) for name, text in found}
    assert {field.name for field in dataclasses.fields(kind)} <= set(sentences)
    return {name: text for name, text in sentences.items() if name != "model"}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_change_defaults_and_options_win(name):
    preset, command = PRESETS[name], parse("--preset", name)
    assert command.preset == name
    assert command.config == TrainConfig(**preset.train, model=ModelConfig(**preset.model))
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


# --- a run -------------------------------------------------------------------------------------


def test_lines_of_json_and_the_librarys_result(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    result = run(*argv, "--max-steps", 23, "--json")
    assert (result.code, result.err) == (0, "")
    lines = [json.loads(line) for line in result.out.splitlines()]
    trainer = Trainer(make_config(max_steps=23), open_folders(pictures))
    trainer.run()
    assert [line["step"] for line in lines] == [10, 20, 23]
    for line in lines:
        terms = trainer.history[line["step"] - 1].tolist()
        assert list(line)[2:] == [*("gan_ab", "gan_ba", "cycle_a", "cycle_b"), *list(line)[6:]]
        assert list(line.values())[2:] == pytest.approx(terms, abs=1e-5)
        assert line["lr"] == trainer.learning_rate(line["step"])
    loaded = Trainer(make_config(max_steps=23), open_folders(pictures))
    loaded.load_state(tmp_path / "run" / "state.safetensors")
    assert_same(everything(loaded), everything(trainer))
    assert load_model(tmp_path / "run" / "model.safetensors").config == MODEL


def test_words_for_people(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    result = run(*argv, "--max-steps", 5, "--max-minutes", 1e-9)
    assert (result.code, result.out) == (0, "")
    assert "3 pictures in" in result.err
    assert "1/5" in result.err
    assert "cycle" in result.err
    assert "Stopped after step 1 of 5; the same command goes on." in result.err
    result = run(*argv, "--max-steps", 5)
    assert result.code == 0
    assert result.err.splitlines()[-1] == f"{tmp_path / 'run' / 'model.safetensors'} is ready."


def test_start_from_a_model(run, pictures, tmp_path):
    start = CycleGAN(dataclasses.replace(MODEL, num_blocks=2, upsample="resize", image_size=512))
    save_model(start, tmp_path / "start.safetensors")
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY, "--json")
    assert run(*argv, "--start", tmp_path / "start.safetensors", "--max-steps", 1).code == 0
    model = load_model(tmp_path / "run" / "model.safetensors")
    assert model.config == dataclasses.replace(start.config, image_size=16)
    trainer = Trainer(make_config(max_steps=1), open_folders(pictures), model=start)
    assert_same(model.state_dict(), trainer.run().state_dict())
    for ours, theirs in zip(model.parameters(), start.parameters(), strict=True):
        assert (ours - theirs).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ((), 1, "nowhere does not exist; check the path of domain A's folder."),
        (("--start", "nothing"), 1, "nowhere does not exist"),
        (("--lr", "-1"), 2, "lr must be a number at least 1e-12; got -1.0."),
        (("--lr", "inf"), 2, "lr must be a number at least 1e-12; got inf."),
        (("--max-steps", "0"), 2, "max_steps must be a whole number of at least 1; got 0."),
        (("--crop-size", "300"), 2, "load_size must be at least crop_size; got 286 and 300."),
        (("--device", "abacus"), 2, "'abacus' can't be used"),
        (("--model.channels-a", "1"), 2, "lambda_identity must be 0 when the domains have"),
        (("--lambda-gan", "0", "--cycle", "none", "--lambda-identity", "0"), 2, "nothing to learn"),
    ],
)
def test_faults_are_one_sentence(run, tmp_path, monkeypatch, words, code, sentence):
    monkeypatch.chdir(tmp_path)
    for extra in ((), ("--json",)):
        result = run("train", "nowhere", "nowhere", "--run", "run", *words, *extra)
        assert result.code == code
        said = result.json["error"] if extra else result.err.removeprefix("cyclegan: ").rstrip()
        assert sentence in said
        assert "\n" not in said
        assert (result.err if extra else result.out) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "--run"),
        (("--run", "r", "--speed", "9"), "--speed"),
        (("--run", "r", "--max-steps", "many"), "many"),
        (("--run", "r", "--grad-clip", "much"), "much"),
        (("--run", "r", "--preset", "magic"), "magic"),
        (("--run", "r", "--preset"), "--preset"),
        (("--run", "r", "--cycle", "sideways"), "sideways"),
    ],
)
def test_a_command_line_that_makes_no_sense(run, words, expected):
    result = run("train", "a", "b", *words)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err
    assert "Traceback" not in result.err
    assert "usage:" not in result.err  # that would be a second parser's


def test_pictures_that_do_not_fit(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    result = run(*argv, "--crop-size", 18, "--json")
    assert result.code == 2
    assert result.json["error"].startswith("crop_size must be a multiple of 4 and at least 8 ")
    assert not (tmp_path / "run").exists()


def test_another_seed_is_refused(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY, "--json")
    assert run(*argv, "--max-steps", 1).code == 0
    result = run(*argv, "--max-steps", 2, "--seed", 1)
    assert result.code == 1
    assert "was trained with seed = 0, not 1" in result.json["error"]


# --- Ctrl-C ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and POSIX signals")
def test_ctrl_c_saves_and_the_same_command_goes_on(server, pictures, tmp_path):
    """Asked to stop while it writes the second sample grid, and again early the next time."""
    argv = ("train", pictures / "a", pictures / "b", *TINY, "--max-steps", 12)
    argv += ("--sample-every", 3, "--save-every", 100, "--pool-size", 2)
    path, out = tmp_path / "run", tmp_path / "out"
    for number in (signal.SIGINT, signal.SIGTERM):
        pid = server.start((*argv, "--run", path), out, freeze_at=operations(path))
        assert server.line() == {"frozen": 0}
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
        assert server.end() == 130
        err = (out / "err.txt").read_text()
        (step,) = re.findall(r"Stopped after step (\d+) of 12; the same command goes on\.", err)
        assert "Traceback" not in err
        assert json.loads((path / "run.json").read_text())["step"] == int(step) < 12
    assert server.run((*argv, "--run", path), out) == 0
    assert server.run((*argv, "--run", tmp_path / "undisturbed"), out) == 0
    assert files(path) == files(tmp_path / "undisturbed")


def operations(path: Path) -> int:
    """Number of the file operation by which a run has begun its steps."""
    return 14 if not path.exists() else 18


def test_torch_is_not_told_to_use_other_threads(run, pictures, tmp_path):
    before = torch.get_num_threads()
    run("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY, "--max-steps", 1)
    assert torch.get_num_threads() == before
