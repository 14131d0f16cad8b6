"""Measures the memory of the process and its machine, and returns freed memory to the system."""

import ctypes
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

# glibc may keep smaller blocks, such as the 1.2 MB of an ordinary image. Fresh pages for each image
# would cost 3 % of the throughput.
LARGE_BLOCK_BYTES = 2 * 2**20
_M_MMAP_THRESHOLD = -3  # of <malloc.h>
_LIMITS = (  # cgroups 2 and 1
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)
_STATM = Path("/proc/self/statm")


def instance_bytes(limits: Sequence[str] = _LIMITS) -> int:
    """The bytes of memory that this machine or container has."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, limits):
        text = path.read_text().strip() if path.exists() else ""
        found += [int(text)] if text.isdecimal() else []  # "max" means that there is no limit
    return min(found)


def resident_bytes() -> int:
    """The bytes of memory that the process holds now; without /proc, its peak so far."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS reports bytes, others KiB


def return_freed_memory() -> None:
    """Return freed memory to the system, which glibc does not do by itself.

    After a tower loads, this is about 20 MB.
    """
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another libc
        return


def keep_no_large_blocks() -> None:
    """Make glibc return freed blocks of at least LARGE_BLOCK_BYTES to the system at once.

    By default it learns to keep blocks of up to 32 MiB. A request's body and its copies would still
    take memory while its images are decoded.
    """
    try:
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    except (OSError, AttributeError):  # another libc
        return
