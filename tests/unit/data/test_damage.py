"""`UnpairedFolders`: damaged and lost files, found at the start or later."""

from __future__ import annotations

import logging

import pytest
from PIL import Image

from cyclegan_core import DatasetError, PictureError
from cyclegan_core.data import training_data as data
from cyclegan_core.data.paired_folders import PairedFolders
from cyclegan_core.data.unpaired_folders import UnpairedFolders
from cyclegan_core.evaluation.folders import PictureReader

from ..folders import SMALL, fill, names, paths, same, truncate


@pytest.fixture
def dirs(tmp_path):
    """5 pictures of A, 8 of B."""
    return fill(tmp_path / "a", 5, seed=1), fill(tmp_path / "b", 8, seed=2)


def test_damaged_files_are_skipped_and_named(dirs, caplog):
    a, b = dirs
    truncate(a / "001.png")
    (b / "003.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        folders = UnpairedFolders(a, b, **SMALL)
    assert len(paths(folders)[0]) == 4
    assert len(folders) == len(paths(folders)[1]) == 7
    report = folders.report()
    assert [path.name for path, _ in report.a.skipped] == ["001.png"]
    assert "skipped: 001.png is damaged or incomplete" in str(report)
    assert "skipped: 003.png is not a picture that can be read here" in str(report)
    assert [record.args[0].name for record in caplog.records] == ["003.png", "001.png"]


def test_damage_in_a_large_folder_is_found_later_and_the_next_one_steps_in(
    dirs, caplog, monkeypatch
):
    a, b = dirs
    truncate(b / "003.png")
    monkeypatch.setattr(data, "VERIFY_PIXELS", 0)
    folders = UnpairedFolders(a, b, **SMALL)
    assert folders.report().b.num_images == 8
    with caplog.at_level(logging.WARNING):
        samples = [folders.sample(k) for k in range(60)]
    assert "003.png" not in {sample.path_b.name for sample in samples}
    assert [record.args[0].name for record in caplog.records] == ["003.png"]
    assert folders.report().b.num_images == 7
    assert "skipped: 003.png is damaged or incomplete" in str(folders.report())
    uncached = UnpairedFolders(a, b, **SMALL, cache_bytes=0)
    assert all(same(uncached.sample(k), sample) for k, sample in reversed([*enumerate(samples)]))


def test_a_line_of_pixels_takes_no_memory(dirs):
    """With a short side of 286 it would have 1.6 gigapixels."""
    a, b = dirs
    Image.new("RGB", (1, 20_000)).save(a / "line.png")
    Image.new("RGB", (20_000, 1)).save(b / "line.png")
    report = UnpairedFolders(a, b).report()
    assert [path.name for path, _ in report.a.skipped + report.b.skipped] == ["line.png"] * 2
    assert "skipped: line.png is so narrow (1×20000) that it would be enlarged" in str(report)
    with pytest.raises(PictureError, match=r"line\.png is so narrow"):
        PictureReader(256)(a / "line.png")


@pytest.mark.parametrize("verify_pixels", [0, data.VERIFY_PIXELS])
def test_pairs_stay_together_around_damage(dirs, monkeypatch, verify_pixels):
    a, b = dirs
    truncate(a / "001.png")
    truncate(b / "003.png")
    (b / "002.png").write_bytes(b"")
    monkeypatch.setattr(data, "VERIFY_PIXELS", verify_pixels)
    folders = PairedFolders(a, b, **SMALL, max_images=5)
    pairs = set(names(folders.sample(k) for k in range(20)))
    assert pairs == {("000.png", "000.png"), ("004.png", "004.png")}


@pytest.mark.parametrize("verify_pixels", [0, data.VERIFY_PIXELS])
@pytest.mark.parametrize("fault", ["vanishes", "is overwritten"])
def test_a_file_lost_during_the_training_is_an_error_that_names_it(
    dirs, monkeypatch, verify_pixels, fault
):
    monkeypatch.setattr(data, "VERIFY_PIXELS", verify_pixels)
    folders = UnpairedFolders(*dirs, **SMALL, cache_bytes=0)
    lost = dirs[0] / "002.png"
    if fault == "vanishes":
        lost.unlink()
    else:
        lost.write_text("something else")
    k = next(k for k in range(8) if data.shuffled(0, 0, 8)[k] == 2)
    with pytest.raises(DatasetError) as caught:
        folders.sample(k)
    assert str(caught.value).startswith(
        f"A picture of domain A was changed or lost during the training: {lost} "
    )
    assert str(caught.value).endswith("; restore it and resume, or train on a copy.")


@pytest.mark.parametrize("kind", [UnpairedFolders, PairedFolders])
def test_nothing_left_is_an_error(tmp_path, dirs, monkeypatch, kind):
    monkeypatch.setattr(data, "VERIFY_PIXELS", 0)
    folder = fill(tmp_path / "c", 3)
    for path in folder.iterdir():
        truncate(path)
    folders = kind(folder, dirs[1], **SMALL)
    with pytest.raises(DatasetError, match=r"No picture in .*c can be decoded"):
        folders.sample(0)
    assert folders.report().a.num_images == 0
