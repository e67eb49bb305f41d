"""`cyclegan evaluate`: the table, the report for programs, the faults."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from cyclegan_core.cli import common

from ..commands import SMALL, Shell, save
from ..evaluation.samples import fill


@pytest.fixture
def run(capsys) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model, and folders of partners."""
    root = tmp_path_factory.mktemp("evaluate")
    save(root / "m.safetensors")
    for seed, name in enumerate(("test_a", "test_b", "train_a", "train_b")):
        fill(root / name, 4, seed)
    return root


def command(files, *options):
    return ("evaluate", files / "test_a", files / "test_b", "-m", files / "m.safetensors", *options)


def training(files):
    return ("--train-a", files / "train_a", "--train-b", files / "train_b")


def test_pairs_as_a_table(run, files, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    sheet = tmp_path / "s.png"
    result = run(*command(files, "--paired", "--sheet", sheet, *training(files)))
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].strip() == "horse → zebra: 4 pictures against 4"
    heads = "PSNR ↑ SSIM ↑ L1 ↓ perceptual distance ↓ cycle PSNR ↑"
    assert " ".join(lines[1].split()) == heads  # nothing is cut
    meanings = ["perceptual distance: seen by EfficientNet-Lite0"]
    meanings += ["identity: the pictures as they are", "cycle PSNR: there and back"]
    assert set(meanings) <= set(map(str.strip, lines))
    names = ["model", "identity", "mean picture", "colour match"]
    assert [name for name in names if any(line.strip().startswith(name) for line in lines)] == names
    text = " ".join(result.out.split())
    assert "zebra → horse" in text
    assert re.search(r"By [\w ,]+ the model is no better than colour match\.", text)
    assert f"checkpoint {files / 'm.safetensors'}" in text.replace(" ", "").replace(
        "checkpoint", "checkpoint "
    )
    assert "colour match least squares on training pairs" in text
    assert sheet.exists()
    assert str(sheet) in result.err


def test_a_log_gets_a_line_a_minute(run, files, monkeypatch) -> None:
    argv = command(files, "--paired", "-d", "a_to_b")
    assert "evaluating" not in run(*argv).err
    monkeypatch.setattr(common, "LINE_EVERY", 0.0)
    assert "evaluating: 1 of 8 pictures\nevaluating: 2 of 8 pictures\n" in run(*argv).err


def test_sets_as_json(run, files) -> None:
    settings = ("--subset-size", 4, "--num-subsets", 3, "--seed", 5, "-d", "b_to_a")
    result = run(*command(files, "--json", "--precision", "bf16", *settings))
    assert (result.code, result.err) == (0, "")
    (report,) = result.json["directions"]
    assert (report["direction"], report["source"], report["target"]) == ("b_to_a", "zebra", "horse")
    row = report["rows"]["model"]
    assert list(row) == [
        *("KID (EfficientNet-Lite0)", "FID (EfficientNet-Lite0)", "fine detail", "cycle PSNR"),
    ]
    settings = result.json["settings"]
    assert (settings["subset_size"], settings["num_subsets"], settings["seed"]) == (4, 3, 5)
    assert settings["extractor_resize"] == "whole picture to 224×224, bicubic, antialiased"
    assert (result.json["device"], result.json["precision"]) == ("cpu", "bf16")


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ((), 1, "add some, or insist by a subset_size of 4 (evaluate --subset-size 4, train"),
        (("--subset-size", 1), 2, "subset_size must be a whole number of at least 2; got 1."),
        (
            ("--subset-size", 4, "--extractor", "inception"),
            2,
            "the extractor inception needs a weight file",
        ),
        (("--sheet", "s.txt"), 2, "--sheet s.txt can't be written: use one of .bmp"),
        (("--train-a", "x"), 2, "the training folders are given both or not at all."),
        (("--paired", "--device", "nowhere"), 2, "device 'nowhere' can't be used"),
    ],
)
def test_faults_are_one_sentence(run, files, options, code, sentence) -> None:
    result = run(*command(files, *options))
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("cyclegan: ")
    assert sentence in result.err
    assert len(result.err.splitlines()) == 1


def beside(folder: Path, left: Path, right: Path) -> Path:
    """Files that show the pictures of two folders side by side, as pix2pix's data sets do."""
    folder.mkdir()
    for path in left.iterdir():
        with Image.open(path) as first, Image.open(right / path.name) as second:
            wide = Image.new("RGB", (2 * first.width, first.height))
            wide.paste(first, (0, 0))
            wide.paste(second, (first.width, 0))
            wide.save(folder / path.name)
    return folder


@pytest.mark.parametrize("order", ["ab", "ba"])  # without a word it is ab
def test_pairs_side_by_side_score_as_in_two_folders(run, files, tmp_path, order) -> None:
    a, b = ("a", "b") if order == "ab" else ("b", "a")
    test, train = (
        beside(tmp_path / part, files / f"{part}_{a}", files / f"{part}_{b}")
        for part in ("test", "train")
    )
    model = ("-m", files / "m.safetensors", "--json")
    option = () if order == "ab" else (order,)
    found = run("evaluate", test, *model, "--side-by-side", *option, "--train-a", train).json
    wanted = run(*command(files, "--paired", "--json", *training(files))).json
    assert found["directions"] == wanted["directions"]
    assert (found["paired"], found["settings"]["side_by_side"]) == (True, order)
    assert "side_by_side" not in wanted["settings"]


@pytest.mark.parametrize(
    ("folders", "options", "sentence"),
    [
        (("test_a",), (), "TEST_B is missing: name the folder of domain B's pictures too"),
        (("test_a", "test_b"), ("--side-by-side", "ab"), "have both domains; leave TEST_B out."),
        (
            ("test_a",),
            ("--side-by-side", "ab", "--train-b", "x"),
            "side_by_side is ab, so that one folder has both domains; leave those of domain B out",
        ),
    ],
)
def test_one_folder_or_two(run, files, folders, options, sentence) -> None:
    dirs = (files / name for name in folders)
    result = run("evaluate", *dirs, "-m", files / "m.safetensors", *options)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("cyclegan: ")
    assert sentence in result.err
    assert len(result.err.splitlines()) == 1


def test_a_file_without_halves(run, files, tmp_path) -> None:
    fill(tmp_path, 2, 3, size=(31, 20))
    result = run("evaluate", tmp_path, "-m", files / "m.safetensors", "--side-by-side", "ab")
    assert (result.code, result.out) == (1, "")
    assert "000.png is 31 pixels wide, so that its halves are not equal." in result.err
    assert len(result.err.strip().splitlines()) == 1


def test_folders_without_common_names(run, files, tmp_path) -> None:
    other = fill(tmp_path / "other", 2, 7)
    for path in other.iterdir():
        path.rename(path.with_stem(f"x{path.stem}"))
    argv = ("evaluate", files / "test_a", other, "-m", files / "m.safetensors", "--paired")
    result = run(*argv, "--json")
    assert result.code == 1
    assert "have no names in common, so there are no pairs to compare" in result.json["error"]


def test_a_missing_extra(run, files, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    result = run(*command(files, "--subset-size", 4))
    assert result.code == 1
    assert 'install the extra with: pip install "cyclegan[eval]"' in result.err


def test_a_model_in_two_files(run, files, tmp_path) -> None:
    for way in ("a_to_b", "b_to_a"):
        save(tmp_path / f"{way}.safetensors", SMALL, directions=(way,))
    argv = ("evaluate", files / "test_a", files / "test_b", "--paired", "--json")
    models = (
        "-m",
        tmp_path / "a_to_b.safetensors",
        "--model-b-to-a",
        tmp_path / "b_to_a.safetensors",
    )
    found = run(*argv, *models).json
    assert [report["direction"] for report in found["directions"]] == ["a_to_b", "b_to_a"]
    alone = run(*argv, *models[:2]).json
    assert [report["direction"] for report in alone["directions"]] == ["a_to_b"]
    assert "cycle PSNR" in found["directions"][0]["rows"]["model"]
    assert "cycle PSNR" not in alone["directions"][0]["rows"]["model"]
