"""`UnpairedFolders`: which pictures are used, how they are read, and which sample is which."""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import replace

import pytest
import torch

from cyclegan_core import DatasetError
from cyclegan_core.config import DataConfig
from cyclegan_core.data import training_data as data
from cyclegan_core.data.unpaired_folders import UnpairedFolders, folders_digest

from ..folders import SMALL, WHOLE, fill, names, noise, paths, same, truncate


@pytest.fixture
def dirs(tmp_path):
    """5 pictures of A, 8 of B."""
    return fill(tmp_path / "a", 5, seed=1), fill(tmp_path / "b", 8, seed=2)


# --- Which pictures


def test_search_is_recursive_sorted_and_blind_to_hidden_and_other_files(tmp_path):
    a, b = tmp_path / "a", fill(tmp_path / "b", 2)
    for name in ("z.png", "b/x.JPG", "b/a.png", "a.png", "B.png"):
        (a / name).parent.mkdir(parents=True, exist_ok=True)
        noise(0).save(a / name)
    for name in (".hidden.png", ".cache/x.png", "b/.x/y.png", "._a.png"):
        (a / name).parent.mkdir(parents=True, exist_ok=True)
        noise(0).save(a / name)
    (a / "notes.txt").write_text("not a picture")
    found = [path.relative_to(a).as_posix() for path in paths(UnpairedFolders(a, b, **SMALL))[0]]
    assert found == ["B.png", "a.png", "b/a.png", "b/x.JPG", "z.png"]


def test_what_a_model_painted_of_the_pictures_is_left_out_and_that_is_said(dirs, caplog):
    a, b = dirs
    fill(a / "painted", 3, seed=9)
    fill(a / "more" / "painted", 1, seed=8)  # the user's own name: nobody writes results there
    folders = UnpairedFolders(a, b, **SMALL)
    assert len(paths(folders)[0]) == 6
    assert [record.message for record in caplog.records] == [
        f"{a / 'painted'} was left out: cyclegan translate writes its results there."
    ]


def test_circles_of_links_end_and_links_are_followed(tmp_path, dirs):
    a, b = dirs
    (a / "circle").symlink_to(a, target_is_directory=True)
    (a / "up").symlink_to(tmp_path, target_is_directory=True)
    (a / "self.png").symlink_to(a / "self.png")
    (a / "more").symlink_to(fill(tmp_path / "elsewhere", 2, seed=5), target_is_directory=True)
    (a / "gone.png").symlink_to(tmp_path / "gone.png")
    folders = UnpairedFolders(a, b, **SMALL)
    # 5 of A, and the rest once each through the links: 2 elsewhere, 8 of B
    assert len(paths(folders)[0]) == 15
    assert {path.name for path, _ in folders.report().a.skipped} == {"self.png", "gone.png"}


def test_the_caller_hears_of_each_file_and_can_end_the_reading(dirs):
    class EnoughError(Exception):
        pass

    heard = []

    def count():
        heard.append(1)

    def end_at_the_third():
        heard.append(1)
        if len(heard) == 3:
            raise EnoughError

    UnpairedFolders(*dirs, **SMALL, on_file=count)
    assert len(heard) == 2 * (5 + 8)  # each header, then each picture
    heard.clear()
    with pytest.raises(EnoughError):
        UnpairedFolders(*dirs, **SMALL, on_file=end_at_the_third)
    assert len(heard) == 3


def test_max_images_takes_the_first_of_each_folder(dirs):
    folders = UnpairedFolders(*dirs, **SMALL, max_images=3)
    assert [path.name for path in paths(folders)[0]] == ["000.png", "001.png", "002.png"]
    assert len(paths(folders)[1]) == len(folders) == 3
    assert "3 of 8 pictures" in str(folders.report())


@pytest.mark.parametrize("case", ["missing", "file", "empty", "one", "corrupt", "unreadable"])
def test_unusable_folders_are_named_in_one_sentence(tmp_path, dirs, case):
    folder = tmp_path / "c"
    if case == "missing":
        text = f"{folder} does not exist; check the path of domain B's folder."
    elif case == "file":
        folder.write_text("x")
        text = f"{folder} is a file; name the folder of domain B's pictures."
    elif case == "empty":
        (folder / ".git").mkdir(parents=True)
        text = f"{folder} holds no pictures; put at least 2 files such as .png or .jpg there."
    elif case == "one":
        fill(folder, 1)
        text = f"{folder} has 1 usable picture; domain B needs at least 2."
    elif case == "corrupt":
        fill(folder, 2)
        (folder / "000.png").write_text("not a picture")
        truncate(folder / "001.png")
        text = (
            f"{folder} has no usable pictures (skipped: 000.png is not a picture that can be read "
            "here; save it as PNG or JPEG; 001.png is damaged or incomplete"
        )
    else:
        fill(folder / "below", 2)
        (folder / "below").chmod(0)
        if os.access(folder / "below", os.R_OK):
            pytest.skip("this user may read everything")
        text = f"{folder / 'below'} can't be read (Permission denied)"
    with pytest.raises(DatasetError) as caught:
        UnpairedFolders(dirs[0], folder)
    assert str(caught.value).startswith(text)
    (folder / "below").exists() and (folder / "below").chmod(0o700)


def test_unknown_and_wrong_settings_are_refused(dirs):
    with pytest.raises(TypeError, match="crop"):
        UnpairedFolders(*dirs, crop=3)
    with pytest.raises(ValueError, match="crop_size must be a whole number"):
        UnpairedFolders(*dirs, crop_size=-1)


def test_config_and_settings_say_the_same(dirs):
    config = DataConfig(load_size=20, crop_size=16)
    assert UnpairedFolders(*dirs, config).config == UnpairedFolders(*dirs, **SMALL).config
    assert UnpairedFolders(*dirs, config, flip=False).config == replace(config, flip=False)


# --- Which sample is which


def test_samples_depend_on_seed_and_number_only(dirs):
    folders, again = UnpairedFolders(*dirs, **SMALL), UnpairedFolders(*dirs, **SMALL)
    forward = [folders.sample(k, seed=7) for k in range(30)]
    backward = [again.sample(k, seed=7) for k in reversed(range(30))][::-1]
    assert all(map(same, forward, backward))
    assert names(forward) != names([folders.sample(k, seed=8) for k in range(30)])


def test_known_order():
    """The recipe that resuming rests on: change it, and saved runs go on differently."""
    assert data.shuffled(3, 0, 8) == (1, 4, 7, 2, 3, 6, 0, 5)
    assert random.Random("3 sample 5").randrange(1000) == 158


def test_an_epoch_visits_the_larger_folder_once_and_the_smaller_again(dirs):
    a, b = dirs
    larger_first = UnpairedFolders(b, a, **SMALL)
    assert len(larger_first) == 8
    for epoch in range(3):
        samples = [larger_first.sample(8 * epoch + k) for k in range(8)]
        assert sorted(sample.path_a.name for sample in samples) == [f"{k:03}.png" for k in range(8)]
    smaller_first = UnpairedFolders(a, b, **SMALL)
    visits = Counter(smaller_first.sample(k).path_a.name for k in range(8))
    assert sorted(visits.values()) == [1, 1, 2, 2, 2]


def test_partners_crops_and_flips_are_random_and_independent(dirs):
    folders = UnpairedFolders(*dirs, **SMALL)
    samples = [folders.sample(k) for k in range(400)]
    partners = Counter(sample.path_b.name for sample in samples)
    assert len(partners) == 8
    assert min(partners.values()) > 25
    whole = UnpairedFolders(*dirs, preprocess="none")
    plain = UnpairedFolders(*dirs, **WHOLE)
    flips = Counter()
    for k in range(400):
        flipped, straight = whole.sample(k), plain.sample(k)
        assert flipped.path_b == straight.path_b
        flips[torch.equal(flipped.a, straight.a), torch.equal(flipped.b, straight.b)] += 1
    assert min(flips.values()) > 70
    assert len(flips) == 4


def test_cache_and_threads_never_change_a_sample(dirs):
    cached = UnpairedFolders(*dirs, **SMALL)
    uncached = UnpairedFolders(*dirs, **SMALL, cache_bytes=0)
    assert len(cached._a._cache) == 5
    for k in range(30):
        assert same(cached.sample(k), uncached.sample(k))
    assert not uncached._a._cache


def test_cache_is_all_or_nothing(dirs):
    needed = 13 * 24 * 20 * 3
    assert UnpairedFolders(*dirs, **WHOLE, cache_bytes=needed)._b._cache
    assert not UnpairedFolders(*dirs, **WHOLE, cache_bytes=needed - 1)._b._cache


# --- Report and digest


def test_report_counts_measures_and_warns(tmp_path):
    a, b = tmp_path / "a", fill(tmp_path / "b", 120, size=(20, 20))
    for number, size in enumerate([(40, 20), (20, 20), (20, 30)]):
        a.mkdir(exist_ok=True)
        noise(500 + number, size).save(a / f"{number}.png")
    (b / "copy.png").write_bytes((a / "2.png").read_bytes())
    report = UnpairedFolders(a, b, load_size=26, crop_size=24).report()
    assert (report.a.num_images, report.b.num_images) == (3, 121)
    assert (report.a.smallest, report.a.median, report.a.largest) == ((20, 20), (20, 30), (40, 20))
    assert report.a.aspects == (20 / 30, 2.0)
    assert len(report.warnings) == 4
    few, small_a, small_b, twins = report.warnings
    assert few == (
        f"{a} has only 3 pictures; below 100 they are learned by heart and results suffer."
    )
    assert small_a.startswith(f"3 of 3 pictures in {a} are smaller than the crop of 24 pixels")
    assert small_b.startswith(f"121 of 121 pictures in {b} are smaller")
    assert twins == "1 files of A are in B too (2.png); a picture should show one domain only."
    text = str(report)
    assert f"A: 3 pictures in {a}\n  size 20×20 to 40×20, median 20×30; " in text
    assert text.count("Warning: ") == 4


def test_report_says_where_the_aspect_suffers(dirs):
    square = UnpairedFolders(*dirs, **SMALL, preprocess="square_and_crop")
    assert "5 of 5 pictures in" in str(square.report())
    assert "are squashed" in str(square.report())
    wide = UnpairedFolders(*dirs, load_size=20, crop_size=20, preprocess="scale_width_and_crop")
    assert "are stretched in height to 20 pixels" in str(wide.report())


def test_digest_changes_with_names_sizes_and_times_only(tmp_path, dirs):
    a, b = dirs
    before = UnpairedFolders(a, b, **SMALL).digest
    assert before == UnpairedFolders(a, b).digest == folders_digest(a, b)
    assert before != folders_digest(b, a)
    assert folders_digest(a, b, max_images=3) == UnpairedFolders(a, b, max_images=3).digest
    os.utime(a / "000.png", ns=(1, 1))
    touched = folders_digest(a, b)
    (a / "000.png").rename(a / "0.png")
    assert len({before, touched, folders_digest(a, b)}) == 3
    a.rename(tmp_path / "moved")
    (tmp_path / "moved" / "0.png").rename(tmp_path / "moved" / "000.png")
    assert folders_digest(tmp_path / "moved", b) == touched
