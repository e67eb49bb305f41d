"""Strips of pictures: tensors of any kind and arrays of bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cyclegan_core.pictures import to_image
from cyclegan_core.rows import ByteRows, TensorRows


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


def test_rows_of_bytes_are_read_and_rounded_as_picture_files_are() -> None:
    array = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)
    array.flags.writeable = False
    rows = ByteRows(array)
    assert rows.size == (3, 5, 4)
    wanted = torch.tensor(array[1:3].tolist()).movedim(-1, 0).float().div(255)
    assert torch.equal(rows.read(1, 3), wanted)
    result = np.zeros((5, 4, 3), np.uint8)
    pixels = noise(3, 5, 4) * 1.2 - 0.1
    sink = ByteRows(result)
    sink.write(0, pixels[:, :2])
    sink.write(2, pixels[:, 2:])
    assert np.array_equal(result, np.asarray(to_image(pixels)))


def test_grey_bytes_need_no_channel_axis() -> None:
    array = np.full((2, 3), 255, np.uint8)
    rows = ByteRows(array)
    assert rows.size == (1, 2, 3)
    assert torch.equal(rows.read(0, 2), torch.ones(1, 2, 3))
    rows.write(1, torch.zeros(1, 1, 3))
    assert array.tolist() == [[255] * 3, [0] * 3]


@pytest.mark.parametrize(
    "pixels", [torch.zeros(1, 3, 4, 4), torch.zeros(3, 0, 4), torch.zeros(3, 4, 4).byte()]
)
def test_what_is_no_tensor_of_a_picture(pixels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"must be a float tensor \(C,H,W\) .* got \("):
        TensorRows(pixels)


@pytest.mark.parametrize("shape", [(4,), (0, 4, 3), (1, 4, 4, 3)])
def test_what_is_no_array_of_a_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be a uint8 array \(H,W,C\) .* got \("):
        ByteRows(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="of float32"):
        ByteRows(np.zeros((4, 4, 3), np.float32))
