"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from .errors import CycleGANError, reason


def atomic_write(
    path: Path,
    write: Callable[[Path], object],
    *,
    error_type: type[CycleGANError] = CycleGANError,
) -> None:
    """Let `write` make a file that then appears under `path` complete, or not at all.

    Args:
        path: the file; a link stays a link, and what it leads to is replaced.
        write: makes the file at the path it is given, which lies beside `path`.
        error_type: what is raised when it can't be written.

    Raises:
        error_type: the file can't be written; a file that was there stays as it was.
    """
    path = Path(os.path.realpath(path))  # keeps a link a link
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # some writers make a file that only its owner may read
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise error_type(
            f"{path.name} can't be written to {path.parent} ({reason(error)}); "
            "check that the folder exists, may be written to, and has space."
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
