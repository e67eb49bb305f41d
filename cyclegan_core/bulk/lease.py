"""One driver at a time: a file below the target that says who works there.

It is made so that only one can make it, and written anew every few seconds while its driver lives.
A second driver looks at it: on the same computer whether that process is alive, from another
whether it is still written, by what it sees and not by anybody's clock.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import CycleGANError
from .places import MISTAKES, Place, fault
from .worklist import FOLDER

NAME = f"{FOLDER}/lease.json"

SECONDS = 5.0
"""Between two times that it is written."""

PATIENCE = 6
"""Times as long without a word is a driver taken for dead."""


class Lease:
    """The driver's own; `check` says if it was lost."""

    def __init__(self, target: Place, seconds: float) -> None:
        self._target = target
        self._seconds = seconds
        self._id = secrets.token_hex(8)
        self._count = 0
        self._over = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._renew, daemon=True, name="lease")

    def content(self) -> bytes:
        """What the file holds now."""
        process = os.getpid()
        held = {"id": self._id, "count": self._count, "host": socket.gethostname()}
        held |= {"process": process, "began": _began(process)}
        return json.dumps(held).encode()

    def check(self) -> None:
        """Make sure that it is still ours.

        Raises:
            CycleGANError: another driver has it, or it can't be written.
        """
        if self._lost:
            raise CycleGANError(self._lost)

    def look(self) -> None:
        """As `check`, by what the file itself says now.

        Raises:
            CycleGANError: another driver has it, it is gone, or it can't be read or written.
        """
        self.check()
        held = _read(self._target)
        if not held:
            self._lost = (
                f"{self._target.shown(NAME)} is gone: somebody has deleted it, and results maybe, "
                "too. This driver stops; the same command goes on."
            )
        elif held.get("id") != self._id:
            self._lost = (
                f"Another driver has taken over {self._target.url}; this one stops. "
                "Pictures that both were at are the same."
            )
        self.check()

    def _renew(self) -> None:
        failures = 0
        while not self._over.wait(self._seconds):
            try:
                self.look()
                self._count += 1
                self._target.write_own(NAME, self.content())
                failures = 0
            except CycleGANError as error:
                if self._lost:
                    return
                failures += 1
                if failures >= PATIENCE:
                    self._lost = str(error)
                    return

    def start(self) -> None:
        """Write it from now on."""
        self._thread.start()

    def end(self) -> None:
        """Give it back."""
        self._over.set()
        self._thread.join()
        with suppress(Exception):
            if _read(self._target).get("id") == self._id:
                self._target.remove(NAME)


@contextmanager
def leased(
    target: Place, tell: Callable[[str], object], *, seconds: float = SECONDS
) -> Generator[Lease]:
    """Hold the lease of a target; what a dead driver left is taken over, and that is told.

    Args:
        target: where the results go.
        tell: takes a sentence.
        seconds: between two times that the lease is written.

    Raises:
        CycleGANError: another driver works there, or nothing can be written.
    """
    lease = Lease(target, seconds)
    if not _create(target, lease):
        _take_over(target, lease, tell, seconds)
    lease.start()
    try:
        yield lease
    finally:
        lease.end()


def _take_over(target: Place, lease: Lease, tell: Callable[[str], object], seconds: float) -> None:
    held = _read(target)
    host, process = held.get("host", "another computer"), held.get("process")
    if host == socket.gethostname() and isinstance(process, int):
        is_alive = _began(process) is not None and _began(process) == held.get("began")
    else:
        tell(f"{target.url} is leased to {host}; waiting to see whether that driver is alive.")
        end = time.monotonic() + PATIENCE * seconds
        while (now := _read(target)) == held and time.monotonic() < end:
            time.sleep(seconds / 2)
        is_alive = now != held
    if is_alive:
        raise CycleGANError(
            f"Another driver (process {process} on {host}) is filling {target.url}; wait for it, "
            "or stop it first."
        )
    if not _create(target, lease, instead_of=held):
        raise CycleGANError(f"Another driver has just begun to fill {target.url}; wait for it.")
    tell(f"The driver before (process {process} on {host}) is dead; its lease is taken over.")


def _create(target: Place, lease: Lease, instead_of: dict[str, Any] | None = None) -> bool:
    """Make the file, once what a dead driver left is gone; False if another driver was faster.

    Raises:
        CycleGANError: nothing can be written there.
    """
    try:
        if instead_of is not None and _read(target) == instead_of:
            target.remove(NAME)
        target.create(NAME, lease.content())
    except FileExistsError:
        return False
    except (CycleGANError, *MISTAKES):
        raise
    except Exception as error:  # noqa: BLE001 - each kind of store has its own
        raise CycleGANError(
            f"{target.url} can't be written to: {fault(error)}; choose another target."
        ) from None
    return True


def _read(target: Place) -> dict[str, Any]:
    """What the lease says; nothing if there is none, or half of one."""
    try:
        held = json.loads(target.read_own(NAME) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _began(process: int) -> str | None:
    """When a process of this computer began, which no other of its number did; None if it is gone.

    In ticks since the start of the computer, and of which start. Without /proc only whether.
    """
    try:
        with open(f"/proc/{process}/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
            boot = file.read().strip()
    except FileNotFoundError:
        if os.path.exists("/proc/self/stat"):  # noqa: PTH110
            return None
    else:
        return None if fields[0] in (b"Z", b"X") else f"{boot} {int(fields[19])}"
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "unknown"
