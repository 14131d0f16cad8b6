"""Facts about the machine: its usable cores and the default folder of weights."""

import os
from pathlib import Path

# An absolute path, so that it does not depend on the working directory.
WEIGHTS_DIR = Path(__file__).resolve().parents[1] / "weights"


def usable_cores() -> int:
    """The number of CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
