"""A run folder that scores its model on held-out pictures as it learns."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from cyclegan_core import PictureError, load_model
from cyclegan_core.evaluation import TrainingEvaluation
from cyclegan_core.training.trainer import Trainer

from ..evaluation.samples import METRIC, make_evaluator
from ..run_files import KilledError, files, run
from ..tiny import assert_same, make_config, open_folders

OFTEN = {"save_every": 3, "sample_every": 4, "max_steps": 6}
OWN = ("scores.csv", "best.safetensors")


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    return make_evaluator(tmp_path_factory.mktemp("test"))


def evaluated(path, pictures, evaluator, *, every=2, patience=None, kill_at=None, **settings):
    """Train in a folder, with an evaluation every second step; the trainer and its evaluation."""
    watch = TrainingEvaluation(path, evaluator, every=every, patience=patience)
    trainer = run(path, pictures, kill_at=kill_at, evaluation=watch, **OFTEN | settings)
    return trainer, watch


def scores(path: Path) -> dict[int, float]:
    """Step -> the mean over directions of what decides, as `scores.csv` has it."""
    with (path / "scores.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len({row["step"] for row in table}) == len(table)
    names = [f"{direction} {METRIC}" for direction in ("a_to_b", "b_to_a")]
    return {int(row["step"]): sum(float(row[name]) for name in names) / 2 for row in table}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, pictures, evaluator):
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    evaluated(path, pictures, evaluator)
    return path


def test_the_best_of_all_scored_models_is_kept(undisturbed, pictures, evaluator):
    found = scores(undisturbed)
    assert list(found) == [2, 4, 6]
    assert len(set(found.values())) == 3
    best = load_model(undisturbed / "best.safetensors")
    step = min(found, key=lambda step: found[step])
    assert best.training_info["steps"] == step
    assert evaluator.evaluate(best).score("KID") == found[step]
    trainer = Trainer(make_config(max_steps=step), open_folders(pictures))
    trainer.run()
    assert_same(best.state_dict(), trainer.export().state_dict())
    said = json.loads((undisturbed / "run.json").read_text())["evaluation"]
    assert (said["metric"], said["evaluations"]) == (METRIC, 3)
    assert (said["best_step"], said["best_score"]) == (step, found[step])
    assert (said["last_step"], said["stopped_early"]) == (6, False)


def test_the_training_is_as_without(tmp_path, undisturbed, pictures):
    """The same states and models, to the last bit; and without there is nothing new on disk."""
    run(tmp_path / "run", pictures, **OFTEN)
    plain = files(tmp_path / "run")
    found = {name: held for name, held in files(undisturbed).items() if name not in OWN}
    noted = found["model.safetensors"]["training"]
    assert f"a_to_b {METRIC}" in noted.pop("metrics")
    assert noted.pop("evaluation")["tables"][0]["rows"][0][1] == METRIC
    for held in (plain, found):
        del held["model.safetensors"]["crc32_header"]  # of these notes, too
    assert plain == found
    assert "evaluation" not in json.loads((tmp_path / "run" / "run.json").read_text())


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_killed_run_ends_like_an_undisturbed_one(
    tmp_path, pictures, evaluator, undisturbed, step
):
    """Killed after step 2 its evaluation is done again; after 4 the state is of step 3."""
    path = tmp_path / "run"
    with pytest.raises(KilledError):
        evaluated(path, pictures, evaluator, kill_at=step)
    assert list(scores(path) if step > 1 else {}) == [2, 4][: step // 2]
    evaluated(path, pictures, evaluator)
    assert files(path) == files(undisturbed)


def test_it_stops_early_and_stays_stopped(tmp_path, pictures, evaluator):
    """With a learning rate of next to nothing every evaluation finds the same model."""
    path, still = tmp_path / "run", {"lr": 1e-12, "max_steps": 20, "ema_decay": 0.0}
    trainer, watch = evaluated(path, pictures, evaluator, patience=2, **still)
    found = scores(path)
    best = min(found, key=lambda step: found[step])
    assert trainer.step == max(found) < 20
    assert sum(step > best for step in found) == 2
    assert watch.should_stop
    said = json.loads((path / "run.json").read_text())
    assert (said["step"], said["evaluation"]["stopped_early"]) == (trainer.step, True)

    before = files(path)
    again, _ = evaluated(path, pictures, evaluator, patience=2, **still)
    assert again.step == trainer.step
    assert files(path) == before

    more, _ = evaluated(path, pictures, evaluator, **still)  # without patience it goes on
    assert more.step == 20


def test_the_last_step_is_scored_whatever_its_number(tmp_path, pictures, evaluator):
    path = tmp_path / "run"
    evaluated(path, pictures, evaluator, every=4)
    found = scores(path)
    assert list(found) == [4, 6]
    training = load_model(path / "model.safetensors").training_info
    assert training["metrics"][f"a_to_b {METRIC}"] == pytest.approx(
        float(training["evaluation"]["tables"][0]["rows"][1][1].split()[0]), abs=1e-4
    )
    assert "checkpoint: step 6; test a: a; test b: b; " in training["evaluation"]["settings"]


def test_a_failed_evaluation_loses_no_step(tmp_path, pictures, tmp_path_factory):
    """A test picture goes away; what was learned until then is saved before the sentence."""
    root = tmp_path_factory.mktemp("lost")
    evaluator = make_evaluator(root)
    next((root / "a").iterdir()).unlink()
    with pytest.raises(PictureError, match=r"a/000\.png"):
        evaluated(tmp_path / "run", pictures, evaluator, save_every=100)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["step"] == 2
    assert load_model(tmp_path / "run" / "model.safetensors").training_info["steps"] == 2


def test_a_training_that_is_stopped_makes_no_further_step(pictures):
    trainer = Trainer(make_config(), open_folders(pictures))
    trainer.run(on_step=lambda report: trainer.stop() if report.step == 2 else None)
    assert trainer.step == 2
    trainer.run()
    assert trainer.step == 2
