"""Decides which requests may join a queue, by the time that they would wait in it.

Pure: every instant is an argument, and nothing here locks or sleeps. Cost is what an encoder's time
grows with: tokens of texts, and 1 for each image.
"""

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

RATE_MEMORY = 0.9  # how much of the earlier batches' weight is left after one more batch
DEADLINE_SHARE = 0.8  # of a request's time that its estimated wait may take; the rest covers errors
STRETCH = 24  # under overload a request waits for at most this many times its own work
BURST = 32  # work that may arrive at once, in times a request's own, before it counts as overload
MIN_WAIT_S = 0.05  # a shorter wait is never refused
DRAIN = 1.1  # how fast offered work is forgotten; over 1, so that a busy queue is no overload
CHARS_PER_TOKEN = (
    4  # of ASCII text in CLIP's vocabulary; other scripts take about a token a character
)
MAX_RETRY_AFTER_S = 59.0  # OpenAI's clients and the AI SDK ignore a Retry-After of over a minute
MIN_JITTER_S = 2.0  # refused callers come back spread over at least so many seconds


def text_cost(texts: Iterable[str], context_length: int) -> float:
    """An estimate of the tokens in `texts`, in about 0.3 µs a text. The tokenizer takes 100 µs."""
    return sum(
        min(context_length, 2 + len(text) / (CHARS_PER_TOKEN if text.isascii() else 1))
        for text in texts
    )


def shared_cost(cost: float, queued: Iterable[float]) -> float:
    """The work until a job of `cost` is done, if all jobs get equal shares of the encoder.

    Each job ahead takes as much of the encoder as this one, or less if it ends earlier.
    """
    return cost + sum(min(cost, other) for other in queued)


@dataclass(frozen=True)
class Arrival:
    """A request for `size` places. `deadline` and `now` are monotonic instants.

    `waited_s` is the time that it has waited already, before anybody looked at it. An `is_patient`
    one is admitted under overload too, as long as its deadline can be met.
    """

    size: int
    cost: float
    deadline: float
    now: float
    waited_s: float = 0.0
    is_patient: bool = False


@dataclass(frozen=True)
class Refusal:
    """Why there is no room: `message` is public. `retry_after_s` differs from caller to caller."""

    message: str
    retry_after_s: float


class Rate:
    """Seconds that a unit of cost takes, as a mean over recent batches, weighted by their cost."""

    def __init__(self) -> None:
        self._seconds = self._cost = 0.0

    @property
    def seconds_per_cost(self) -> float | None:
        """None before the first batch."""
        return self._seconds / self._cost if self._cost else None

    def note(self, cost: float, seconds: float) -> None:
        """A batch of `cost` took `seconds`."""
        self._cost = self._cost * RATE_MEMORY + cost
        self._seconds = self._seconds * RATE_MEMORY + seconds


class OfferedWork:
    """The work that would be queued had nothing been refused, in cost.

    It tells overload from a queue that is merely busy: callers who wait for their answers offer no
    more than the encoder does, and this stays level; at twice the encoder's rate it grows.
    """

    def __init__(self) -> None:
        self._level, self._at = 0.0, 0.0

    def level(self, now: float, seconds_per_cost: float, waited_s: float = 0.0) -> float:
        """What is left of it at `now`. Who `waited_s` for a look had that much work ahead."""
        done = max(0.0, now - self._at) * DRAIN / seconds_per_cost
        self._level, self._at = max(waited_s / seconds_per_cost, self._level - done), now
        return self._level

    def add(self, cost: float) -> None:
        """Work that was admitted; negative if it turned out to be less than estimated."""
        self._level = max(0.0, self._level + cost)

    def add_refused(self, cost: float, burst: float) -> None:
        """Work that was refused: it keeps up an overload, which is over soon after the last of it.

        `burst` is the level from which it is one.
        """
        self._level = max(self._level, min(self._level + cost, 2 * burst))


class Admission:
    """One queue's memory of how fast it is served and how much is asked of it."""

    def __init__(
        self,
        max_items: int,
        burst_s: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`burst_s` of work may arrive at once before it counts as overload, or BURST if more."""
        self._max_items, self._burst_s, self._jitter = max_items, burst_s, jitter
        self._every, self._backlogged = Rate(), Rate()
        self._offered = OfferedWork()

    def note_batch(self, cost: float, seconds: float, backlogged: bool) -> None:
        """A batch ran; `backlogged` tells that other items had to wait for the next one."""
        self._every.note(cost, seconds)
        if backlogged:
            self._backlogged.note(cost, seconds)

    def correct(self, difference: float) -> None:
        """An admitted item costs so much more than estimated."""
        self._offered.add(difference)

    def estimate_wait_s(self, cost: float, queued: Iterable[float]) -> float:
        """Seconds until a job of `cost` is done beside those that are queued.

        0 before the first batch: then only the bound on items refuses. Batches that left a backlog
        count where there were any, since batches of few items say little about full ones.
        """
        rate = self._backlogged.seconds_per_cost or self._every.seconds_per_cost or 0.0
        return rate * shared_cost(cost, queued)

    def check(self, arrival: Arrival, taken: int, queued: list[float]) -> Refusal | None:
        """None to admit, else why not and when there should be room.

        `taken` counts the places that are reserved, `queued` has each job's remaining cost. An
        empty queue takes a job of any size, so that the largest request can always be served.
        """
        refusal = self._refusal(arrival, taken, queued) if taken else None
        if refusal is None:
            self._offered.add(arrival.cost)
            return None
        self._offered.add_refused(arrival.cost, self._burst(arrival.cost))
        return refusal

    def _refusal(self, arrival: Arrival, taken: int, queued: list[float]) -> Refusal | None:
        too_many = taken + arrival.size - self._max_items
        if too_many > 0:
            drained = sum(queued) * min(1.0, too_many / taken)
            message = f"the queue is full: {taken:,} items wait, the limit is {self._max_items:,}"
            return self._later(message, self.estimate_wait_s(drained, ()))
        wait_s = arrival.waited_s + self.estimate_wait_s(arrival.cost, queued)
        missing_s = wait_s - self._allowed_s(arrival)
        message = f"this request would wait for about {math.ceil(wait_s):,} s"
        return self._later(message, missing_s) if missing_s > 0 else None

    def _later(self, message: str, missing_s: float) -> Refusal:
        """There should be room in `missing_s`; callers come back spread over half as long again."""
        spread_s = max(MIN_JITTER_S, min(missing_s, MAX_RETRY_AFTER_S) / 2)
        retry_after_s = min(missing_s, MAX_RETRY_AFTER_S - spread_s) + spread_s * self._jitter()
        advice = f"try again in {max(1, math.ceil(retry_after_s))} s"
        return Refusal(f"{message}; {advice}", retry_after_s)

    def _allowed_s(self, arrival: Arrival) -> float:
        """The longest estimated wait with which this request is admitted."""
        time_s = (arrival.deadline - arrival.now) * DEADLINE_SHARE
        rate = self._every.seconds_per_cost
        if rate is None:
            return time_s
        offered = self._offered.level(arrival.now, rate, arrival.waited_s)
        if arrival.is_patient or arrival.cost + offered <= self._burst(arrival.cost):
            return time_s
        return min(time_s, max(MIN_WAIT_S, self.estimate_wait_s(STRETCH * arrival.cost, ())))

    def _burst(self, cost: float) -> float:
        """How much offered work is no overload yet to a request of `cost`."""
        rate = self._every.seconds_per_cost
        return max(BURST * cost, self._burst_s / rate if rate else 0.0)
