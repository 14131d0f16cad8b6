"""The machine that a benchmark ran on."""

import os
import platform
from pathlib import Path

from common.machine import usable_cores


def machine() -> dict[str, object]:
    """Where this was measured."""
    info = Path("/proc/cpuinfo").read_text()
    name = next(
        (line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")),
        "",
    )
    flags = next((line.split() for line in info.splitlines() if line.startswith("flags")), [])
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    return {
        "cpu": name,
        "cores": usable_cores(),
        "instructions": [flag for flag in wanted if flag in flags],
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }
