"""Strips of pictures: tensors of any kind and images of Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from cyclegan_core.pictures.picture_rows import ImageRows, to_image
from cyclegan_core.pictures.rows import TensorRows


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def test_rows_of_a_tensor_with_any_strides_and_precision() -> None:
    image = noise(9, 7, 3)  # as ComfyUI holds it
    rows = TensorRows(image.movedim(-1, 0))
    assert rows.size == (3, 9, 7)
    assert torch.equal(rows.read(2, 5), image[2:5].movedim(-1, 0))
    rows.write(4, torch.ones(3, 2, 7))
    assert torch.equal(image[4:6], torch.ones(2, 7, 3))
    assert not torch.equal(image[6], torch.ones(7, 3))
    half = TensorRows(noise(3, 4, 4).to(torch.bfloat16))
    assert half.read(0, 4).dtype == torch.float32
    half.write(0, torch.full((3, 1, 4), 0.3))
    assert half.read(0, 1)[0, 0, 0] == torch.tensor(0.3).bfloat16().float()
    assert TensorRows(noise(3, 4, 4).double()).read(0, 1).dtype == torch.float64


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_rows_of_an_image_are_read_and_rounded_as_picture_files_are(mode: str) -> None:
    channels = 1 if mode in ("L", "LA") else 3
    array = np.arange(5 * 4 * len(mode), dtype=np.uint8).reshape(5, 4, len(mode))
    rows = ImageRows(Image.fromarray(array.squeeze(-1) if mode == "L" else array))
    assert rows.size == (channels, 5, 4)
    wanted = torch.tensor(array[1:3, :, :channels].tolist()).movedim(-1, 0).float().div(255)
    assert torch.equal(rows.read(1, 3), wanted)
    assert torch.equal(rows.read(0, 5)[:, 1:3], wanted)


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_strips_written_to_an_image_are_one_picture(mode: str, channels: int) -> None:
    pixels = noise(channels, 5, 4) * 1.2 - 0.1
    sink = ImageRows(Image.new(mode, (4, 5)))
    sink.write(0, pixels[:, :2])
    sink.write(2, pixels[:, 2:])
    assert sink.image.tobytes() == to_image(pixels).tobytes()


@pytest.mark.parametrize(
    "pixels", [torch.zeros(1, 3, 4, 4), torch.zeros(3, 0, 4), torch.zeros(3, 4, 4).byte()]
)
def test_what_is_no_tensor_of_a_picture(pixels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be a float tensor \(C,H,W\) .* got \("):
        TensorRows(pixels)
