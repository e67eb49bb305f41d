"""Evaluation in a training: the table, the best model, the stop, and going on."""

from __future__ import annotations

import pytest
import torch

from cyclegan_core import load_model
from cyclegan_core.config import EvaluationConfig
from cyclegan_core.errors import CheckpointError
from cyclegan_core.evaluation import Evaluator, TrainingEvaluation

from ..weights import make_model, same
from .samples import METRIC, fill, make_evaluator


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    return make_evaluator(tmp_path_factory.mktemp("folders"))


@pytest.fixture(scope="module")
def models(evaluator):
    """Three models from good to bad, and their scores."""
    found = [make_model(seed=seed) for seed in range(3)]
    scores = [evaluator.evaluate(model).score("KID") for model in found]
    order = sorted(range(3), key=lambda n: scores[n])
    assert len(set(scores)) == 3
    return [found[n] for n in order], [scores[n] for n in order]


def start(folder, evaluator, step=0, **settings):
    watch = TrainingEvaluation(folder, evaluator, **{"every": 10, "patience": 2, **settings})
    watch.begin(step)
    return watch


def test_the_best_model_is_kept_and_the_training_stops(tmp_path, evaluator, models) -> None:
    (good, middle, bad), scores = models
    watch = start(tmp_path, evaluator)
    assert (watch.best_step, watch.best_score, watch.should_stop) == (None, None, False)
    notes = watch.evaluator.notes
    assert watch.facts() == {"metric": METRIC, "notes": notes, "evaluations": 0}
    assert watch.summary() == ""
    assert [step for step in range(41) if watch.is_due(step)] == [10, 20, 30, 40]
    notes = dict(good.training_info)
    for step, model, best, stop in (
        (10, middle, 10, False),
        (20, bad, 10, False),
        (30, good, 30, False),
        (40, middle, 30, False),
        (50, good, 30, True),  # as good as the best is no improvement
    ):
        found = watch.evaluate(model, step)
        assert watch.last is found
        assert found.checkpoint == f"step {step}"
        assert (watch.best_step, watch.should_stop) == (best, stop)
        assert not watch.is_due(step)
    assert watch.best_score == pytest.approx(scores[0])
    kept = load_model(tmp_path / "best.safetensors")
    assert same(kept, good)
    assert kept.training_info["steps"] == 30
    assert kept.training_info["metrics"][f"a_to_b {METRIC}"] == pytest.approx(
        found.directions[0].rows["model"][METRIC].value
    )
    assert good.training_info == notes
    assert watch.facts()["best_step"] == 30
    assert watch.facts()["last_step"] == 50
    assert watch.facts()["stopped_early"] is True
    assert watch.summary() == (
        f"{METRIC} {scores[0]:.4g} after step 50, best {scores[0]:.4g} after step 30"
    )


def test_the_table_is_the_state(tmp_path, evaluator, models) -> None:
    (good, middle, bad), _ = models
    whole = start(tmp_path, evaluator)
    for step, model in ((10, middle), (20, good), (30, bad)):
        whole.evaluate(model, step)
    text = (tmp_path / "scores.csv").read_text(encoding="utf-8")
    header, *rows = text.splitlines()
    assert header.split(",")[:2] == ["step", f"a_to_b {METRIC}"]
    assert [row.split(",")[0] for row in rows] == ["10", "20", "30"]

    again = start(tmp_path, evaluator, step=30)
    assert (again.best_step, again.best_score) == (20, whole.best_score)  # to the last bit
    assert again.facts() == whole.facts()
    assert (tmp_path / "scores.csv").read_text(encoding="utf-8") == text
    again.evaluate(bad, 40)
    assert again.should_stop


def test_steps_that_are_done_again_are_evaluated_again(tmp_path, evaluator, models) -> None:
    """A session was killed after step 20's evaluation; its state is of step 15."""
    (good, middle, bad), _ = models
    killed = start(tmp_path, evaluator)
    killed.evaluate(bad, 10)
    killed.evaluate(good, 20)
    again = start(tmp_path, evaluator, step=15)
    assert again.best_step == 10
    assert again.is_due(20)
    again.evaluate(middle, 20)
    assert same(load_model(tmp_path / "best.safetensors"), middle)


def test_damaged_rows_and_other_scores_are_passed_over(tmp_path, evaluator, models) -> None:
    """A cut row, a row of another extractor, and a word where a number was."""
    (good, _, _), _ = models
    table = tmp_path / "scores.csv"
    table.write_text(
        f"step,a_to_b {METRIC},a_to_b PSNR\n10,-5,\n20,,31.5\n30,what,1\nx,1,1\n40\n\x00",
        encoding="utf-8",
    )
    watch = start(tmp_path, evaluator, step=100)
    assert (watch.best_step, watch.best_score) == (10, -5)
    watch.evaluate(good, 110)
    lines = table.read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "10", "20", "40", "110"]
    assert lines[2].split(",")[:3] == ["20", "", "31.5"]


def test_a_failed_write_leaves_the_table_as_it_was(tmp_path, evaluator, models) -> None:
    (good, middle, _), _ = models
    watch = start(tmp_path, evaluator)
    watch.evaluate(middle, 10)
    before = (tmp_path / "scores.csv").read_bytes()
    (tmp_path / "best.safetensors").unlink()
    (tmp_path / "best.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"best\.safetensors can't be written"):
        watch.evaluate(good, 20)
    assert (tmp_path / "scores.csv").read_bytes() == before
    assert watch.is_due(20)


def test_higher_can_be_better(tmp_path, tmp_path_factory, models) -> None:
    (good, middle, _), _ = models
    root = tmp_path_factory.mktemp("pairs")
    pairs = Evaluator(
        fill(root / "a", 2, 1), fill(root / "b", 2, 2), config=EvaluationConfig(paired=True)
    )
    scores = {name: pairs.evaluate(m).score("PSNR") for name, m in (("g", good), ("m", middle))}
    watch = start(tmp_path, pairs, metric="PSNR")
    watch.evaluate(good, 10)
    watch.evaluate(middle, 20)
    assert watch.best_step == (10 if scores["g"] > scores["m"] else 20)
    assert start(tmp_path, pairs, step=20).metric == "perceptual distance (EfficientNet-Lite0)"


def test_a_training_is_not_disturbed(tmp_path, evaluator, models) -> None:
    (good, *_), _ = models
    good.gen_ab.train()
    state = torch.get_rng_state()
    start(tmp_path, evaluator).evaluate(good, 10)
    assert torch.equal(torch.get_rng_state(), state)
    assert good.gen_ab.training
    assert all(parameter.requires_grad for parameter in good.parameters())
    good.eval()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"every": 0}, "every must be a whole number of at least 1; got 0"),
        ({"patience": 0}, "patience must be a whole number of at least 1; got 0"),
        ({"metric": "PSNR"}, r"metric must be one of KID \(Colours\), FID \(Colours\); got 'PSNR'"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, evaluator, settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        start(tmp_path, evaluator, **settings)
