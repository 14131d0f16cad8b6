"""Memory of this process and its machine."""

import ctypes
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

LARGE_BLOCK_BYTES = (
    2 * 2**20
)  # an ordinary picture's 1.2 MB stay: new pages for each cost 3 % of the pictures a second
_M_MMAP_THRESHOLD = -3  # of <malloc.h>
_LIMITS = (
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
)  # cgroups 2 and 1
_STATM = Path("/proc/self/statm")


def instance_bytes(limits: Sequence[str] = _LIMITS) -> int:
    """Bytes of memory that this machine or container has."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(Path, limits):
        text = path.read_text().strip() if path.exists() else ""
        found += [int(text)] if text.isdecimal() else []  # "max" means that there is no limit
    return min(found)


def resident_bytes() -> int:
    """Bytes of memory the process holds now; where /proc is missing, the most it ever held."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def return_freed_memory() -> None:
    """Give what a load has freed back to the system; glibc alone keeps it, some 20 MB a tower."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another libc
        return


def keep_no_large_blocks() -> None:
    """Let glibc give freed blocks of LARGE_BLOCK_BYTES and more back at once.

    By default it keeps those that it has seen before, up to 32 MiB each: a request's body and its copies would still be
    there while its picture is decoded.
    """
    try:
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
    except (OSError, AttributeError):  # another libc
        return
