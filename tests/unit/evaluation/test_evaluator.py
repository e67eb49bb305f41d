"""Whole evaluations of small models: every row against a computation of its own."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from cyclegan_core import (
    CycleGANError,
    DatasetError,
    MissingDirectionError,
    read_picture,
    write_picture,
)
from cyclegan_core.config import EvaluationConfig
from cyclegan_core.evaluation import Evaluator, Segmentation, evaluate
from cyclegan_core.evaluation.distances import (
    fine_detail,
    frechet_distance,
    kernel_distance,
    pair_scores,
    perceptual_distance,
)
from cyclegan_core.evaluation.extractors import LiteExtractor

from ..weights import NAMED, make_model
from .samples import Colours, fill, pixels

SETS = {"subset_size": 4, "num_subsets": 10, "seed": 3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Test and training folders; names are the same on both sides."""
    root = tmp_path_factory.mktemp("folders")
    counts = {"test_a": 6, "test_b": 6, "train_a": 9, "train_b": 7}
    return [fill(root / name, n, seed) for seed, (name, n) in enumerate(counts.items())]


@pytest.fixture(scope="module")
def model():
    return make_model(NAMED)


def read(folder):
    return [read_picture(path).pixels for path in sorted(folder.iterdir())]


def written(picture, folder):
    """What is left of a picture in a file."""
    write_picture(folder / "x.png", picture)
    return read_picture(folder / "x.png").pixels


def features(pictures):
    network = Colours()
    return torch.cat([network.features(picture[None]) for picture in pictures])


def set_row(pictures, reference):
    x, y = features(pictures), features(reference)
    mean, spread = kernel_distance(x, y, **SETS)
    detail = sum(map(fine_detail, pictures)) / len(pictures)
    return {"KID": mean, "spread": spread, "FID": frechet_distance(x, y), "detail": detail}


def check_set_row(row, expected):
    assert list(row) == ["KID (Colours)", "FID (Colours)", "fine detail"]
    assert row["KID (Colours)"].value == pytest.approx(expected["KID"], abs=1e-9)
    assert row["KID (Colours)"].spread == pytest.approx(expected["spread"], abs=1e-9)
    assert row["FID (Colours)"].value == pytest.approx(expected["FID"], abs=1e-7)
    assert row["fine detail"].value == pytest.approx(expected["detail"], rel=1e-6)


def test_unpaired_rows(folders, model, tmp_path) -> None:
    """As if every picture had been translated into a file first."""
    test_a, test_b, _, train_b = map(read, folders)
    found = evaluate(model, *folders, extractor=Colours(), directions=["a_to_b"], **SETS)
    (report,) = found.directions
    assert list(report.rows) == ["model", "identity", "mean picture", "colour match", "real"]
    assert (report.source, report.target) == ("photo", "Monet – 'x'")
    assert (report.num_sources, report.num_targets) == (6, 6)

    fakes = [written(model.translate(p[None], "a_to_b")[0], tmp_path) for p in test_a]
    row = dict(report.rows["model"])
    recs = [model.reconstruct(p[None], "a_to_b").rec[0] for p in test_a]
    cycle = [
        -10 * math.log10((rec - p).double().square().mean())
        for rec, p in zip(recs, test_a, strict=True)
    ]
    assert row.pop("cycle PSNR").value == pytest.approx(np.mean(cycle), rel=1e-5)
    check_set_row(row, set_row(fakes, test_b))
    check_set_row(report.rows["identity"], set_row(test_a, test_b))
    check_set_row(report.rows["real"], set_row([train_b[n * 7 // 6] for n in range(6)], test_b))
    for name in ("mean picture", "colour match"):
        assert report.rows[name]["KID (Colours)"].value != report.rows["identity"]["KID (Colours)"]


def test_the_colour_match_of_sets_has_the_targets_colours(tmp_path, model) -> None:
    """Seen by an extractor of colours, it is nearly perfect where only colours differ."""
    a, b = fill(tmp_path / "a", 30, 1), tmp_path / "b"
    b.mkdir()
    for path in a.iterdir():
        write_picture(b / path.name, read_picture(path).pixels * 0.4 + 0.3)
    found = evaluate(model, a, b, a, b, extractor=Colours(), directions=["a_to_b"], **SETS)
    rows = found.directions[0].rows
    fid = {name: row["FID (Colours)"].value for name, row in rows.items()}
    assert fid["colour match"] < fid["identity"] / 100
    assert fid["identity"] < fid["mean picture"] * 10
    assert found.settings["colour_match"] == "mean and covariance of the training pictures"


@pytest.fixture(scope="module")
def paired(folders, model):
    return evaluate(model, *folders, paired=True)


def test_paired_rows(paired, folders, model, tmp_path) -> None:
    lite = LiteExtractor(0)
    test_a, test_b, train_a, train_b = map(read, folders)
    assert [report.direction for report in paired.directions] == ["a_to_b", "b_to_a"]
    for report, source, target, other in (
        (paired.directions[0], test_a, test_b, train_b),
        (paired.directions[1], test_b, test_a, train_a),
    ):
        fakes = [written(model.translate(p[None], report.direction)[0], tmp_path) for p in source]
        for name, pictures in (("model", fakes), ("identity", source)):
            row = report.rows[name]
            pairs = list(zip(pictures, target, strict=True))
            for metric in ("PSNR", "SSIM", "L1"):
                expected = np.mean([pair_scores(*pair)[metric] for pair in pairs])
                assert row[metric].value == pytest.approx(expected, rel=1e-6)
            expected = np.mean([perceptual_distance(lite, *pair) for pair in pairs])
            title = "perceptual distance (EfficientNet-Lite0)"
            assert row[title].value == pytest.approx(expected, rel=1e-6)
        assert "cycle PSNR" in report.rows["model"]
        # The mean is kept at 256² and comes back to 24×20, so that it is close, not equal.
        mean = torch.stack(other[:7]).mean(0)
        psnr = np.mean([pair_scores(mean, p)["PSNR"] for p in target])
        assert report.rows["mean picture"]["PSNR"].value == pytest.approx(psnr, abs=0.15)


def test_the_colour_match_of_pairs_is_least_squares(paired, folders, tmp_path) -> None:
    test_a, test_b, train_a, train_b = folders
    assert paired.settings["colour_match"] == "least squares on training pairs"
    assert paired.settings["training_pictures"] == [7, 7]  # the others have no partner
    names = sorted(path.name for path in train_b.iterdir())
    inputs = np.concatenate([pixels(train_a / name).reshape(-1, 3) for name in names])
    outputs = np.concatenate([pixels(train_b / name).reshape(-1, 3) for name in names])
    weights, *_ = np.linalg.lstsq(np.c_[inputs, np.ones(len(inputs))], outputs, rcond=None)
    scores = []
    for path in sorted(test_a.iterdir()):
        mapped = (pixels(path) @ weights[:3] + weights[3]).clip(0, 1)
        mapped = (mapped * 255).round() / 255
        error = (mapped - pixels(test_b / path.name)) ** 2
        scores.append(-10 * np.log10(error.mean()))
    found = paired.directions[0].rows["colour match"]["PSNR"].value
    # A level may round the other way in float32.
    assert found == pytest.approx(np.mean(scores), abs=1e-3)


def test_training_folders_without_pairs_are_matched_by_moments(folders, model, tmp_path) -> None:
    other = fill(tmp_path / "other", 5, 9, suffix=".jpg")
    for path in other.iterdir():
        path.rename(path.with_stem(f"x{path.stem}"))
    test_a, test_b, train_a, _ = folders
    found = evaluate(
        model, test_a, test_b, train_a, other, paired=True, directions=["a_to_b"], max_pictures=2
    )
    assert found.settings["colour_match"] == "mean and covariance of the training pictures"
    assert "The training folders have no pairs" in found.notes[0]


# --- what is left alone, and told ----------------------------------------------------------------


def test_nothing_is_changed_and_everything_is_repeatable(folders, model) -> None:
    state = torch.get_rng_state()
    model.gen_ab.train()
    settings = {"extractor": Colours(), "directions": ["a_to_b"], **SETS}
    first = evaluate(model, *folders, **settings)
    assert model.gen_ab.training
    model.eval()
    assert torch.equal(torch.get_rng_state(), state)
    with torch.inference_mode():
        assert evaluate(model, *folders, **settings) == first
    assert evaluate(model, *folders, **{**settings, "seed": 4}) != first


@pytest.mark.parametrize("is_paired", [False, True], ids=["sets", "pairs"])
def test_progress_counts_every_picture_once(folders, model, is_paired: bool) -> None:  # noqa: FBT001
    config = EvaluationConfig(paired=is_paired, **SETS)
    evaluator = Evaluator(*folders, config, extractor=Colours())
    lengths = []
    for _ in range(2):  # floors are made once
        seen: list[tuple[int, int]] = []
        evaluator.evaluate(model, on_progress=lambda *now, seen=seen: seen.append(now))
        total = seen[-1][1]
        assert seen[-1] == (total, total)
        assert [done for done, _ in seen] == sorted({done for done, _ in seen})
        assert {of for _, of in seen} == {total}
        lengths.append(total)
    assert lengths[1] == 12  # the translations both ways
    assert lengths[0] > 3 * lengths[1]


@pytest.mark.parametrize("is_paired", [False, True], ids=["sets", "pairs"])
def test_a_callback_cancels_by_raising(folders, model, is_paired: bool) -> None:  # noqa: FBT001
    """Wherever that happens, the next evaluation finds what it would have found."""
    config = EvaluationConfig(paired=is_paired, **SETS)
    evaluator = Evaluator(*folders, config, extractor=Colours())
    for limit in (3, 12, 20, 5):

        def stop(done: int, total: int, limit: int = limit) -> None:
            if done >= limit:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluator.evaluate(model, directions=["b_to_a"], on_progress=stop)
    found = evaluator.evaluate(model, directions=["b_to_a"])
    fresh = Evaluator(*folders, config, extractor=Colours())
    assert found == fresh.evaluate(model, directions=["b_to_a"])


def test_everything_a_score_depends_on_is_part_of_the_result(folders, model) -> None:
    found = evaluate(
        model,
        *folders,
        checkpoint="mine",
        extractor=Colours(),
        size=12,
        max_pictures=5,
        dtype=torch.bfloat16,
        **SETS,
    )
    values = json.loads(json.dumps(found.to_dict()))
    assert values["checkpoint"] == "mine"
    assert values["paired"] is False
    assert values["settings"] == {
        "test_a": str(folders[0]),
        "test_b": str(folders[1]),
        "pictures": "short side to 12 pixels, Pillow's bicubic, aspect kept",
        "precision": "bfloat16",
        "training_pictures": [9, 7],
        "colour_match": "mean and covariance of the training pictures",
        "extractor": "Colours",
        "extractor_resize": "whole picture to 8×8, bicubic, antialiased",
        "subset_size": 4,
        "num_subsets": 10,
        "seed": 3,
    }
    there, back = values["directions"]
    assert (there["direction"], there["num_sources"], there["num_targets"]) == ("a_to_b", 5, 5)
    score = back["rows"]["model"]["KID (Colours)"]
    assert set(score) == {"value", "spread"}
    names = ("KID (Colours)", "FID (Colours)", "fine detail", "cycle PSNR")
    assert list(found.scalars()) == [f"{d} {n}" for d in ("a_to_b", "b_to_a") for n in names]
    mean = (found.scalars()["a_to_b KID (Colours)"] + found.scalars()["b_to_a KID (Colours)"]) / 2
    assert found.score("KID") == found.score("KID (Colours)") == pytest.approx(mean)
    with pytest.raises(ValueError, match=r"metric must be one of KID \(Colours\), FID"):
        found.score("PSNR")


def test_tables_for_people(folders, model) -> None:
    found = evaluate(model, *folders, extractor=Colours(), directions=["a_to_b"], **SETS)
    card = json.loads(json.dumps(found.for_card()))
    (table,) = card["tables"]
    assert table["title"] == "photo → Monet – 'x', 6 pictures against 6"
    heads, *rows = table["rows"]
    assert heads == ["", "KID (Colours)", "FID (Colours)", "fine detail", "cycle PSNR"]
    kid = found.directions[0].rows["model"]["KID (Colours)"]
    assert rows[0][:2] == ["model", f"{kid.value:.4f} ± {kid.spread:.4f}"]
    assert {len(row) for row in rows} == {5}
    assert "subset size: 4; num subsets: 10; seed: 3" in card["settings"]
    assert "test a: test_a; test b: test_b; " in card["settings"]
    assert str(folders[0].parent) not in json.dumps(card)
    assert found.summary().startswith(f"photo → Monet – 'x': KID (Colours) {kid} (colour match ")


def test_what_is_not_beaten_is_named(folders, model) -> None:
    """A model that scrambles colours loses against the picture as it is."""
    report = evaluate(model, *folders, paired=True, max_pictures=3).directions[0]
    found = report.unbeaten()
    for name, row in report.rows.items():
        for metric, theirs in row.items():
            ours = report.rows["model"][metric]
            beaten = ours.value > theirs.value
            beaten = beaten if metric in ("PSNR", "SSIM") else ours.value < theirs.value
            if name != "model":
                assert (metric in found.get(name, ())) == (not beaten)
    assert found


def test_a_one_way_model_has_no_round_trip(folders) -> None:
    model = make_model(directions=("b_to_a",))
    found = evaluate(model, *folders, extractor=Colours(), **SETS)
    assert [report.direction for report in found.directions] == ["b_to_a"]
    assert "cycle PSNR" not in found.directions[0].rows["model"]
    with pytest.raises(MissingDirectionError, match="only translates B→A"):
        evaluate(model, *folders, extractor=Colours(), directions=["a_to_b"], **SETS)


def test_without_training_folders_there_are_fewer_floors(folders, model) -> None:
    found = evaluate(model, *folders[:2], extractor=Colours(), **SETS)
    assert list(found.directions[0].rows) == ["model", "identity"]
    assert "Without training folders there is no mean picture" in found.notes[-1]
    assert "Both test folders have the same names; if they are pairs" in found.notes[0]


def test_a_grey_model_is_scored_like_others(folders) -> None:
    grey = make_model(type(NAMED)(base_channels=4, num_blocks=1, channels_a=3, channels_b=1))
    found = evaluate(grey, *folders, paired=True, max_pictures=2)
    assert all(math.isfinite(value) for value in found.scalars().values())


# --- segmentation --------------------------------------------------------------------------------


def test_a_segmenter_scores_translations(folders, model, tmp_path) -> None:
    def bright(pictures):
        return (pictures.mean(1) > 0.5).long()

    segmentation = Segmentation(segmenter=bright, num_classes=2)
    found = evaluate(model, *folders[:2], paired=True, segmentation=segmentation)
    there, back = found.directions
    assert "class IoU" not in there.rows["model"]
    right = []
    for source, partner in zip(*map(read, (folders[1], folders[0])), strict=True):
        fake = written(model.translate(source[None], "b_to_a")[0], tmp_path)
        right.append(bright(fake[None]) == bright(partner[None]))
    expected = torch.stack(right).double().mean()
    assert back.rows["model"]["pixel accuracy"].value == pytest.approx(float(expected))
    assert back.rows["identity"]["class IoU"].value < 1

    def top(pictures):  # what is really there, for example from the colours of a label map
        return (torch.arange(pictures.shape[2])[:, None] < 5).expand(pictures[:, 0].shape).long()

    exact = Segmentation(segmenter=top, num_classes=2, truth=top, direction="a_to_b")
    row = evaluate(model, *folders[:2], paired=True, segmentation=exact).directions[0].rows["model"]
    assert row["class accuracy"].value == row["class IoU"].value == 1


def test_labels_that_never_occur_give_no_score(folders, model) -> None:
    nothing = Segmentation(
        segmenter=lambda x: x[:, 0].long(), num_classes=2, truth=lambda x: x[:, 0].long() - 9
    )
    with pytest.raises(CycleGANError, match=r"pixel accuracy of 'model' \(b_to_a\) is not finite"):
        evaluate(model, *folders[:2], paired=True, segmentation=nothing)


# --- bad input -----------------------------------------------------------------------------------


def test_fewer_pictures_than_the_subset(folders, model) -> None:
    """KID says nothing about so few, unless it is wanted all the same."""
    with pytest.raises(
        DatasetError, match=r"test_a gives 6 test pictures, and KID says next to nothing about few"
    ):
        evaluate(model, *folders, extractor=Colours(), subset_size=7)
    with pytest.raises(DatasetError, match=r"3 test pictures of max_pictures.* a subset_size of 3"):
        evaluate(model, *folders, extractor=Colours(), subset_size=4, max_pictures=3)


def test_the_subset_shrinks_to_the_smaller_folder(model, tmp_path) -> None:
    counts = {"test_a": 12, "test_b": 10, "train_a": 4, "train_b": 12}
    dirs = [fill(tmp_path / name, n, seed) for seed, (name, n) in enumerate(counts.items())]
    found = evaluate(model, *dirs, extractor=Colours())
    assert found.settings["subset_size"] == 10
    there, back = found.directions
    test_a, test_b = (features(read(folder)) for folder in dirs[:2])
    kid, spread = kernel_distance(test_a, test_b, subset_size=10, num_subsets=100, seed=0)
    assert there.rows["identity"]["KID (Colours)"].value == pytest.approx(kid, abs=1e-9)
    assert there.rows["identity"]["KID (Colours)"].spread == pytest.approx(spread, abs=1e-9)
    # Ten of ten are always the same, and four of training are too few to stand for anything.
    assert there.rows["real"]["KID (Colours)"].spread is None
    assert "real" not in back.rows


def test_a_score_that_is_not_finite(folders, model) -> None:
    test_a = folders[0]
    with pytest.raises(CycleGANError, match=r"PSNR of .*000\.png \(identity, a_to_b\) is not fin"):
        evaluate(model, test_a, test_a, paired=True)


def test_pictures_that_the_model_was_trained_on(folders, model) -> None:
    test_a, test_b, *_ = folders
    found = evaluate(model, test_a, test_b, test_a, folders[3], extractor=Colours(), **SETS)
    assert found.notes[0].startswith("The test folder of domain A is the training folder")
    assert "domain B" not in "".join(found.notes)
    with pytest.raises(ValueError, match=r"both test folders are .*test_a; give one of each"):
        evaluate(model, test_a, test_a, extractor=Colours(), **SETS)


def test_pictures_of_different_sizes(tmp_path, model) -> None:
    a, b = fill(tmp_path / "a", 2, 1), fill(tmp_path / "b", 2, 2, size=(20, 24))
    with pytest.raises(DatasetError, match=r"24×20 pixels and its partner .* 20×24; give"):
        evaluate(model, a, b, paired=True)


def test_pictures_too_small_for_ssim(tmp_path, model) -> None:
    a, b = fill(tmp_path / "a", 2, 1, (40, 10)), fill(tmp_path / "b", 2, 2, (40, 10))
    with pytest.raises(DatasetError, match=r"has 40×10 pixels, and SSIM needs at least 11"):
        evaluate(model, a, b, paired=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"extractor": "vgg"},
            "extractor must be one of lite0, lite2, builtin, inception; got 'vgg'",
        ),
        ({"subset_size": 1}, "subset_size must be a whole number of at least 2; got 1"),
        ({"num_subsets": 0}, "num_subsets must be a whole number of at least 1; got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"size": 1}, "size must be a whole number of at least 2; got 1"),
        ({"sise": 3}, "unexpected keyword argument 'sise'"),
        ({"extractor": "inception"}, "needs a weight file, and nothing is fetched"),
        ({"segmentation": object()}, "a segmentation score needs paired folders"),
    ],
)
def test_wrong_options_are_refused(folders, model, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(model, *folders, **{**SETS, **options})


def test_one_training_folder_is_not_enough(folders, model) -> None:
    with pytest.raises(ValueError, match="both or not at all"):
        evaluate(model, *folders[:3], extractor=Colours())


# --- the sheet -----------------------------------------------------------------------------------


def test_the_contact_sheet_shows_pictures_and_partners(folders, model, tmp_path) -> None:
    """A row has source, translation, partner and colour match, each enlarged to 256 pixels."""
    sheet = tmp_path / "sheets" / "s.png"
    evaluate(model, *folders, paired=True, directions=["b_to_a"], sheet=sheet, max_pictures=3)
    found = read_picture(sheet).pixels
    assert found.shape == (3, 16 + 3 * 217 - 4, 4 * 260 - 4)  # 24 × 20 each
    paths = [sorted(folder.iterdir())[2] for folder in folders[:2]]  # of 6, the 0th, 2nd and 4th
    for column, path in ((0, paths[1]), (2, paths[0])):
        cell = found[:, 16 + 217 : 16 + 217 + 213, column * 260 : column * 260 + 256]
        small = torch.nn.functional.interpolate(cell[None], (20, 24), mode="area")[0]
        assert (small - read_picture(path).pixels).abs().mean() < 0.02


def test_a_two_way_models_sheet_shows_the_round_trip(folders, model, tmp_path) -> None:
    sheet = tmp_path / "s.jpg"
    evaluate(model, *folders[:2], extractor=Colours(), sheet=sheet, **SETS)
    # Both directions, 6 rows each; source, translation, round trip.
    assert read_picture(sheet).pixels.shape == (3, 2 * (16 + 6 * 217) - 4, 3 * 260 - 4)


def test_names_that_can_not_be_drawn_are_letters_on_a_sheet(folders, tmp_path) -> None:
    sheets: list[bytes] = []
    for names in (("写真", "Ł"), ("A", "B")):
        model = make_model(replace(NAMED, domain_a=names[0], domain_b=names[1]))
        sheet = tmp_path / "s.png"
        evaluate(model, *folders, paired=True, directions=["a_to_b"], sheet=sheet, max_pictures=3)
        sheets.append(sheet.read_bytes())
    assert sheets[0] == sheets[1]
