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

_HOMES = {
    "SUFFIXES": "folder",
    "Checkpoint": "checkpoint",
    "CheckpointInfo": "checkpoint",
    "Header": "settings",
    "inspect_checkpoint": "checkpoint",
    "read_checkpoint": "checkpoint",
    "read_header": "settings",
    "write_checkpoint": "checkpoint",
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
