"""Writing: rounded, clamped, with alpha where the format has it; all of a file or nothing."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cyclegan_core import PictureError, read_picture, write_picture

from .test_bad import as_ordinary_user
from .test_picture import SRGB

LOSSLESS = (".png", ".tif", ".tiff", ".bmp")
PIXELS = torch.rand(3, 9, 14, generator=torch.Generator().manual_seed(2))
ALPHA = torch.rand(1, 9, 14, generator=torch.Generator().manual_seed(4))


def levels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


@given(value=st.floats(-3, 3) | st.sampled_from([0.5 / 255, 1.5 / 255, 254.5 / 255, 1.02, -0.02]))
@settings(max_examples=60, deadline=None)
def test_levels_are_clamped_and_rounded(value: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_picture(Path(folder, "x.png"), torch.full((1, 1, 1), value))
        (level,) = levels(Path(folder, "x.png")).ravel()
    assert abs(int(level) - 255 * min(max(value, 0), 1)) <= 0.5 + 1e-5


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 3])
def test_there_and_back(suffix: str, channels: int, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix.upper()}"
    write_picture(path, PIXELS[:channels].requires_grad_())
    result = read_picture(path).pixels
    assert result.shape == (channels, 9, 14)
    assert (result - PIXELS[:channels]).abs().max() <= 0.5 / 255 + 1e-6
    write_picture(path, result)  # 8-bit levels survive exactly
    assert torch.equal(read_picture(path).pixels, result)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_files_are_close(suffix: str, tmp_path: Path) -> None:
    rows, columns = torch.meshgrid(
        torch.linspace(0, 1, 40), torch.linspace(0, 1, 60), indexing="ij"
    )
    smooth = torch.stack([rows, columns, 1 - rows])
    write_picture(tmp_path / f"x{suffix}", smooth)
    assert (read_picture(tmp_path / f"x{suffix}").pixels - smooth).abs().mean() < 0.01


@pytest.mark.parametrize("channels", [1, 3])
def test_alpha_where_the_format_has_it(channels: int, tmp_path: Path) -> None:
    for suffix in (".png", ".webp", ".tif", ".tiff"):
        write_picture(tmp_path / f"x{suffix}", PIXELS[:channels], alpha=ALPHA)
        alpha = read_picture(tmp_path / f"x{suffix}").alpha
        assert (alpha - ALPHA).abs().max() <= 0.5 / 255 + 1e-6
    for suffix in (".jpg", ".bmp"):
        write_picture(tmp_path / f"x{suffix}", PIXELS[:channels], alpha=ALPHA)
        picture = read_picture(tmp_path / f"x{suffix}")
        assert picture.alpha is None
        assert len(picture.pixels) == channels


def test_the_profile_is_written(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        write_picture(tmp_path / f"x{suffix}", PIXELS, icc_profile=SRGB)
        assert read_picture(tmp_path / f"x{suffix}").icc_profile == SRGB
    write_picture(tmp_path / "x.bmp", PIXELS, icc_profile=SRGB)  # has no place for it


def test_half_precision_pixels_on_any_device(tmp_path: Path) -> None:
    write_picture(tmp_path / "x.png", PIXELS.to(torch.bfloat16), alpha=ALPHA.double())
    assert read_picture(tmp_path / "x.png").alpha is not None


# --- all or nothing ----------------------------------------------------------------------------


def test_folders_are_made_and_files_have_ordinary_permissions(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "x.png"
    before = os.umask(0o027)
    try:
        write_picture(path, PIXELS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("suffix", "size", "expected"),
    [
        (
            ".webp",
            (1, 16384),
            "can't be written: .*exceeds WebP limit of 16383 pixels.*; choose another format",
        ),
        (".jpg", (1, 65501), r"can't be written: \w+.*; choose another format"),
    ],
)
def test_a_failed_write_leaves_the_old_file(
    suffix, size, expected: str, tmp_path: Path, capfd
) -> None:
    path = tmp_path / f"x{suffix}"
    write_picture(path, PIXELS)
    before = path.read_bytes()
    with pytest.raises(PictureError, match=expected) as caught:
        write_picture(path, torch.zeros(1, *size))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """Files may not grow beyond 20 kB for a moment, which writers see like a full disk."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "x.png"
    write_picture(path, PIXELS)
    before, noise = path.read_bytes(), torch.rand(3, 200, 200)  # 120 kB, which nothing compresses
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(PictureError, match="File too large; free some space or choose another"):
            write_picture(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "x.png")
    write_picture(tmp_path / "link.png", PIXELS)
    assert (tmp_path / "link.png").is_symlink()
    assert read_picture(tmp_path / "x.png").pixels.shape == PIXELS.shape


def test_what_is_not_written_when_interrupted(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "x.png"
    write_picture(path, PIXELS)
    before = path.read_bytes()

    def stop(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)  # the last moment at which it can happen
    with pytest.raises(KeyboardInterrupt):
        write_picture(path, 1 - PIXELS)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_endings_that_are_not_written(tmp_path: Path) -> None:
    for name in ("x.gif", "x", "x.safetensors"):
        with pytest.raises(PictureError, match=r"can't be written: use one of \.bmp, \.jpeg, "):
            write_picture(tmp_path / name, PIXELS)
    assert not list(tmp_path.iterdir())


def test_places_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.png").mkdir()
    for path, reason in [
        (tmp_path / "file" / "x.png", "file is a file, and no folder"),
        (tmp_path / "folder.png", "Is a directory"),
        (tmp_path / ("x" * 300 + ".png"), "File name too long"),
    ]:
        with pytest.raises(PictureError, match=f"written: {reason}; choose another") as caught:
            write_picture(path, PIXELS)
        assert str(path) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_folder_without_permission() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with as_ordinary_user(folder):
            with pytest.raises(PictureError, match="can't be written: Permission denied"):
                write_picture(folder / "x.png", PIXELS)
            with pytest.raises(PictureError, match="can't be written: Permission denied"):
                write_picture(folder / "new" / "x.png", PIXELS)


def test_a_batch_of_one_is_a_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "one.png", PIXELS, alpha=ALPHA)
    write_picture(tmp_path / "batch.png", PIXELS[None], alpha=ALPHA[None])
    assert (tmp_path / "batch.png").read_bytes() == (tmp_path / "one.png").read_bytes()


@pytest.mark.parametrize(
    ("pixels", "alpha", "sentence"),
    [
        (
            PIXELS.expand(2, -1, -1, -1),
            None,
            "one picture, and pixels are a batch of 2; write each",
        ),
        (PIXELS[:2], None, r"pixels must be \(C,H,W\) with C = 1 or 3; got \(2, 9, 14\)"),
        (PIXELS.movedim(0, -1), None, r"with C = 1 or 3; got \(9, 14, 3\)"),
        (PIXELS[0], None, r"with C = 1 or 3; got \(9, 14\)"),
        (PIXELS[None, :0], None, r"got \(1, 0, 9, 14\)"),
        (PIXELS.mul(255).byte(), None, r"float tensor \(C,H,W\) in \[0,1\]; got torch.uint8"),
        (PIXELS.numpy(), None, r"float tensor \(C,H,W\) in \[0,1\]; got ndarray"),
        (PIXELS, PIXELS, r"alpha must be \(C,H,W\) with C = 1; got \(3, 9, 14\)"),
        (PIXELS, ALPHA[:, 1:], "alpha must have the size of pixels, 14×9; got 14×8"),
    ],
)
def test_what_is_no_picture_is_a_sentence(pixels, alpha, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        write_picture(tmp_path / "x.png", pixels, alpha=alpha)
    assert not list(tmp_path.iterdir())
