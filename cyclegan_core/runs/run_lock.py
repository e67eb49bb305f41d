"""Who may write into a run folder: one process, over all machines that share it."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import CycleGANError
from ..files import atomic_write, check_links, make_folder, read_text

log = logging.getLogger(__name__)

OWNER_NAME = ".owner"
WRITTEN_FOLDERS = ("samples", "checkpoints")
"""Folders inside in which a training replaces and removes files."""
_SECONDS_TO_APPEAR = 60.0
"""A machine may remember for so long what lay in a shared folder (NFS: 60 s by default)."""


class RunLock:
    """The lock of a run folder, and beside it a file that says who holds it.

    The lock is the system's: it ends with its process. NFS 4 and cluster file systems hold it over
    machines, and free that of a machine that is gone after a while (NFS: 90 s). Storage without
    such locks may let two trainings in; then the later one's name is in the file, and the earlier
    one ends at its next save, before it writes anything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = FileLock(folder / ".lock")
        self._owner = folder / OWNER_NAME
        self.sign = f"process {os.getpid()} on {platform.node()} {secrets.token_hex(8)}"
        """What the file says while this one holds the lock: process, machine, a random number."""

    def take(self, *, wait: float = 0.0) -> None:
        """Make the folder and lock it.

        Args:
            wait: seconds to wait for another holder, who may just be ending.

        Raises:
            CycleGANError: another one holds it, it can't be written, or links lead out of it.
        """
        try:
            make_folder(self.folder)
            check_links(self.folder, *WRITTEN_FOLDERS)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                if wait > 0:
                    log.info("Waiting for another training that uses %s.", self.folder)
                self._lock.acquire(timeout=wait)
            text = f"{self.sign}\n"
            atomic_write(self._owner, lambda partial: partial.write_text(text, encoding="utf-8"))
        except Timeout:
            raise CycleGANError(
                f"Another training is using {self.folder}{_who(self.read())}; wait for it, or name "
                "another run."
            ) from None
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or "it knows no locks"
            raise CycleGANError(
                f"The run folder {self.folder} can't be used ({why}); name another one."
            ) from None

    def check(self) -> None:
        """Make sure, before writing, that nobody took the folder over.

        Raises:
            CycleGANError: somebody did.
        """
        if self.read() not in ("", self.sign):
            raise CycleGANError(
                f"Another training has taken over {self.folder}{_who(self.read())}, whose storage "
                "knows no locks between machines; this one ends without writing there."
            )

    def read(self) -> str:
        """Who holds the lock, as its `sign` says; empty if that is unknown."""
        try:
            return read_text(self._owner).rstrip("\n")
        except (OSError, ValueError):
            return ""

    def shows(self, sign: str) -> bool:
        """Whether this machine sees the folder whose holder, perhaps on another one, has `sign`."""
        is_near = _machine(sign) == platform.node()
        give_up = time.monotonic() + (0.0 if is_near else _SECONDS_TO_APPEAR)
        while not (is_seen := self.read() == sign) and time.monotonic() < give_up:
            time.sleep(1)  # nobody tells when another machine's file appears
        return is_seen

    def release(self) -> None:
        """Let go of it, if it is held."""
        if self._lock.is_locked:
            if self.read() == self.sign:
                with suppress(OSError):
                    self._owner.unlink()
            self._lock.release()


def _machine(sign: str) -> str:
    """The machine of a `sign`."""
    return sign.partition(" on ")[2].rpartition(" ")[0]


def _who(sign: str) -> str:
    """A `sign` for people, in brackets; nothing if it is empty."""
    return f" ({sign.rpartition(' ')[0]})" if sign else ""
