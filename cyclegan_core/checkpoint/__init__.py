"""Weight files in and out: our own format and every foreign layout that can be recognised.

What looks at names and settings only (`folder`, `settings`) needs no torch, so this face does not
import the rest before it is asked for.
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .checkpoint import (
        Checkpoint,
        CheckpointInfo,
        inspect_checkpoint,
        read_checkpoint,
        write_checkpoint,
    )
    from .folder import SUFFIXES
    from .settings import Header, read_header
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        checkpoint=(
            "Checkpoint",
            "CheckpointInfo",
            "inspect_checkpoint",
            "read_checkpoint",
            "write_checkpoint",
        ),
        folder=("SUFFIXES",),
        settings=("Header", "read_header"),
    )

__all__ = [
    "SUFFIXES",
    "Checkpoint",
    "CheckpointInfo",
    "Header",
    "inspect_checkpoint",
    "read_checkpoint",
    "read_header",
    "write_checkpoint",
]
