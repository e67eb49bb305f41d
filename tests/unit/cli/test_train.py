"""`cyclegan train`: lines of JSON, faults, and going on after Ctrl-C."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from cyclegan_core import CycleGAN, load_model, save_model
from cyclegan_core.cli import common
from cyclegan_core.cli import train as train_command
from cyclegan_core.cli.train import defaults
from cyclegan_core.training.trainer import Trainer

from ..commands import Shell, draw
from ..evaluation.samples import fill
from ..folders import noise
from ..run_files import files
from ..tiny import MODEL, assert_same, everything, make_config, open_folders

TINY = (
    *("--model.base-channels", 2, "--model.num-blocks", 1, "--disc-channels", 2),
    *("--disc-layers", 1, "--load-size", 18, "--crop-size", 16, "--device", "cpu"),
)


@pytest.fixture
def run(capsys, caplog):
    with caplog.at_level(logging.INFO, "cyclegan_core"):  # and put back what the command sets
        yield Shell(capsys)


# --- a run -------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--read-every", 7)])
def test_lines_of_json_and_the_librarys_result(run, pictures, tmp_path, more):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY, *more)
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
    assert re.search(r"^step 1 of 5: gan [\d.]+ cycle [\d.]+ identity ", result.err, re.MULTILINE)
    goes_on = f"Stopped after step 1 of 5; `cyclegan train --run {tmp_path / 'run'}` goes on."
    assert goes_on in result.err
    result = run(*argv, "--max-steps", 5, "--max-minutes", "none")
    assert result.code == 0
    made = tmp_path / "run" / "model.safetensors"
    ready, use, samples = result.err.splitlines()[-3:]
    assert ready == f"{made} is ready."
    assert use == f"To use it: cyclegan translate PICTURE -m {made}"
    assert Path(samples.partition(": ")[2]).is_file()


def test_a_run_is_warned_of_its_folders_once(run, pictures, tmp_path):
    a = shutil.copytree(pictures / "a", tmp_path / "a")
    argv = ("train", a, pictures / "b", "--run", tmp_path / "run", *TINY)
    assert f"Warning: {a} has only 3 pictures; below 100" in run(*argv, "--max-steps", 1).err
    again = run("train", "--run", tmp_path / "run", "--max-steps", 2).err
    assert f"3 pictures in {a}" in again
    assert "Warning" not in again
    noise(5, (20, 18)).save(a / "more.png")
    again = run("train", "--run", tmp_path / "run", "--max-steps", 3).err
    assert again.count("Warning") == 1
    assert f"Warning: {a} has only 4 pictures" in again


def test_a_warm_up_is_said_in_plain_words(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    argv += ("--max-steps", 2, "--warmup-steps", 2)
    result = run(*argv, "--max-minutes", 1e-9)
    assert "So far it has learned to copy; a style begins after step 2." in result.err
    result = run(*argv, "--max-minutes", "none")
    assert result.code == 0
    warning = "Warning: All 2 steps only learn to copy (warm-up, 2 steps): a style shows after;"
    assert warning in result.err
    assert re.search(r"^step 2 of 2.*: learning to copy until step 2: identity ", result.err, re.M)


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


def test_fewer_steps_than_are_done_change_nothing(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    assert run(*argv, "--max-steps", 3).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    result = run("train", "--run", tmp_path / "run", "--max-steps", 2)
    assert result.code == 2
    assert "has done 3 steps, more than --max-steps 2; name a larger number" in result.err
    assert before == {path: path.read_bytes() for path in before}


def test_the_size_of_a_model_is_that_of_its_crops(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    result = run(*argv, "--max-steps", 1, "--model.image-size", 64)
    assert result.code == 2
    assert "--model.image-size follows from --crop-size" in result.err
    assert "give --crop-size 64 instead" in result.err
    assert not (tmp_path / "run").exists()


def test_a_presets_warm_up_is_for_fresh_networks():
    argv = ["train", "a", "b", "--run", "nowhere", "--preset", "quick"]
    of_fresh, of_begun = defaults(argv), defaults([*argv, "--start", "photo2monet"])
    assert of_fresh is not None
    assert of_begun is not None
    assert of_fresh.config.warmup_steps == 1000
    assert of_begun.config == dataclasses.replace(of_fresh.config, warmup_steps=0)


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
        (("--test-a", "x"), 2, "needs --test-a, --test-b and --evaluate-every; give all three"),
        (
            ("--test-a", "x", "--test-b", "y", "--evaluation.side-by-side", "ab"),
            2,
            "the files of --test-a have both domains; leave --test-b out.",
        ),
        (("--evaluate-every", "5"), 2, "needs --test-a, --test-b and --evaluate-every"),
        (("--evaluate-every", "-1"), 2, "evaluate_every must be a whole number of at least 0"),
        (("--patience", "2"), 2, "--patience and --metric are about an evaluation"),
        (("--lambda-gan", "0", "--cycle", "none", "--lambda-identity", "0"), 2, "nothing to learn"),
    ],
)
def test_faults_are_one_sentence(run, tmp_path, monkeypatch, words, code, sentence):
    monkeypatch.chdir(tmp_path)
    if "--device" in words:  # which is tried when the folders are there
        Path("nowhere").mkdir()
    before = list(tmp_path.iterdir())
    for extra in ((), ("--json",)):
        result = run("train", "nowhere", "nowhere", "--run", "run", *words, *extra)
        assert result.code == code
        said = result.json["error"] if extra else result.err.removeprefix("cyclegan: ").rstrip()
        assert sentence in said
        assert "\n" not in said
        assert (result.err if extra else result.out) == ""
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "--run DIR is missing; see `cyclegan train --help`."),
        (("--run", "r", "--speed", "9"), "--speed"),
        (
            ("--run", "r", "--max-steps", "many"),
            "--max-steps takes a whole number; got 'many'; see",
        ),
        (("--run", "r", "--grad-clip", "much"), "--grad-clip"),
        (("--run", "r", "--preset", "qick"), "got 'qick': did you mean quick? See `cyclegan train"),
        (("--run", "r", "--evaluation.subset-size", "1"), "--evaluation: subset_size must be a wh"),
        (("--run", "r", "--evaluation.extractor", "x"), "takes one of lite0, lite2, builtin, inc"),
        (("--run", "r", "--evaluation.pared"), "no option --evaluation.pared: did you mean --eva"),
        (("--run", "r", "--preset"), "--preset needs a value"),
        (("--run", "r", "--cycle", "sideways"), "sideways"),
    ],
)
def test_a_command_line_that_makes_no_sense(run, words, expected):
    result = run("train", "a", "b", *words)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err
    assert result.err.startswith("cyclegan: ")
    assert result.err.count("\n") == 1


def test_a_run_that_is_not_there(run, tmp_path):
    result = run("train", "--run", tmp_path / "no")
    assert (result.code, result.out, result.err) == (
        2,
        "",
        f"cyclegan: there is no run in {tmp_path / 'no'} to go on with; to begin one, name two "
        f"folders of pictures: cyclegan train DIR_A DIR_B --run {tmp_path / 'no'}.\n",
    )


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
    assert result.code == 2
    assert f"--seed is 0 in the run {tmp_path / 'run'}, not 1;" in result.json["error"]


# --- going on ----------------------------------------------------------------------------------


@pytest.fixture
def begun(run, pictures, tmp_path):
    """A run that stopped after its first step of 4; settings of all kinds are not the defaults."""
    path = tmp_path / "run"
    argv = ("train", pictures / "a", pictures / "b", *TINY, "--preset", "object", "--max-steps", 4)
    argv += ("--lambda-b", 3, "--model.upsample", "resize", "--no-flip", "--pool-size", 2)
    assert run(*argv, "--run", path, "--max-minutes", 1e-9, "--json").code == 0
    assert json.loads((path / "run.json").read_text())["step"] == 1
    return path, argv


def test_the_run_alone_is_enough_to_go_on(run, begun, tmp_path):
    path, argv = begun
    result = run("train", "--run", path, "--device", "cpu", "--max-minutes", "none")
    assert result.code == 0
    assert "changes from" not in result.err.replace("max_minutes changes from", "")
    assert run(*argv, "--run", tmp_path / "undisturbed").code == 0
    assert files(path) == files(tmp_path / "undisturbed")


def test_what_is_named_again_may_be_the_same(run, begun):
    path, argv = begun
    named = ("--preset", "object", "--seed", 0, "--device", "cpu", "--max-minutes", "none")
    assert run(*argv[:3], "--run", path, *named).code == 0
    assert json.loads((path / "run.json").read_text())["step"] == 4
    said = "model.safetensors is ready. All 4 steps were done before; a larger --max-steps goes on."
    assert said in run("train", "--run", path).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seed", 1), "--seed is 0 in the run R, not 1; leave --seed out, or name another run"),
        (
            ("--model.num-blocks", 2),
            "--model.num-blocks is 1 in the run R, not 2; leave",
        ),
        (("--crop-size", 8), "--crop-size is 16 in the run R, not 8; leave --crop-size out"),
        (("--preset", "style"), "--preset is object in the run R, not style; leave --preset out"),
    ],
)
def test_a_setting_that_can_not_change_is_named_with_both_values(run, begun, words, said):
    path, _ = begun
    before = files(path)
    result = run("train", "--run", path, "--device", "cpu", *words, "--json")
    assert result.code == 2
    assert said.replace("R", str(path)) in result.json["error"]
    assert files(path) == before


def test_other_folders_are_named_and_nothing_is_lost(run, begun):
    path, argv = begun
    before = files(path)
    _, a, b, *_ = argv
    result = run("train", b, a, "--run", path, "--device", "cpu", "--json")
    assert result.code == 2
    assert result.json["error"] == (
        f"the run {path} learned from the folders {a} and {b}; name another --run for {b} and "
        f"{a}, or delete {path} to begin anew."
    )
    assert files(path) == before


def test_a_setting_that_can_change_is_told(run, begun, caplog):
    path, _ = begun
    argv = ("train", f"--run={path}", "--device", "cpu", "--max-minutes", "none", "--lambda-b", 5)
    assert run(*argv, "--max-steps", 2).code == 0
    said = [record.getMessage() for record in caplog.records]
    assert "lambda_b changes from 3.0 to 5.0." in said
    assert "max_steps changes from 4 to 2." in said


def test_an_evaluation_goes_on_too(run, pictures, tmp_path):
    path = tmp_path / "run"
    argv = ("train", pictures / "a", pictures / "b", "--run", path, *TINY)
    argv += held_out(tmp_path / "test")
    assert run(*argv, "--max-steps", 2, "--json").code == 0
    result = run("train", "--run", path, "--device", "cpu", "--max-steps", 4, "--json")
    assert result.code == 0
    assert [json.loads(line)["step"] for line in result.out.splitlines()] == [4, 4]
    assert json.loads((path / "run.json").read_text())["evaluation"]["metric"] == "L1"


def test_a_run_without_a_name_for_its_folders(run, begun):
    """As one of the nodes: the settings are there, the folders are to be named."""
    path, argv = begun
    content = json.loads((path / "run.json").read_text())
    del content["command"]
    (path / "run.json").write_text(json.dumps(content))
    result = run("train", "--run", path)
    assert result.code == 2
    assert "does not say what it learns from; name the folders of pictures: " in result.err
    named = ("--device", "cpu", "--max-minutes", "none", "--json")
    assert run(*argv[:3], "--run", path, *named).code == 0
    assert json.loads((path / "run.json").read_text())["config"]["lambda_b"] == 3.0


@pytest.mark.parametrize("model", ["hub:evil/model", "//evil/share/x.pth", r"\\evil\x.pth"])
def test_a_strangers_run_fetches_nothing(run, begun, model):
    path, _ = begun
    content = json.loads((path / "run.json").read_text())
    content["command"]["start"] = model
    (path / "run.json").write_text(json.dumps(content))
    (path / "state.safetensors").rename(path / "elsewhere")
    before = files(path)
    result = run("train", "--run", path, "--json")
    assert result.code == 2
    assert f"began with the model {model}, and nothing is fetched" in result.json["error"]
    assert files(path) == before
    named = ("--device", "cpu", "--max-minutes", "none", "--json")
    assert run("train", "--run", path, "--start", path / "model.safetensors", *named).code == 0


@pytest.mark.parametrize("name", ["dir_a", "dir_b"])
def test_nor_does_it_learn_from_another_computer(run, begun, name):
    """Windows would hand that one the user's name, and what a password can be guessed from."""
    path, argv = begun
    content = json.loads((path / "run.json").read_text())
    content["command"][name] = r"\\evil\share"
    (path / "run.json").write_text(json.dumps(content))
    result = run("train", "--run", path)
    assert result.code == 2
    assert "name" in result.err
    named = ("--device", "cpu", "--max-minutes", "none", "--json")
    assert run(*argv[:3], "--run", path, *named).code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "can't be read (Expecting value"),
        ('{"step": 1}', "can't be read ('config'); delete it, and name"),
        ('{"config": {"magic": 1}}', "can't be read (unknown setting 'magic'; it may come from"),
    ],
)
def test_a_damaged_description_of_a_run_is_named(run, tmp_path, text, said):
    (tmp_path / "run.json").write_text(text)
    result = run("train", "a", "b", "--run", tmp_path)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert f"{tmp_path / 'run.json'} {said}" in result.err


# --- what is seen ------------------------------------------------------------------------------


def test_a_log_gets_a_line_a_minute(run, pictures, tmp_path, monkeypatch):
    argv = ("train", pictures / "a", pictures / "b", *TINY, "--max-steps", 3)

    def told() -> list[str]:
        result = run(*argv, "--run", tmp_path / f"{common.LINE_EVERY}")
        return re.findall(r"^step (\d) of 3(?:, \d+ s left)?: gan", result.err, re.MULTILINE)

    assert told() == ["1", "3"]  # it takes less than a minute
    monkeypatch.setattr(common, "LINE_EVERY", 0.0)
    assert told() == ["1", "2", "3"]


def test_a_narrow_terminal_cuts_no_number():
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with train_command._progress(console) as progress:
        losses = "gan 0.43 cycle 1.20 identity 0.55 disc 0.22"
        progress.add_task(losses, total=100_000, completed=12_345, left="11 h 40 min left")
    assert "12345/100000 11 h 40 min left gan 0.43 cycle" in console.file.getvalue()


# --- pairs -------------------------------------------------------------------------------------

PAIRS = ("--objective", "pix2pix", *TINY)


def test_pairs_are_learned_from_scored_and_go_on(run, pictures, tmp_path):
    folder = tmp_path / "run"
    argv = ("train", pictures / "a", pictures / "b", *PAIRS, "--run", folder)
    argv += ("--directions", "b_to_a", *held_out(tmp_path / "test"))
    result = run(*argv, "--max-steps", 2, "--json")
    assert (result.code, result.err) == (0, "")
    last, scored = (json.loads(line) for line in result.out.splitlines())
    if "scores" in last:
        last, scored = scored, last
    assert list(last) == ["step", "lr", "gan_ba", "l1_a", "disc_a"]
    assert "b_to_a L1" in scored["scores"]
    assert "b_to_a cycle PSNR" not in scored["scores"]
    result = run(*argv, "--max-steps", 4)
    assert (result.code, result.out) == (0, "")
    assert f"skipped: 3.png has no partner in {pictures / 'a'}" in result.err
    assert re.search(r"gan [\d.]+ l1 [\d.]+ disc [\d.]+", result.err)
    assert load_model(folder / "best.safetensors").directions == ("b_to_a",)
    # And the command that scores takes it too.
    argv = ("evaluate", tmp_path / "test" / "a", tmp_path / "test" / "b", "--paired", "--json")
    report = run(*argv, "--model", folder / "model.safetensors").json
    assert [each["direction"] for each in report["directions"]] == ["b_to_a"]


def test_pairs_side_by_side(run, tmp_path):
    fill(tmp_path / "pairs", 3, 0, size=(36, 18))
    argv = ("train", "--side-by-side", tmp_path / "pairs", *PAIRS, "--run", tmp_path / "run")
    scored = ("--test-a", tmp_path / "pairs", "--evaluation.side-by-side", "ab")
    result = run(*argv, "--max-steps", 1, *scored, "--evaluate-every", 1)
    assert result.code == 0
    assert load_model(tmp_path / "run" / "best.safetensors").training_info["steps"] == 1
    assert f"3 pictures in {tmp_path / 'pairs'}, left halves" in result.err
    saved = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "right halves" in saved["data"]["b"]


def beside_each_other(folder, names_a, names_b, size_b=(20, 18)):
    for domain, names, size in (("a", names_a, (20, 18)), ("b", names_b, size_b)):
        for name in names:
            draw(folder / domain / f"{name}.png", size=size)
    return folder / "a", folder / "b"


@pytest.mark.parametrize(
    ("names_a", "names_b", "size_b", "code", "text"),
    [
        (
            "xy",
            "uv",
            (20, 18),
            1,
            "/a and {b} have no names in common, so there are no pairs; give",
        ),
        ("xy", "xy", (20, 19), 1, "/a/x.png has 20×18 pixels and its partner {b}/x.png 20×19"),
        ("xy", "xz", (20, 18), 1, "has 1 usable picture; domain A needs at least 2."),
        ("xyz", "xyu", (20, 18), 0, "  skipped: z.png has no partner in {b}\n"),
    ],
)
def test_what_are_no_pairs_is_named(run, tmp_path, names_a, names_b, size_b, code, text):
    a, b = beside_each_other(tmp_path, names_a, names_b, size_b)
    result = run("train", a, b, *PAIRS, "--run", tmp_path / "run", "--max-steps", 1)
    assert result.code == code
    assert text.format(a=a, b=b) in result.err
    assert "Traceback" not in result.err
    assert (tmp_path / "run").exists() == (code == 0)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "DIR_B is missing: name the folder of domain B's pictures too."),
        (
            ("--side-by-side", "ba"),
            "--side-by-side pictures are pairs, from which --objective pix2",
        ),
        ((*PAIRS, "B", "--side-by-side"), "with --side-by-side the files of DIR_A have both doma"),
        ((*PAIRS, "B", "--warmup-steps", 2), "warmup_steps must be 0 and identity_every 1 with"),
    ],
)
def test_one_folder_or_two(run, tmp_path, words, text):
    result = run("train", "A", *words, "--run", tmp_path / "run", "--json")
    assert result.code == 2
    assert result.json["error"].startswith(text)


# --- evaluation --------------------------------------------------------------------------------


def held_out(folder: Path) -> tuple[object, ...]:
    """Options for an evaluation by pairs, which `folder` gets, every second step."""
    for domain, seed in (("a", 1), ("b", 2)):
        fill(folder / domain, 2, seed)
    every = ("--evaluate-every", 2, "--evaluation.paired", "--metric", "L1")
    return ("--test-a", folder / "a", "--test-b", folder / "b", *every)


def test_scores_for_programs_and_for_people(run, pictures, tmp_path):
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    argv += held_out(tmp_path / "test")
    result = run(*argv, "--max-steps", 4, "--json")
    assert (result.code, result.err) == (0, "")
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 4]
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["evaluation"]
    assert facts["last"] == lines[1]["scores"]
    assert {"a_to_b L1", "b_to_a L1"} < set(facts["last"])

    result = run(*argv, "--max-steps", 6)
    assert result.code == 0
    *_, best, ready, _, _ = result.err.splitlines()
    assert re.fullmatch(r"L1 [\d.]+ after step 6, best [\d.]+ after step \d, which is .+", best)
    assert str(tmp_path / "run" / "best.safetensors") in best
    assert ready == f"{tmp_path / 'run' / 'model.safetensors'} is ready."
    assert len((tmp_path / "run" / "scores.csv").read_text().splitlines()) == 1 + 3


def test_an_early_stop_is_said(run, pictures, tmp_path):
    """With a learning rate of next to nothing an evaluation soon is no better."""
    argv = ("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY)
    argv += (*held_out(tmp_path / "test"), "--patience", 1, "--lr", 1e-12, "--max-steps", 50)
    sentence = (
        r"Stopped early after step (\d+) of 50: the last 1 evaluations were no better; "
        r"a larger --patience goes on\."
    )
    steps = []
    for _ in range(2):  # the same command leaves it at that
        result = run(*argv)
        assert result.code == 0
        steps += re.findall(sentence, result.err)
    assert steps[0] == steps[1]
    assert int(steps[0]) < 50


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
        (step,) = re.findall(r"Stopped after step (\d+) of 12; `.+` goes on\.", err)
        assert err.count("Stopping after this step; once more stops at once.") == 1
        assert "Traceback" not in err
        assert json.loads((path / "run.json").read_text())["step"] == int(step) < 12
    assert server.run((*argv, "--run", path), out) == 0
    assert server.run((*argv, "--run", tmp_path / "undisturbed"), out) == 0
    assert files(path) == files(tmp_path / "undisturbed")


def operations(path: Path) -> int:
    """Number of the file operation by which a run has begun its steps."""
    return 18 if not path.exists() else 22


def test_torch_is_not_told_to_use_other_threads(run, pictures, tmp_path):
    before = torch.get_num_threads()
    run("train", pictures / "a", pictures / "b", "--run", tmp_path / "run", *TINY, "--max-steps", 1)
    assert torch.get_num_threads() == before
