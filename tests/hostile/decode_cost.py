"""Measures the cost of decoding each file: `python -m tests.hostile.decode_cost FILE…`.

Prints two numbers for each as JSON: the bytes that were reserved, and those by which memory grew.
"""

import json
import multiprocessing
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from common.allowance import Allowance
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.images.memory_budget import MemoryBudget
from common.models.spec import Preprocessing
from tests.e2e.cost import forget_peak, peak
from tests.hostile.seeds import colours
from tests.variants import saved

PREPROCESSING = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
PATIENCE_S = 60


def decode(data: bytes) -> None:
    """Decode to the size of the large models."""
    prepare(data, PREPROCESSING, DecodeLimits(), Allowance.lasting(PATIENCE_S))


def warm_up() -> None:
    decode(saved(colours("RGBA"), "PNG"))


def measure(path: str) -> tuple[int, int]:
    """Bytes reserved, and bytes by which memory grew. Every budget of this process is noted."""
    data = Path(path).read_bytes()
    warm_up()  # a fork maps a library's pages only when they are used
    reserved: list[int] = []
    reserve = MemoryBudget.reserve

    def note(budget: MemoryBudget, count: int, deadline: float) -> AbstractContextManager[None]:
        reserved.append(count)
        return reserve(budget, count, deadline)

    MemoryBudget.reserve = note  # type: ignore[assignment, method-assign]
    before = forget_peak(os.getpid())
    decode(data)
    return reserved[0], peak(os.getpid()) - before


if __name__ == "__main__":
    warm_up()
    # One process for each file, all forked from this one, which has paid for the imports.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps(pool.map(measure, sys.argv[1:], chunksize=1)))
