"""What a PyTorch file's pickle would make, counted before torch makes it.

torch's safe reader runs no code, but it calls a few harmless functions with whatever arguments the
file names: `bytearray(10**11)`, `hex` of `hex` of `hex`, a tuple of the same tuple twice, thirty
times over. So the steps are followed here with lengths in the place of contents, and a file is
refused that would make much more than it holds.
"""

from __future__ import annotations

import pickletools
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

_MAKERS = frozenset(
    {
        "_codecs.encode",  # of bytes, which protocol 2 keeps as text
        "argparse.Namespace",
        "builtins.complex",
        "builtins.set",
        "collections.Counter",
        "collections.OrderedDict",
        "numpy._core.multiarray._reconstruct",  # those of numpy make nothing, see weight_file
        "numpy._core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy.dtype",
        "numpy.ndarray",
        "torch.Size",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch._tensor._rebuild_from_type_v2",
        *(
            f"torch._utils._rebuild_{kind}"
            for kind in (
                *("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state"),
                *("sparse_tensor", "qtensor"),
            )
        ),
    }
)
"""What may be called; of any other name torch takes the value only, or refuses the file."""
_META = "torch._utils._rebuild_meta_tensor_no_storage"
_DEEPEST = 50
"""Tuples in tuples: to hash one, Python calls itself as deep as it goes."""
_LARGEST = 100_000
"""Values in one tuple, those of the tuples in it included."""
_ENCODING = frozenset({"latin1", "latin-1"})


class WastefulError(Exception):
    """The pickle would make more than its size accounts for; the text names what."""


class HollowError(Exception):
    """The pickle holds a tensor without numbers, as the device `meta` has them."""


class UnsafeError(Exception):
    """The pickle calls what is no part of weights; the text is its name."""


@dataclass(slots=True, eq=False)
class _Value:
    """What lies on the stack: how long it is, and what else decides."""

    length: int = 1
    text: str | None = None
    """Of a short text."""
    name: str | None = None
    """Of a class or a function."""
    items: list[_Value] = field(default_factory=list["_Value"])
    """Of a tuple."""
    depth: int = 0
    """Tuples in tuples."""
    size: int = 1
    """Values in it, counted as often as they are met."""


_PLAIN = _Value()
_MARK = _Value()


def check_pickle(stream: IO[bytes], *, spare: int = 1_000_000) -> bool:
    """Follow one pickle to its end; the stream stands behind it then.

    Args:
        stream: from the pickle's first byte on.
        spare: how much it may make beyond ten times its own bytes.

    Returns:
        False if it was left in the middle, at what torch will refuse there.

    Raises:
        WastefulError: it would make far more than it holds.
        HollowError: it holds a tensor of which only the shape was stored.
        UnsafeError: it calls something that no weights need.
        ValueError, IndexError, KeyError, and so on: it makes no sense.
    """
    stack: list[_Value] = []
    memo: dict[int, _Value] = {}
    made = 0

    def pop_to_mark() -> list[_Value]:
        at = len(stack) - 1 - stack[::-1].index(_MARK)
        found = stack[at + 1 :]
        del stack[at:]
        return found

    begin = stream.tell()
    for opcode, argument, place in pickletools.genops(stream):
        op = opcode.name
        # Values.
        if op in ("PROTO", "STOP"):
            continue
        if op == "GLOBAL":
            name = _full_name(str(argument))
            stack.append(_Value(name=name))
        elif op in ("BINUNICODE", "SHORT_BINSTRING", "LONG1"):
            text = argument if isinstance(argument, str) else ""
            stack.append(_Value(len(text) or 1, text if len(text) < 20 else None))
        elif op in _PLAIN_OPS:
            stack.append(_PLAIN)
        elif op in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"):
            stack.append(_Value(0))
        elif op == "MARK":
            stack.append(_MARK)
        # Names for values, and values together.
        elif op in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif op in ("BINPUT", "LONG_BINPUT"):
            memo[int(argument or 0)] = stack[-1]
        elif op == "TUPLE" or op in _TUPLES:
            count = _TUPLES.get(op)
            items = pop_to_mark() if count is None else stack[len(stack) - count :]
            if count:
                del stack[-count:]
            stack.append(_tuple(items))
        elif op in ("APPEND", "APPENDS"):
            items = [stack.pop()] if op == "APPEND" else pop_to_mark()
            stack[-1].length += len(items)
        elif op in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if op == "SETITEM" else pop_to_mark()
            stack[-1].length += len(items) // 2
            made += sum(key.size - 1 for key in items[::2])  # which are hashed
        # Calls.
        elif op in ("REDUCE", "NEWOBJ"):
            arguments, function = stack.pop(), stack.pop()
            if function.name is None:
                raise WastefulError("a call of what is no function")
            _check_call(function, arguments.items)
            length = _sum(arguments.items)
            made += length
            stack.append(_Value(length))
        elif op == "BUILD":
            state = stack.pop()
            made += state.length + _sum(state.items)
        elif op == "BINPERSID":
            key = stack.pop()
            if key.items and key.items[0].text != "storage":
                return False  # nor has it other things that lie elsewhere
            if key.depth > 2 or key.size > _DEEPEST:
                raise WastefulError("the address of a storage")
            stack.append(_Value())
        else:
            return False  # torch's reader has no such step
        if made > 10 * ((place or 0) - begin) + spare:
            raise WastefulError("copies of what it holds once")
    return True


_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PLAIN_OPS = frozenset({"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT"})


def _full_name(argument: str) -> str:
    """The name as torch looks for it, which knows those of Python 2."""
    module, _, name = argument.partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


def _tuple(items: list[_Value]) -> _Value:
    depth = 1 + max((item.depth for item in items), default=0)
    size = 1 + sum(item.size for item in items)
    if depth > _DEEPEST or size > _LARGEST:
        raise WastefulError("tuples in tuples")
    return _Value(len(items), items=items, depth=depth, size=size)


def _check_call(function: _Value, arguments: list[_Value]) -> None:
    """Refuse functions that make as much as they are told to, whatever they are given."""
    name = str(function.name)
    if name == _META:
        raise HollowError
    if name not in _MAKERS:
        is_sized = name == "builtins.bytearray" or re.fullmatch(r"torch\..*(Tensor|Storage)", name)
        raise (WastefulError if is_sized else UnsafeError)(name)
    if function.name == "_codecs.encode":
        encoding = arguments[1].text if len(arguments) == 2 else None
        if encoding not in _ENCODING:
            raise WastefulError(f"{function.name} to another encoding than latin1")
    if function.name == "torch._tensor._rebuild_from_type_v2":
        inner = arguments[0]
        if inner.name is None or not inner.name.startswith("torch._utils."):
            raise WastefulError(f"{inner.name} in {function.name}")
        _check_call(inner, arguments[2].items)


def _sum(items: Iterable[_Value]) -> int:
    return sum(item.length for item in items)
