"""The seconds, the processor time and the memory of a command with all its processes."""

import resource
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

EVERY_S = 0.5  # reading the memory of a process stops it for milliseconds
KIB = 1024


@dataclass(frozen=True)
class Usage:
    """Of one command. `peak_mb` is shared among processes fairly (PSS), summed over all of them.

    `first_s` is when the awaited file appeared.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    first_s: float = 0.0


def measure(
    command: Sequence[object],
    environ: Mapping[str, str] | None = None,
    awaited: Callable[[], bool] = lambda: True,
) -> Usage:
    """Run a command to its end. Raises RuntimeError with its last lines if it fails."""
    before, started = _cpu_s(), time.monotonic()
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append((process.stderr or [""]).read()))  # type: ignore[union-attr]
    reader.start()
    peak, first = 0.0, 0.0
    while process.poll() is None:
        peak = max(peak, _pss_mb(process.pid))
        if not first and awaited():
            first = time.monotonic() - started
        time.sleep(EVERY_S)
    wall = time.monotonic() - started
    reader.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]} …: {said[0][-2000:]}")
    return Usage(wall, _cpu_s() - before, peak, first or wall)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _pss_mb(pid: int) -> float:
    """The memory of a process and of all below it; 0 if it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        own = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        children = [
            child
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0.0
    return own / KIB + sum(_pss_mb(int(child)) for child in children)
