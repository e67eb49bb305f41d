"""How much memory there is, and whether an error means that there was too little."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ..errors import CycleGANError

_OUT = (
    *("DefaultCPUAllocator", "bad_alloc", "Cannot allocate memory", "create a primitive"),
    *("out of memory", "ALLOC_FAILED"),  # Apple's GPUs and pinned memory; cuBLAS and cuDNN
)
"""In the messages of errors that have no class of their own."""


class OutOfMemoryError(CycleGANError, torch.OutOfMemoryError):
    """A GPU has too little memory; hosts that know torch's own error free what they can."""


def free_bytes(device: torch.device) -> int | None:
    """Bytes that can still be allocated on a device; None if there is no way to tell."""
    if device.type == "cuda":
        # One look at the statistics: each costs a tenth of a small picture's translation.
        statistics = torch.cuda.memory.memory_stats_as_nested_dict(device)
        reserved, allocated = (
            statistics.get(f"{name}_bytes", {}).get("all", {}).get("current", 0)
            for name in ("reserved", "allocated")
        )
        return torch.cuda.mem_get_info(device)[0] + reserved - allocated
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return _free_host_bytes() if device.type == "cpu" else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it is the memory of a GPU, of numpy, or of torch on the CPU that ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(w in str(error) for w in _OUT)


def _free_host_bytes() -> int | None:
    """The least of what the machine, a container's limit and the process's own limit leave."""
    figures = [_machine_free(), _container_free(), _process_free()]
    return min((figure for figure in figures if figure is not None), default=None)


def _machine_free() -> int | None:
    try:
        import psutil  # with the command line, and in the host
    except ModuleNotFoundError:
        return _field(Path("/proc/meminfo"), "MemAvailable:")
    return psutil.virtual_memory().available


def _container_free() -> int | None:
    """What a control group (a container's memory limit) leaves; pages of files can be dropped."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no such limit here; without one the file says "max"
        return None
    return max(0, limit - used + (_field(group / "memory.stat", "inactive_file") or 0))


def _process_free() -> int | None:
    """What `ulimit -v` leaves."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    used = _field(Path("/proc/self/status"), "VmSize:")
    return None if limit == resource.RLIM_INFINITY or used is None else max(0, limit - used)


def _field(path: Path, name: str) -> int | None:
    """A number of the kernel's `name number [kB]` files, in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if words and words[0] == name:
            return int(words[1]) * (1024 if words[-1] == "kB" else 1)
    return None
