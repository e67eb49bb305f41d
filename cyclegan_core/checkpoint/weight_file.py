"""What kind of file holds the weights, and the tensors in it.

A file is recognised by its content, never by its name, and nothing in it is ever run. Everything
that can't hold a PyTorch network's weights is refused in one sentence.
"""

from __future__ import annotations

import argparse
import io
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import CheckpointError, reason
from ..files import check_file
from .pickles import HollowError, UnsafeError, WastefulError, check_pickle
from .refusals import describe_file, describe_zip
from .settings import CHECKSUM, FORMAT

if TYPE_CHECKING:
    from typing_extensions import Self

_Container = Literal["safetensors", "torch zip", "torch legacy"]
_LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""The number that every file of torch.save before version 1.6 starts with, as pickle writes it."""
_MAX_HEADER = 100_000_000
"""Bytes: safetensors' own limit for its header."""
_MAX_DEPTH = 8
"""Dictionaries inside dictionaries that are looked into; training states have three or four."""

_LONGEST_KEY = 500
"""Letters; each part of a nested dictionary's keys stands in the key of every tensor below."""
_MOST_COPIES, _SPARE = 4, 2**26
"""How often a file may use its bytes for tensors, and how many more there may be."""
_PICKLE = "/data.pkl"
_LEGACY_PICKLES = 5
"""Magic number, protocol, system, the content, and the keys of the storages."""

# What a damaged file makes the pickle, zip and tensor readers raise. MemoryError: a damaged length.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Weights:
    """The tensors of one file, nested dictionaries flattened to dotted keys."""

    tensors: dict[str, Tensor]
    """Dense tensors by key, on the CPU, or on the `meta` device if only headers were read."""
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    """The texts in a safetensors header."""


def read_weights(path: Path, *, headers_only: bool = False) -> Weights:
    """Read the tensors of a weight file; `headers_only` leaves safetensors data on the disk.

    The tensors may share memory with the file until they are cloned.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or of another format.
    """
    try:
        size = check_file(path).st_size
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; check the name and the folder.") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder; give a weight file inside it.") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path.name!r} can't be read ({reason(error)}); check its name and permissions."
        ) from None
    container = _container(path, head, size, headers_only=headers_only)
    if container == "safetensors":
        return _read_safetensors(path, headers_only=headers_only)
    is_zip = container == "torch zip"
    content = _read_torch(path, is_zip=is_zip, headers_only=headers_only)
    tensors = dict(_flatten(path, content))
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > (
        _MOST_COPIES * size + _SPARE
    ):
        raise _wasteful(path, "tensors larger than the file")
    return Weights(tensors)


def _container(path: Path, head: bytes, size: int, *, headers_only: bool) -> _Container:
    """Which of the readable kinds the file is; refuses all others, and damaged ones."""
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path, headers_only=headers_only)
        return "torch zip"
    if head[:1] == b"\x80" and _LEGACY_MAGIC in head[:32]:
        _check_protocol(path, head)
        with path.open("rb") as file:
            _check_pickles(path, file, _LEGACY_PICKLES)
        return "torch legacy"
    header_size = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header_size <= _MAX_HEADER:
        if header_size + 8 > size:
            raise _damaged(path)
        return "safetensors"
    raise CheckpointError(f"{path.name} {describe_file(head)}.")


def _check_zip(path: Path, *, headers_only: bool) -> None:
    """Refuse a zip file that torch.save did not write as it is, or whose bytes have changed."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _DAMAGE:
        raise _damaged(path) from None
    names = [member.filename for member in members]
    refusal = describe_zip(names)
    if refusal:
        raise CheckpointError(f"{path.name} {refusal}.")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(
            f"{path.name} is a PyTorch file that was zipped again with compression; "
            "load it with torch.load and save it with torch.save."
        )
    found = [m for m in members if m.filename.count("/") == 1 and m.filename.endswith(_PICKLE)]
    if len(set(names)) < len(names) or len(found) > 1:
        raise _damaged(path)
    (pickled,) = found
    # Whoever turned torch.save's checksums off has a 0 in the place of each.
    has_checksums = any(member.CRC for member in members)
    try:
        with path.open("rb") as file:
            content = b"".join(_stored(file, pickled))
            for member in [pickled] if headers_only else members:
                checksum = 0
                for part in _stored(file, member):
                    checksum = zlib.crc32(part, checksum)
                if has_checksums and checksum != member.CRC:
                    raise _changed(path)
    except _DAMAGE:
        raise _damaged(path) from None
    _check_protocol(path, content)
    _check_pickles(path, io.BytesIO(content), 1)


def _stored(file: IO[bytes], member: zipfile.ZipInfo) -> Iterator[bytes]:
    """The bytes of a member that is not compressed, in parts, whatever its checksum says."""
    file.seek(member.header_offset)
    header = file.read(30)
    name_length, extra_length = struct.unpack("<HH", header[26:])
    file.seek(name_length + extra_length, io.SEEK_CUR)
    left = member.file_size
    while left:
        part = file.read(min(left, 2**20))
        if not part:
            raise EOFError
        left -= len(part)
        yield part


def _check_pickles(path: Path, stream: IO[bytes], count: int) -> None:
    """Refuse pickles that would make much more than they hold."""
    try:
        for _ in range(count):
            if not check_pickle(stream):
                return
    except WastefulError as error:
        raise _wasteful(path, str(error)) from None
    except UnsafeError as error:
        raise _unsafe(path, str(error)) from None
    except HollowError:
        raise CheckpointError(
            f"{path.name} holds the shape of a tensor without its numbers (on PyTorch's device "
            "meta); save it again from the program that wrote it, with its weights loaded."
        ) from None
    except _DAMAGE:
        raise _damaged(path) from None


def _check_protocol(path: Path, content: bytes) -> None:
    """Refuse pickles that torch's safe reader does not know; torch.save's default is 2."""
    protocol = content[1] if content[:1] == b"\x80" and len(content) > 1 else 0
    if protocol not in (2, 3):
        raise CheckpointError(
            f"{path.name} was saved with pickle protocol {protocol}, which can't be read without "
            "running code; load it with torch.load and save it without `pickle_protocol`."
        )


def _read_safetensors(path: Path, *, headers_only: bool) -> Weights:
    """All tensors of a safetensors file, which is checked to be complete."""
    framework = "np" if headers_only else "pt"
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework=framework) as file:
            metadata: dict[str, str] = file.metadata() or {}
            for key in file.keys():  # noqa: SIM118 - it is no dictionary
                if headers_only:
                    entry = file.get_slice(key)
                    dtype = _SAFETENSORS_DTYPES.get(entry.get_dtype(), torch.uint8)
                    tensors[key] = torch.empty(entry.get_shape(), dtype=dtype, device="meta")
                else:
                    tensors[key] = file.get_tensor(key)
    except (SafetensorError, *_DAMAGE):
        raise _damaged(path) from None
    if metadata.get("format") == FORMAT and not headers_only:
        noted, found = metadata.get(CHECKSUM, ""), checksum(tensors)
        # A tool that casts or renames tensors keeps what the header says; that is no damage.
        if noted[:8] == found[:8] and noted != found:
            raise _changed(path)
    return Weights(tensors, metadata)


def checksum(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Two CRC-32 as hexadecimal digits: of names, kinds, shapes and `text`; and of the content.

    It finds damage, and is twice as fast as any cryptographic hash of the standard library; who
    wants to deceive us can write what they like in any case.
    """
    described, content = zlib.crc32(text.encode()), 0
    for name, tensor in sorted(tensors.items()):
        what = f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        described = zlib.crc32(what.encode("utf-8", "surrogatepass"), described)
        numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        content = zlib.crc32(numbers.numpy().data, content)
    return f"{described:08x}{content:08x}"


_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def _read_torch(path: Path, *, is_zip: bool, headers_only: bool) -> object:
    """What torch.save wrote, with every tensor on the CPU (or on `meta`); runs no code."""
    # torch.load takes a *path* that ends in .safetensors for that format; mapping needs a path.
    is_misnamed = path.suffix == ".safetensors"
    device = "meta" if headers_only and is_zip else "cpu"
    try:
        with (
            closing(path.open("rb")) as file,
            warnings.catch_warnings(),
            torch.serialization.safe_globals(_harmless_classes()),
        ):
            warnings.simplefilter("ignore")
            source: Path | IO[bytes] = file if is_misnamed or not is_zip else path
            # mmap: only what is used gets read, and a wrong length can't reach past the file.
            return torch.load(  # noqa: TID251 - the one place
                source, map_location=device, weights_only=True, mmap=source is path
            )
    except _DAMAGE as error:
        found = re.search(r"GLOBAL (\w+(?:\.\w+)+) ", str(error))
        if not found:
            raise _damaged(path) from None
    raise _unsafe(path, found.group(1))


def _harmless_classes() -> list[Any]:
    """What training scripts store beside the weights: options, and numpy's numbers and arrays."""
    functions, cores = ("scalar", "_reconstruct"), ("core", "_core")
    return [
        argparse.Namespace,
        (_Nothing, "numpy.ndarray"),
        (_Nothing, "numpy.dtype"),
        # numpy 2 moved them, and files of either version should be read by either.
        *((_Nothing, f"numpy.{core}.multiarray.{name}") for core in cores for name in functions),
    ]


class _Nothing:
    """Stands for numpy's numbers and arrays, which would be as large as their shape says."""

    def __new__(cls, *_: object) -> Self:
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Forget the numbers."""


def _flatten(path: Path, content: object) -> Iterator[tuple[str, Tensor]]:
    """Every dense tensor in nested dictionaries, lists and tuples, with its dotted key."""
    if isinstance(content, nn.Module):
        raise CheckpointError(f"{path.name} holds a module; save only its `state_dict()`.")
    stack: list[tuple[str, object, int]] = [("", content, 0)]
    seen: set[int] = set()  # a dictionary can hold itself
    while stack:
        key, value, depth = stack.pop()
        if isinstance(value, Tensor):
            if _is_dense(value):
                yield key, value.detach()
        elif depth < _MAX_DEPTH and isinstance(value, (Mapping, list, tuple)):
            if id(cast(object, value)) in seen:
                continue
            seen.add(id(cast(object, value)))
            held = cast("Mapping[object, object] | list[object]", value)
            items = list(held.items() if isinstance(held, Mapping) else enumerate(held))
            prefix = f"{key}." if key else ""
            stack.extend(
                (f"{prefix}{name}", item, depth + 1)
                for name, item in reversed(items)
                if isinstance(name, (str, int)) and len(str(name)) <= _LONGEST_KEY
            )


def _is_dense(tensor: Tensor) -> bool:
    """Whether the tensor owns as many numbers as its shape says (a stride of 0 would not)."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is damaged or was cut off ({path.stat().st_size:,} bytes are there); "
        "download or copy it again."
    )


def _changed(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is damaged: its content does not fit its checksum; download or copy it again."
    )


def _unsafe(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is a pickle of Python objects ({what}) that could run code, so it "
        "was not opened; in the program that wrote it, save only `model.state_dict()`."
    )


def _wasteful(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} would make much more than it holds ({what}), so it was not opened; in the "
        "program that wrote it, save only `model.state_dict()`."
    )
