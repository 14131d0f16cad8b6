"""Calls that came while a tower loaded are refused by their deadline alone, not as an overload."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from common.allowance import Allowance
from common.batcher import BatchLimits, Job, MicroBatcher
from common.errors import ModelUnavailable, Overloaded
from common.models.spec import Pixels, TokenIds
from common.models.tower import Tower
from common.models.warm_up import WarmUp
from tests.fake_encoders import FakeImage, FakeText

SOON_S = 30.0
WAITED_S = 10.0  # what each call waited for a thread
ITEM = np.zeros(3, np.int64)
LIMITS = BatchLimits(max_batch_size=1)
COUNTED, EXCUSED = (WAITED_S, False), (0.0, True)


class RecordingQueue(MicroBatcher[TokenIds]):
    """Records how each job was announced: the wait that counts, and whether it is patient."""

    def open(
        self,
        size: int,
        cost: float | None = None,
        deadline: float = math.inf,
        waited_s: float = 0.0,
        is_patient: bool = False,
        turned_away: int = 0,
    ) -> Job[TokenIds]:
        self.announced = waited_s, is_patient
        return super().open(size, cost, deadline, waited_s, is_patient, turned_away)


class Towers:
    """A loaded text tower, and an image tower that loads once `gate` opens."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.failure: Exception | None = None
        warm_up = WarmUp()
        self.text: Tower[FakeText, TokenIds] = Tower("text", FakeText, LIMITS, len, warm_up=warm_up)
        self.image: Tower[FakeImage, Pixels] = Tower(
            "image", self.load_image, LIMITS, warm_up=warm_up
        )
        self.queue = RecordingQueue("text", FakeText().encode, LIMITS, len)
        self.text.batcher = self.queue
        self.text.wait(SOON_S)
        wait_until(lambda: not loads())

    def load_image(self) -> FakeImage:
        assert self.gate.wait(SOON_S)
        if self.failure:
            raise self.failure
        return FakeImage()

    def announced(self, arrived: float) -> tuple[float, bool]:
        """How a text call is announced that began to wait for a thread at `arrived`."""
        allowance = Allowance.lasting(60, waited_s=WAITED_S)
        self.text.open_job(1, replace(allowance, started=arrived + WAITED_S)).abandon()
        return self.queue.announced


def test_without_a_load_the_wait_for_a_thread_counts() -> None:
    assert Towers().announced(now_after()) == COUNTED


@pytest.mark.parametrize("failure", [None, ModelUnavailable("no weights")])
def test_calls_that_came_while_the_other_tower_loaded_are_excused(
    failure: Exception | None,
) -> None:
    towers = Towers()
    towers.failure = failure
    before = now_after()
    towers.image.start_loading()
    wait_until(lambda: bool(loads()))
    assert towers.announced(now_after()) == EXCUSED
    towers.gate.set()
    wait_until(lambda: not loads())
    assert towers.announced(before) == EXCUSED
    assert towers.announced(now_after()) == COUNTED


def test_a_first_batch_counts_as_a_part_of_the_load() -> None:
    towers = Towers()
    towers.gate.set()
    towers.image.wait(SOON_S)
    wait_until(lambda: not loads())
    between = now_after()
    assert towers.announced(between) == COUNTED
    for expected in (EXCUSED, COUNTED):
        after = now_after()
        job = towers.image.open_job(1, Allowance.lasting(60))
        job.put(0, np.zeros((8, 8, 3), np.uint8))
        assert job.wait(time.monotonic() + SOON_S)[0] is not None
        assert towers.announced(after if expected == COUNTED else between) == expected


def test_a_call_that_would_miss_its_deadline_is_refused_during_a_load_too() -> None:
    towers = Towers()
    for _ in range(3):  # the first batch says nothing about the speed
        job = towers.text.open_job(1, Allowance())
        job.put(0, ITEM)
        job.wait(time.monotonic() + SOON_S)
    towers.image.start_loading()
    towers.text.open_job(1, Allowance(), cost=10**12)
    with pytest.raises(Overloaded):
        towers.text.open_job(1, Allowance.lasting(0), cost=10**12)
    towers.gate.set()


def test_the_first_batch_says_nothing_about_the_speed_of_later_ones() -> None:
    encoder = FakeText()
    tower: Tower[FakeText, TokenIds] = Tower("text", lambda: encoder, BatchLimits(), len)
    tower.wait(SOON_S)
    first = tower.open_job(1, Allowance())
    first.put(0, ITEM)
    first.wait(time.monotonic() + SOON_S)
    encoder.gate.clear()
    tower.open_job(1, Allowance()).put(0, ITEM)
    tower.open_job(1, Allowance.lasting(1), cost=10**12)  # at any speed too much
    encoder.gate.set()


def loads() -> list[threading.Thread]:
    """The loads that run now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("load-")]


def now_after() -> float:
    """An instant after all that has happened so far."""
    before = time.monotonic()
    wait_until(lambda: time.monotonic() > before)
    return time.monotonic()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < until
        threading.Event().wait(0.001)
