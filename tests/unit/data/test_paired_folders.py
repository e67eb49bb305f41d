"""`PairedFolders`: which files are partners, and that both get the same crop and flip."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core import DatasetError, PairedFolders
from cyclegan_core.config import DataConfig
from cyclegan_core.data import open_folders
from cyclegan_core.data.loader import Batches
from cyclegan_core.data.unpaired_folders import UnpairedFolders

from ..folders import SMALL, fill, names, noise, paths, same


@pytest.fixture
def dirs(tmp_path):
    """5 pairs, of which A and B show the same, so that equal crops are equal."""
    a = fill(tmp_path / "a", 5, seed=1)
    return a, shutil.copytree(a, tmp_path / "b")


def beside(folder, count, *, size=(24, 20)):
    """`count` files of two halves, each of `size`; the right one is darker."""
    folder.mkdir()
    for number in range(count):
        left = np.asarray(noise(number, size))
        Image.fromarray(np.hstack([left, left // 2])).save(folder / f"{number}.png")
    return folder


def test_partners_have_the_same_name_crop_and_flip(dirs):
    a, b = dirs
    Image.open(b / "001.png").save(b / "001.bmp")  # another ending is the same name
    (b / "001.png").unlink()
    folders = PairedFolders(a, b, **SMALL)
    samples = [folders.sample(number, seed=3) for number in range(30)]
    assert all(torch.equal(sample.a, sample.b) for sample in samples)
    assert len({tuple(sample.a.flatten().tolist()) for sample in samples}) > 20
    order = [first for first, _ in names(samples)]
    for epoch in range(6):
        assert sorted(set(order[5 * epoch : 5 * epoch + 5])) == [f"{n:03}.png" for n in range(5)]
    assert {pair for pair in names(samples) if pair[0] == "001.png"} == {("001.png", "001.bmp")}


@pytest.mark.parametrize(
    "settings",
    [
        {**SMALL, "scales": 2.0},
        {"load_size": 20, "crop_size": 16, "preprocess": "scale_width_and_crop"},
        {"preprocess": "none"},
    ],
)
def test_every_preprocessing_keeps_partners_together(dirs, settings):
    folders = PairedFolders(*dirs, **settings)
    for number in range(10):
        sample = folders.sample(number)
        assert torch.equal(sample.a, sample.b)


def test_a_sample_depends_on_nothing_but_seed_and_number(dirs):
    cached, uncached = PairedFolders(*dirs, **SMALL), PairedFolders(*dirs, **SMALL, cache_bytes=0)
    for number in (7, 3, 12):
        assert same(cached.sample(number), uncached.sample(number))
    assert len(cached) == 5


def test_files_without_a_partner_are_named_and_left_out(dirs, caplog):
    a, b = dirs
    (a / "004.png").unlink()
    (b / "000.png").rename(b / "0.png")
    folders = PairedFolders(a, b, **SMALL)
    assert [path.name for path in paths(folders)[0]] == ["001.png", "002.png", "003.png"]
    assert caplog.messages == [
        f"Left out, for want of a partner: {a / '000.png'}, {b / '0.png'}, {b / '004.png'}."
    ]
    report = folders.report()
    assert (report.a.num_images, report.a.num_found, report.b.num_found) == (3, 4, 5)
    assert f"skipped: 000.png has no partner in {b}" in str(report)
    assert {pair for k in range(9) for pair in names([folders.sample(k)])} == {
        (f"00{n}.png", f"00{n}.png") for n in (1, 2, 3)
    }


def test_pairs_come_before_their_number_is_limited(dirs):
    (dirs[0] / "000.png").unlink()
    folders = PairedFolders(*dirs, **SMALL, max_images=2)
    assert [path.name for path in paths(folders)[1]] == ["001.png", "002.png"]


def test_folders_below_are_part_of_the_name(tmp_path):
    a, b = fill(tmp_path / "a" / "x", 2), fill(tmp_path / "b" / "y", 2)
    with pytest.raises(DatasetError, match=r"a and .*b have no names in common, so there are no p"):
        PairedFolders(a.parent, b.parent, **SMALL)
    b.rename(tmp_path / "b" / "x")
    assert len(PairedFolders(a.parent, b.parent, **SMALL)) == 2


def test_partners_of_different_sizes_are_named(dirs):
    a, b = dirs
    for name in ("001.png", "003.png"):
        noise(0, (24, 21)).save(b / name)
    with pytest.raises(DatasetError) as caught:
        PairedFolders(a, b, **SMALL)
    assert str(caught.value) == (
        f"{a / '001.png'} has 24×20 pixels and its partner {b / '001.png'} 24×21 (and 1 more pairs "
        "like it); give partners one size."
    )


def test_two_files_of_one_name_are_refused(dirs):
    noise(1).save(dirs[1] / "001.jpg")
    with pytest.raises(DatasetError, match=r"has 001.jpg and 001.png, so it is not clear which is"):
        PairedFolders(*dirs, **SMALL)


def test_grey_and_colour_partners_get_the_channels_that_are_asked_for(dirs):
    a, b = dirs
    for path in a.iterdir():
        Image.open(path).convert("L").save(path)
    mixed = PairedFolders(a, b, **SMALL).sample(0)
    assert mixed.a.shape == mixed.b.shape == (3, 16, 16)
    assert torch.equal(mixed.a[0], mixed.a[2])
    batch = next(Batches(PairedFolders(a, b, **SMALL, channels_a=1), batch_size=2))
    assert (batch.real_a.shape, batch.real_b.shape) == ((2, 1, 16, 16), (2, 3, 16, 16))


@pytest.mark.parametrize(("channels", "kind"), [(3, "RGB"), (1, "grey")])
def test_a_mix_of_grey_and_colour_is_said(dirs, channels, kind):
    a, b = dirs
    Image.open(a / "001.png").convert("LA").save(a / "001.png")
    report = PairedFolders(a, b, **SMALL, channels_a=channels).report()
    mixed = [warning for warning in report.warnings if "are grey" in warning]
    assert mixed == [
        f"1 of 5 pictures in {a} are grey and the others in colour; all are read as {kind}."
    ]


# --- side by side


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_halves_of_a_file_are_partners(tmp_path, order):
    folder = beside(tmp_path / "pairs", 3)
    folders = PairedFolders(folder, **SMALL, side_by_side=order)
    for number in range(12):
        sample = folders.sample(number)
        bright, dark = (sample.a, sample.b) if order == "ab" else (sample.b, sample.a)
        assert sample.path_a == sample.path_b
        assert torch.equal((bright * 255).int() // 2, (dark * 255).round().int())
    report = folders.report()
    assert report.a.largest == (24, 20)
    left, right = ("left", "right") if order == "ab" else ("right", "left")
    assert f"A: 3 pictures in {folder}, {left} halves" in str(report)
    assert f"B: 3 pictures in {folder}, {right} halves" in str(report)
    assert "are in B too" not in str(report)


def test_a_file_without_equal_halves_is_named(tmp_path, caplog):
    folder = beside(tmp_path / "pairs", 3)
    noise(1, (25, 20)).save(folder / "1.png")
    folders = PairedFolders(folder, **SMALL, side_by_side="ab")
    assert len(folders) == 2
    assert "1.png: it is 25 pixels wide, so that its halves are not equal" in caplog.text


def test_one_or_two_folders_as_the_pictures_want_it(tmp_path, dirs):
    with pytest.raises(ValueError, match=r"pairs need a folder of domain B too, or side_by_side"):
        PairedFolders(dirs[0])
    with pytest.raises(ValueError, match=r"side_by_side is ba, so that one folder has both"):
        PairedFolders(*dirs, side_by_side="ba")
    with pytest.raises(ValueError, match="side_by_side must be no for unpaired training"):
        UnpairedFolders(*dirs, side_by_side="ab")
    with pytest.raises(ValueError, match="unpaired training needs a folder of domain B"):
        open_folders("cyclegan", dirs[0], None, DataConfig())
    assert isinstance(open_folders("pix2pix", *dirs, DataConfig(**SMALL)), PairedFolders)
    assert isinstance(open_folders("cyclegan", *dirs, DataConfig(**SMALL)), UnpairedFolders)
