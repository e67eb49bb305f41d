"""Which pictures are compared, which are partners, and how they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core import DatasetError, PictureError
from cyclegan_core.evaluation.folders import Folders, MeanPicture, PictureReader, as_written, spread

from .samples import fill, pixels, smooth


def test_partners_have_one_name_and_any_ending(tmp_path) -> None:
    a, b = fill(tmp_path / "a", 3, 1), fill(tmp_path / "b", 3, 2, suffix=".jpg")
    fill(a / "more", 1, 3)
    fill(b / "more", 1, 4, suffix=".bmp")
    smooth(1).save(a / "alone.png")
    smooth(1).save(b / "000.x.png")  # a dot in a name is no ending
    found = Folders.list(a, b, paired=True)
    assert [path.relative_to(a).as_posix() for path in found.a] == [
        *("000.png", "001.png", "002.png", "more/000.png"),
    ]
    assert [path.relative_to(b).as_posix() for path in found.b] == [
        *("000.jpg", "001.jpg", "002.jpg", "more/000.bmp"),
    ]
    assert (found.num_alone, found.names_agree) == (2, False)


def test_unpaired_folders_need_nothing_in_common(tmp_path) -> None:
    a, b = fill(tmp_path / "a", 2, 1), fill(tmp_path / "b", 3, 2)
    found = Folders.list(a, b, paired=False)
    assert (len(found.a), len(found.b), found.names_agree) == (2, 3, False)
    fill(a, 3, 1, suffix=".webp")
    assert Folders.list(a, b, paired=False).names_agree  # 000 to 002, whatever the ending


def test_folders_without_pairs_are_refused(tmp_path) -> None:
    a, b = fill(tmp_path / "a", 2, 1), tmp_path / "b"
    b.mkdir()
    smooth(1).save(b / "other.png")
    with pytest.raises(DatasetError, match="have no names in common, so there are no pairs"):
        Folders.list(a, b, paired=True)
    smooth(1).save(a / "001.jpg")
    with pytest.raises(DatasetError, match=r"has 001\.\w+ and 001\.\w+, so it is not clear"):
        Folders.list(a, b, paired=True)
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        Folders.list(a, tmp_path / "nowhere", paired=False)


@pytest.mark.parametrize(
    ("count", "most", "kept"),
    [(5, None, (0, 1, 2, 3, 4)), (5, 5, (0, 1, 2, 3, 4)), (5, 2, (0, 2)), (10, 3, (0, 3, 6))],
)
def test_a_part_is_evenly_spread(count, most, kept) -> None:
    assert spread(range(count), most) == kept


def test_pairs_stay_together_in_a_part(tmp_path) -> None:
    a, b = fill(tmp_path / "a", 7, 1), fill(tmp_path / "b", 7, 2)
    found = Folders.list(a, b, paired=True, most=3)
    assert (
        [p.name for p in found.a] == [p.name for p in found.b] == ["000.png", "002.png", "004.png"]
    )


def test_pictures_are_read_whole_or_by_their_short_side(tmp_path) -> None:
    path = tmp_path / "p.png"
    smooth(3, (50, 30)).save(path)
    whole = PictureReader(None)(path)
    np.testing.assert_allclose(whole.movedim(0, -1), pixels(path), atol=1e-7)
    half = PictureReader(15)(path)
    expected = Image.open(path).resize((25, 15), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(half.movedim(0, -1), np.asarray(expected) / 255, atol=1e-7)
    assert PictureReader(15).rule == "short side to 15 pixels, Pillow's bicubic, aspect kept"
    Image.new("L", (4, 4), 51).save(path)
    assert torch.equal(PictureReader(None)(path), torch.full((3, 4, 4), 51 / 255))


def test_partners_of_two_sizes_are_refused(tmp_path) -> None:
    smooth(1, (8, 6)).save(tmp_path / "a.png")
    smooth(1, (6, 8)).save(tmp_path / "b.png")
    with pytest.raises(DatasetError, match=r"has 8×6 pixels and its partner .*b\.png 6×8; give"):
        PictureReader(None).pair(tmp_path / "a.png", tmp_path / "b.png")


def test_a_damaged_picture_stops_the_evaluation(tmp_path) -> None:
    path = fill(tmp_path, 1, 1) / "000.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PictureError, match="is damaged or incomplete"):
        PictureReader(None)(path)


def test_the_mean_picture_is_the_mean(tmp_path) -> None:
    mean = MeanPicture()
    generator = torch.Generator().manual_seed(1)
    pictures = [torch.rand(3, 256, 256, generator=generator) for _ in range(3)]
    for picture in pictures:
        mean.add(picture)
    found = mean.at(256, 256)
    torch.testing.assert_close(found, torch.stack(pictures).mean(0), rtol=0, atol=1e-6)
    assert mean.at(10, 40).shape == (3, 10, 40)
    mean.add(torch.ones(3, 5, 9))
    assert mean.at(256, 256).mean() == pytest.approx(0.75 * found.mean().item() + 0.25, abs=1e-5)


def test_pixels_are_rounded_as_a_file_rounds_them() -> None:
    values = torch.tensor([-1, 0.4 / 255, 0.6 / 255, 1, 2])
    expected = torch.tensor([0, 0, 1 / 255, 1, 1])
    assert torch.equal(as_written(values), expected)
