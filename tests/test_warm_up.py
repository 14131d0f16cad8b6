"""Calls that came while a tower loaded are refused by their deadline alone, not as an overload."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from common.allowance import Allowance
from common.batcher import BatchLimits, Job
from common.errors import ModelUnavailable, Overloaded
from common.models.spec import Pixels, TokenIds
from common.models.tower import Tower
from common.models.warm_up import WarmUp
from tests.fake_encoders import FakeImage, FakeText

SOON_S = 30.0
LONG_S = 10.0  # a wait for a thread that is an overload unless a load explains it
ITEM = np.zeros(3, np.int64)


class Towers:
    """A warm text tower with one job in its queue, and an image tower that waits for `gate`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.failure: Exception | None = None
        self.text_encoder = FakeText()
        warm_up, limits = WarmUp(), BatchLimits(max_batch_size=1)
        self.text: Tower[FakeText, TokenIds] = Tower(
            "text", lambda: self.text_encoder, limits, len, warm_up=warm_up
        )
        self.image: Tower[FakeImage, Pixels] = Tower(
            "image", self.load_image, limits, warm_up=warm_up
        )
        self.text.wait(SOON_S)
        self.encode(5)
        self.text_encoder.gate.clear()
        self.open().put(0, ITEM)

    def load_image(self) -> FakeImage:
        assert self.gate.wait(SOON_S)
        if self.failure:
            raise self.failure
        return FakeImage()

    def encode(self, count: int) -> None:
        job = self.open(count)
        for place in range(count):
            job.put(place, ITEM)
        assert all(row is not None for row in job.wait(time.monotonic() + SOON_S))

    def open(self, count: int = 1, allowance: Allowance | None = None) -> Job[TokenIds]:
        return self.text.open_job(count, allowance or Allowance.lasting(60))


def waited(ago_s: float = 0.0) -> Allowance:
    """A call that the service started on `ago_s` ago, after a wait of LONG_S."""
    allowance = Allowance.lasting(60, waited_s=LONG_S)
    return replace(allowance, started=allowance.started - ago_s)


def later() -> Allowance:
    """The same for a call that arrives after all that has happened so far."""
    return waited(ago_s=-2 * LONG_S)


def test_without_a_load_a_long_wait_is_an_overload() -> None:
    with pytest.raises(Overloaded):
        Towers().open(allowance=later())


@pytest.mark.parametrize("failure", [None, ModelUnavailable("no weights")])
def test_calls_that_came_while_the_other_tower_loaded_are_admitted(
    failure: Exception | None,
) -> None:
    towers = Towers()
    towers.failure = failure
    towers.image.start_loading()
    towers.open(allowance=later())
    towers.gate.set()
    wait_until(lambda: towers.image.encoder is not None or bool(towers.image.failure))
    wait_until(lambda: not any(thread.name == "load-image" for thread in threading.enumerate()))
    towers.open(allowance=waited())
    with pytest.raises(Overloaded):
        towers.open(allowance=later())


def test_a_first_batch_counts_as_a_part_of_the_load() -> None:
    towers = Towers()
    towers.gate.set()
    towers.image.wait(SOON_S)
    between = replace(Allowance.lasting(60), started=time.monotonic() + LONG_S, waited_s=LONG_S)
    while time.monotonic() <= between.arrived:
        threading.Event().wait(0.001)
    with pytest.raises(Overloaded):
        towers.open(allowance=between)
    job = towers.image.open_job(1, Allowance.lasting(60))
    job.put(0, np.zeros((8, 8, 3), np.uint8))
    assert job.wait(time.monotonic() + SOON_S)[0] is not None
    towers.open(allowance=between)


def test_a_call_that_would_miss_its_deadline_is_refused_during_a_load_too() -> None:
    towers = Towers()
    towers.image.start_loading()
    with pytest.raises(Overloaded):
        towers.text.open_job(1, Allowance.lasting(0), cost=10**9)
    towers.gate.set()


def test_the_first_batch_says_nothing_about_the_speed_of_later_ones() -> None:
    encoder = FakeText()
    tower: Tower[FakeText, TokenIds] = Tower("text", lambda: encoder, BatchLimits(), len)
    encoder.gate.clear()
    tower.wait(SOON_S)
    first = tower.open_job(1, Allowance())
    first.put(0, ITEM)
    encoder.gate.set()
    first.wait(time.monotonic() + SOON_S)
    encoder.gate.clear()
    tower.open_job(1, Allowance()).put(0, ITEM)
    tower.open_job(1, Allowance.lasting(1), cost=10**12)  # at any speed too much
    encoder.gate.set()


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < until
        threading.Event().wait(0.001)
