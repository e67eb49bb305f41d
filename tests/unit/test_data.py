"""`UnpairedFolders`: which pictures are used, how they are read, and which sample is which."""

import logging
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core import DatasetError, data
from cyclegan_core.data import UnpairedFolders, folders_digest
from cyclegan_core.transforms import DataConfig

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "horse2zebra"
SMALL = {"load_size": 20, "crop_size": 16}
WHOLE = {"preprocess": "none", "flip": False}


def noise(seed, size=(24, 20)):
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def fill(folder, count, seed=0, size=(24, 20)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise(1000 * seed + number, size).save(folder / f"{number:03}.png")
    return folder


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def dirs(tmp_path):
    """5 pictures of A, 8 of B."""
    return fill(tmp_path / "a", 5, seed=1), fill(tmp_path / "b", 8, seed=2)


def names(samples):
    return [(sample.path_a.name, sample.path_b.name) for sample in samples]


def same(one, other):
    return (
        names([one]) == names([other])
        and torch.equal(one.a, other.a)
        and torch.equal(one.b, other.b)
    )


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
    found = [path.relative_to(a).as_posix() for path in UnpairedFolders(a, b, **SMALL).paths_a]
    assert found == ["B.png", "a.png", "b/a.png", "b/x.JPG", "z.png"]


def test_circles_of_links_end_and_links_are_followed(tmp_path, dirs):
    a, b = dirs
    (a / "circle").symlink_to(a, target_is_directory=True)
    (a / "up").symlink_to(tmp_path, target_is_directory=True)
    (a / "self.png").symlink_to(a / "self.png")
    (a / "more").symlink_to(fill(tmp_path / "elsewhere", 2, seed=5), target_is_directory=True)
    (a / "gone.png").symlink_to(tmp_path / "gone.png")
    folders = UnpairedFolders(a, b, **SMALL)
    # 5 of A, and the rest once each through the links: 2 elsewhere, 8 of B
    assert len(folders.paths_a) == 15
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
    assert [path.name for path in folders.paths_a] == ["000.png", "001.png", "002.png"]
    assert len(folders.paths_b) == len(folders) == 3
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
        text = (
            f"{folder} holds no pictures; put at least 2 files such as .png or .jpg there, "
            "for domain B."
        )
    elif case == "one":
        fill(folder, 1)
        text = f"{folder} has 1 usable picture; domain B needs at least 2."
    elif case == "corrupt":
        fill(folder, 2)
        (folder / "000.png").write_text("not a picture")
        truncate(folder / "001.png")
        text = (
            f"{folder} has no usable pictures (skipped: 000.png is not a picture that Pillow can "
            "read; 001.png is damaged or incomplete"
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


# --- How pictures are read


def read_as(tmp_path, image, **settings):
    """Save with the keywords in `save_`; the pixels of the sample in bytes, (H,W,C)."""
    save = {key[5:]: settings.pop(key) for key in list(settings) if key.startswith("save_")}
    a = tmp_path / "a"
    a.mkdir()
    for number in range(2):
        image.save(a / f"{number}{save.get('suffix', '.png')}", **save.get("options", {}))
    folders = UnpairedFolders(a, fill(tmp_path / "b", 2), **WHOLE, **settings)
    sample = folders.sample(0).a
    assert sample.dtype == torch.float32
    return sample.mul(255).round().byte().movedim(0, -1).numpy()


def test_transparency_shows_the_background(tmp_path):
    image = noise(3).convert("RGBA")
    alpha = Image.new("L", image.size, 0)
    alpha.paste(255, (0, 0, 12, 20))
    image.putalpha(alpha)
    pixels = read_as(tmp_path, image, background=(10, 20, 30))
    assert np.array_equal(pixels[:, :12], np.asarray(image)[:, :12, :3])
    assert (pixels[:, 12:] == (10, 20, 30)).all()


def test_half_transparent_grey_is_mixed_with_white(tmp_path):
    pixels = read_as(tmp_path, Image.new("LA", (8, 8), (100, 51)))
    assert np.abs(pixels.astype(int) - (0.2 * 100 + 0.8 * 255)).max() <= 1
    assert pixels.shape == (8, 8, 3)


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((0, 0), 0)
    options = {"save_options": {"transparency": 0}}
    pixels = read_as(tmp_path, image, background=(1, 2, 3), **options)
    assert tuple(pixels[0, 0]) == (1, 2, 3)
    assert tuple(pixels[1, 1]) == (200, 100, 50)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_is_pillows_rgb(tmp_path, suffix):
    pixels = read_as(tmp_path, noise(4).convert("CMYK"), save_suffix=suffix)
    with Image.open(tmp_path / "a" / f"0{suffix}") as stored:
        assert np.array_equal(pixels, np.asarray(stored.convert("RGB")))


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    pixels = read_as(tmp_path, Image.fromarray(ramp), channels_a=1)
    assert np.array_equal(pixels[..., 0], np.round(ramp / 65535 * 255).astype(np.uint8))


def test_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise(5, (24, 16))
    pixels = read_as(tmp_path, image, save_options={"exif": exif})
    assert np.array_equal(pixels, np.asarray(image.transpose(Image.Transpose.ROTATE_270)))


def test_header_size_is_upright_without_decoding(tmp_path, dirs):
    exif = Image.Exif()
    exif[0x0112] = 8
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        noise(5, (24, 16)).save(dirs[0] / f"turned{suffix}", exif=exif)
    folders = UnpairedFolders(*dirs, **WHOLE)
    assert folders.sample_sizes == ({(20, 24), (24, 16)}, {(20, 24)})
    for number in range(20):
        sample = folders.sample(number)
        assert tuple(sample.a.shape[1:]) in folders.sample_sizes[0]


def test_grey_files_become_rgb_and_rgb_becomes_grey(tmp_path):
    image = noise(6).convert("L")
    pixels = read_as(tmp_path, image)
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))
    folders = UnpairedFolders(tmp_path / "a", tmp_path / "b", **WHOLE, channels_a=1, channels_b=1)
    sample = folders.sample(0)
    assert sample.a.shape == sample.b.shape == (1, 20, 24)
    with Image.open(sample.path_b) as image_b:
        expected = torch.from_numpy(np.array(image_b.convert("L"))).float() / 255
    assert torch.equal(sample.b[0], expected)


def test_a_sample_is_a_crop_of_pillows_picture_bit_for_bit(tmp_path):
    """From the file on, in the original's mode, with nothing of ours in between."""
    for domain in "ab":
        (tmp_path / domain).mkdir()
        for number in range(2):
            noise(ord(domain) + number, (31, 26)).save(tmp_path / domain / f"{number}.jpg")
    folders = UnpairedFolders(tmp_path / "a", tmp_path / "b", **SMALL, preprocess="square_and_crop")
    for k in range(20):
        sample = folders.sample(k)
        for path, pixels in ((sample.path_a, sample.a), (sample.path_b, sample.b)):
            with Image.open(path) as stored:
                square = stored.convert("RGB").resize((20, 20), Image.Resampling.BICUBIC)
            crops = [
                torch.from_numpy(np.array(square.crop((x, y, x + 16, y + 16)))).movedim(-1, 0) / 255
                for x in range(5)
                for y in range(5)
            ]
            assert any(torch.equal(pixels, c) or torch.equal(pixels.flip(-1), c) for c in crops)


# --- Which sample is which


def test_samples_depend_on_seed_and_number_only(dirs):
    folders, again = UnpairedFolders(*dirs, **SMALL), UnpairedFolders(*dirs, **SMALL)
    forward = [folders.sample(k, seed=7) for k in range(30)]
    backward = [again.sample(k, seed=7) for k in reversed(range(30))][::-1]
    assert all(map(same, forward, backward))
    assert names(forward) != names([folders.sample(k, seed=8) for k in range(30)])


def test_known_order():
    """The recipe that resuming rests on: change it, and saved runs go on differently."""
    assert data._shuffled(3, 0, 8) == (1, 4, 7, 2, 3, 6, 0, 5)
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


def test_paired_partners_have_the_same_index(dirs):
    a, b = dirs
    folders = UnpairedFolders(a, b, **SMALL, pairing="paired")
    pairs = set(names(folders.sample(k) for k in range(8)))
    assert pairs == {(f"{k % 5:03}.png", f"{k:03}.png") for k in range(8)}
    assert "5 in A and 8 in B" in str(folders.report())


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


# --- Damage


def test_damaged_files_are_skipped_and_named(dirs, caplog):
    a, b = dirs
    truncate(a / "001.png")
    (b / "003.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        folders = UnpairedFolders(a, b, **SMALL)
    assert len(folders.paths_a) == 4
    assert len(folders) == len(folders.paths_b) == 7
    report = folders.report()
    assert [path.name for path, _ in report.a.skipped] == ["001.png"]
    assert "skipped: 001.png is damaged or incomplete" in str(report)
    assert "skipped: 003.png is not a picture that Pillow can read" in str(report)
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


@pytest.mark.parametrize("verify_pixels", [0, data.VERIFY_PIXELS])
def test_pairs_stay_together_around_damage(dirs, monkeypatch, verify_pixels):
    a, b = dirs
    truncate(a / "001.png")
    truncate(b / "003.png")
    (b / "002.png").write_bytes(b"")
    monkeypatch.setattr(data, "VERIFY_PIXELS", verify_pixels)
    folders = UnpairedFolders(a, b, **SMALL, pairing="paired", max_images=5)
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
    k = next(k for k in range(8) if data._shuffled(0, 0, 8)[k] == 2)
    with pytest.raises(DatasetError) as caught:
        folders.sample(k)
    assert str(caught.value).startswith(
        f"A picture of domain A was changed or lost during the training: {lost} "
    )
    assert str(caught.value).endswith("; restore it and resume, or train on a copy.")


@pytest.mark.parametrize("pairing", ["random", "paired"])
def test_nothing_left_is_an_error(tmp_path, dirs, monkeypatch, pairing):
    monkeypatch.setattr(data, "VERIFY_PIXELS", 0)
    folder = fill(tmp_path / "c", 3)
    for path in folder.iterdir():
        truncate(path)
    folders = UnpairedFolders(folder, dirs[1], **SMALL, pairing=pairing)
    with pytest.raises(DatasetError, match=r"No picture in .*c can be decoded"):
        folders.sample(0)
    assert folders.report().a.num_images == 0


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
        f"{a} has only 3 pictures; below 100 the discriminator learns them by heart and "
        "results suffer."
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


@pytest.mark.skipif(not REAL.is_dir(), reason="the shared pictures are not there")
def test_real_pictures():
    folders = UnpairedFolders(REAL / "trainA", REAL / "trainB", preprocess="crop")
    report = folders.report()
    assert (report.a.num_images, report.b.num_images, len(folders)) == (300, 300, 300)
    assert report.a.smallest == report.b.largest == (256, 256)
    assert not report.a.skipped
    assert not report.b.skipped
    number = next(k for k in range(9999) if folders.sample(k).path_b.name == "n02391049_7503.jpg")
    zebra = folders.sample(number).b
    assert zebra.shape == (3, 256, 256)
    assert torch.equal(zebra[0], zebra[2])
