"""What settings have to be; what is wrong with one is said in a sentence."""

from __future__ import annotations

import difflib
import math
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from .errors import DatasetError

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = sys.float_info.max
"""NaN, infinity, and whole numbers that no float can hold are not up to it."""


def check_int(name: str, value: object, *, least: int) -> None:
    """A whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")


def check_bool(name: str, value: object) -> None:
    """True or false, and nothing that only counts as that."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false; got {value!r}.")


WorkSize = int | Literal["auto"]
"""Pixels of a picture's short side while a network works on it; 0 leaves it, auto is the model's
choice."""


def check_work_size(value: object) -> None:
    """A number of pixels, 0 for the picture's own, or auto."""
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError(
            f"work_size must be a whole number of pixels from 0 up, or 'auto'; got {value!r}."
        )


def check_range(name: str, value: object) -> None:
    """A pair of finite numbers, the lower one first."""
    if (
        not isinstance(value, (tuple, list))
        or len(value) != 2
        or not all(isinstance(end, (int, float)) and abs(end) <= _LARGEST for end in value)
        or not value[0] < value[1]
    ):
        raise ValueError(f"{name} must be (low, high) with low < high; got {value!r}.")


def check_float(name: str, value: object, *, low: float, high: float = math.inf) -> None:
    """A finite number from `low` to `high`."""
    if (
        not isinstance(value, (int, float))
        or isinstance(value, bool)
        or not abs(value) <= _LARGEST
        or not low <= value <= high
    ):
        bounds = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
        raise ValueError(f"{name} must be a number {bounds}; got {value!r}.")


_OVERSHOOT = 0.5
"""How far pictures may lie outside [0,1]. Bicubic resampling goes up to 0.45 beyond (the square of
its largest sum of positive weights, 1.19), while hardly a picture in [-1,1] has no pixel darker
than a quarter of white, and none in [0,255] but black ones stays below 1.5."""


def check_unit_range(name: str, pixels: Tensor) -> None:
    """Pictures in [0,1], or a little outside as resampling leaves them; not in another range.

    What is not finite is not looked at here. It costs two reductions, and waits for the device
    once.
    """
    if not pixels.numel():
        return
    import torch  # which is there already, for these are tensors

    # `aminmax` copies what is strided.
    low, high = torch.stack([pixels.amin(), pixels.amax()]).tolist()
    if not math.isfinite(low) or not math.isfinite(high):
        return
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        return
    made = {"/ 2 + 0.5": -1 - _OVERSHOOT <= low < 0 and high <= 1 + _OVERSHOOT, "/ 255": low >= 0}
    how = next((f": give {name} {how}" for how, fits in made.items() if fits), "")
    raise ValueError(f"{name} must be in [0,1], and these go from {low:.3g} to {high:.3g}{how}.")


def check_fields(config: Any) -> None:  # noqa: ANN401 - any dataclass
    """Every field holds what it may.

    Of a `Literal` it is one of its words, of a bool true or false; of a number it is in the range
    that the class has for it in `ranges`, or None where the type has that.
    """
    hints = _hints(type(config))
    ranges: Mapping[str, tuple[float, float]] = config.ranges
    for item in fields(config):
        name, hint, value = item.name, hints[item.name], getattr(config, item.name)
        options = get_args(hint) or (hint,)
        if get_origin(hint) is Literal:
            if value not in options:
                raise ValueError(f"{name} must be one of {', '.join(options)}; got {value!r}.")
        elif hint is bool:
            check_bool(name, value)
        elif name in ranges and not (value is None and type(None) in options):
            low, high = ranges[name]
            if int in options:
                check_int(name, value, least=int(low))
            else:
                check_float(name, value, low=low, high=high)


@cache
def _hints(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields, which take longer to find than to check."""
    return get_type_hints(kind)


def check_known(kind: type, values: Mapping[str, Any]) -> None:
    """No key of `values` is something else than a field of the dataclass `kind`."""
    unknown = sorted(set(values) - {item.name for item in fields(kind)})
    if unknown:
        raise ValueError(
            f"unknown setting {', '.join(map(repr, unknown))}; it may come from a newer version."
        )


def check_data_folder(folder: Path, domain: str | None = None) -> None:
    """A folder of training pictures, of a domain if any; what it holds is not looked at.

    Raises:
        DatasetError: it does not exist, or is a file.
    """
    whose = f"domain {domain}'s " if domain else "the "
    if not os.path.exists(folder):  # noqa: PTH110 - which takes a name that can't be for none
        raise DatasetError(f"{folder} does not exist; check the path of {whose}folder.")
    if not folder.is_dir():
        raise DatasetError(f"{folder} is a file; name the folder of {whose}pictures.")


def closest(word: str, known: Iterable[str]) -> str | None:
    """Which of the known words may be meant by a mistyped one; None if none is like it."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.7)
    return near[0] if near else None
