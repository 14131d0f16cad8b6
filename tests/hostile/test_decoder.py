"""For any bytes, the decoder soon gives pixels or one of its errors; its process may crash."""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from common.allowance import Allowance
from common.errors import DecodeError
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.machine import usable_cores
from common.models.spec import Preprocessing
from tests.hostile.seeds import seeds

LIMITS = DecodeLimits(max_pixels=4_000_000)
PREPROCESSING = Preprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SLOWEST_S = 30.0  # the decoder's own limit of 5 s, on a machine that may be busy
CASES_A_TASK = 250
LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """`data` with one to four things wrong."""
    wrong = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(wrong) or 1)
        kind = draw.randrange(7)
        if kind == 0:
            wrong[place : place + 1] = bytes([draw.randrange(256)])
        elif kind == 1 and wrong:
            wrong[place] ^= 1 << draw.randrange(8)
        elif kind == 2:
            wrong[place : place + 4] = draw.choice(LENGTHS).to_bytes(
                4, draw.choice(("big", "little"))
            )
        elif kind == 3:
            del wrong[place : place + draw.randint(1, 64)]
        elif kind == 4:
            wrong[place:place] = wrong[place : place + draw.randint(1, 200)] * draw.randint(1, 30)
        elif kind == 5:
            start = draw.randrange(len(other))
            wrong[place:place] = other[start : start + draw.randint(1, 200)]
        else:
            del wrong[place:]
    return bytes(wrong)


def decode_all(task: int) -> Counter[str]:
    """The outcomes of one task's cases.

    Raises AssertionError with the numbers that reproduce the case.
    """
    draw, files = random.Random(task), seeds()
    names, outcomes = sorted(files), Counter[str]()
    for case in range(CASES_A_TASK):
        name, other = draw.choice(names), draw.choice(names)
        data = mutated(files[name], files[other], draw)
        started = time.monotonic()
        try:
            pixels = prepare(data, PREPROCESSING, LIMITS, Allowance.lasting(90))
        except DecodeError as error:
            outcomes[error.code] += 1
        except Exception as error:
            raise AssertionError(f"task {task}, case {case}, {name}: {error!r}") from error
        else:
            assert pixels.shape == (32, 32, 3)
            assert pixels.dtype == np.uint8
            outcomes["decoded"] += 1
        assert time.monotonic() - started < SLOWEST_S, f"task {task}, case {case}, {name} is slow"
    return outcomes


def test_mutated_files_give_pixels_or_an_error_of_ours(effort: Callable[[int, int], int]) -> None:
    total = Counter[str]()
    with ProcessPoolExecutor(
        usable_cores()
    ) as pool:  # a crash of a decoder breaks the pool, not the test run
        for outcomes in pool.map(decode_all, range(effort(16, 400))):
            total += outcomes
    print(dict(total))
    assert total["decoded"] > total.total() // 20
    assert total["corrupt_image"] > total.total() // 20
