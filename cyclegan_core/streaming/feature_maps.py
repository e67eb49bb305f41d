"""Feature maps that are too large to be anywhere but stored: on the device, in RAM, on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from ..errors import CycleGANError, reason
from ..files import make_folder

Store = Literal["device", "host"] | Path
"""Where maps live: the weights' device, host RAM (pinned for CUDA), or files in a folder."""


Shape = tuple[int, int, int]
"""(C,H,W)"""


class StoredMap(Protocol):
    """A map (1,C,H,W) that is read and written in strips of rows, from the top down."""

    def read(self, top: int, bottom: int) -> Tensor:
        """Rows (1,C,bottom-top,W), channels last; the caller may change them, and loses them."""
        ...

    def write(self, top: int, rows: Tensor) -> None:
        """Put `rows` (1,C,h,W) at the rows from `top` on."""
        ...


class MapMemory(Protocol):
    """Memory in which maps lie, one after the other or, if none is needed any more, over it."""

    def map(self, shape: Shape, *, start: int = 0) -> StoredMap:
        """The map of `shape` that begins with the number `start` of this memory."""
        ...


class _TensorMemory:
    def __init__(self, count: int, like: Tensor, store: str) -> None:
        on_host = store == "host"
        self._device = like.device
        # Only such copies are in order with the device's own work, without waiting for any.
        self._is_pinned = on_host and like.device.type == "cuda"
        self._numbers = torch.empty(
            count,
            dtype=like.dtype,
            device="cpu" if on_host else like.device,
            pin_memory=self._is_pinned,
        )

    def map(self, shape: Shape, *, start: int = 0) -> StoredMap:
        channels, height, width = shape
        numbers = self._numbers[start : start + channels * height * width]
        rows = numbers.view(height, width, channels)
        return _TensorMap(rows, self._device, is_pinned=self._is_pinned)


class _TensorMap:
    def __init__(self, rows: Tensor, device: torch.device, *, is_pinned: bool) -> None:
        self._rows, self._device, self._is_pinned = rows, device, is_pinned

    def read(self, top: int, bottom: int) -> Tensor:
        return _as_strip(self._rows[top:bottom].to(self._device, non_blocking=self._is_pinned))

    def write(self, top: int, rows: Tensor) -> None:
        target = self._rows[top : top + rows.shape[2]]
        if target.data_ptr() != rows.data_ptr():  # else they were changed where they are
            target.copy_(_as_rows(rows), non_blocking=self._is_pinned)


class _FileMemory:
    def __init__(self, like: Tensor, folder: Path) -> None:
        self._like, self._folder = like, folder
        # Unlinked at once where the system can do that, deleted when closed elsewhere. Unbuffered,
        # so that closing has nothing left to write, which would fail again on a full disk.
        self._file: FileIO = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def close(self) -> None:
        self._file.close()

    def map(self, shape: Shape, *, start: int = 0) -> StoredMap:
        return _FileMap(shape, start, self._like, self._file, self._folder)


class _FileMap:
    def __init__(self, shape: Shape, start: int, like: Tensor, file: FileIO, folder: Path) -> None:
        self._shape, self._start, self._like = shape, start, like
        self._file, self._folder = file, folder

    def read(self, top: int, bottom: int) -> Tensor:
        channels, _, width = self._shape
        rows = torch.empty((bottom - top, width, channels), dtype=self._like.dtype)
        rest = _bytes(rows).numpy().data
        with self._reported():
            self._seek(top)
            while len(rest):
                count = self._file.readinto(rest)
                if not count:
                    raise OSError("a file is shorter than what was written to it")
                rest = rest[count:]
        return _as_strip(rows.to(self._like.device))

    def write(self, top: int, rows: Tensor) -> None:
        with self._reported():
            self._seek(top)
            rest = _bytes(_as_rows(rows).cpu().contiguous()).numpy().data
            while len(rest):
                rest = rest[self._file.write(rest) :]

    def _seek(self, top: int) -> None:
        channels, _, width = self._shape
        number = self._start + top * width * channels
        self._file.seek(number * self._like.element_size())

    @contextmanager
    def _reported(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise _scratch_error(self._folder, error) from None


@contextmanager
def map_memory(count: int, like: Tensor, store: Store) -> Generator[MapMemory]:
    """Memory for maps (1,C,H,W) of `count` numbers in all, with the dtype and device of `like`.

    A folder that doesn't exist is made, and removed afterwards; nothing stays in any.

    Raises:
        CycleGANError: the folder can't be written to, or its disk is full.
    """
    if not isinstance(store, Path):
        yield _TensorMemory(count, like, store)
        return
    with ExitStack() as stack:
        stack.enter_context(_folder(store))
        try:
            memory = _FileMemory(like, store)
        except OSError as error:
            raise _scratch_error(store, error) from None
        stack.callback(memory.close)
        yield memory


@contextmanager
def _folder(path: Path) -> Generator[None]:
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        make_folder(path)
    except OSError as error:
        raise _scratch_error(path, error) from None
    try:
        yield
    finally:
        with suppress(OSError):  # another translation is using it
            for folder in missing:
                folder.rmdir()


def _scratch_error(folder: Path, error: OSError) -> CycleGANError:
    return CycleGANError(
        f"The scratch folder {folder} can't hold the feature maps: {reason(error)}; "
        "name a folder on a disk with more room."
    )


def _as_strip(rows: Tensor) -> Tensor:
    """View stored rows (h,W,C) as a strip (1,C,h,W)."""
    return rows.permute(2, 0, 1)[None]


def _as_rows(strip: Tensor) -> Tensor:
    """View a strip (1,C,h,W) as rows (h,W,C), which is how maps are stored."""
    return strip[0].permute(1, 2, 0)


def _bytes(rows: Tensor) -> Tensor:
    return rows.view(-1).view(torch.uint8)
