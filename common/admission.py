"""Decides which requests may join a queue, by the time they would wait in it.

Pure: every instant is an argument, and nothing here locks or sleeps. Cost is the unit of work that
an encoder's time grows with: 1 for each token of a text, and 1 for each image.
"""

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

RATE_MEMORY = 0.9  # the share of the earlier batches' weight that remains after another batch
# The share of a request's time that its estimated wait may take. The rest covers estimation errors.
DEADLINE_SHARE = 0.8
STRETCH = 16  # under overload, a request waits for at most this multiple of its own work
# As many requests of like size may arrive at once without being overload. More would allow for more
# callers that wait for each answer, but a storm would be recognized later.
BURST = 40
TYPICAL_MEMORY = 0.95  # the weight of the earlier requests in the typical size of a request
BUSY_MEMORY_S = 1.0  # how long the share of busy time remembers
# An overload is remembered over an empty queue for so long after a refusal, if the encoder runs for
# this share of the time. A batch often takes the whole queue, and what comes meanwhile must not be
# taken for a first burst: it would make the next batch, and its wait, twice as long.
REMEMBER_S = 0.3
LIMIT_SHARE = 0.8
MIN_WAIT_S = 0.05  # a shorter wait is never refused
# The weight of work that is done. Above 1, so that a busy queue does not count as overload.
DRAIN = 1.1
# For ASCII text in CLIP's vocabulary. Other scripts take about one token per character.
CHARS_PER_TOKEN = 4
MAX_RETRY_AFTER_S = 59.0  # OpenAI's clients and the AI SDK ignore a Retry-After over a minute
MIN_JITTER_S = 2.0  # the retries of refused callers are spread over at least this time


def text_cost(texts: Sequence[str], context_length: int, is_padded: bool = False) -> float:
    """Estimate the number of tokens in `texts`, which is exact if each `is_padded` to the context.

    This takes about 0.3 µs per text, where the tokenizer takes 100 µs.
    """
    if is_padded:
        return float(context_length * len(texts))
    return sum(
        min(context_length, 2 + len(text) / (CHARS_PER_TOKEN if text.isascii() else 1))
        for text in texts
    )


def shared_cost(cost: float, queued: Iterable[float]) -> float:
    """The work to run before a job of `cost` is done, if all jobs share the encoder equally.

    Each job ahead takes as much of the encoder as this one, or less if it ends earlier.
    """
    return cost + sum(min(cost, other) for other in queued)


@dataclass(frozen=True)
class Arrival:
    """A request for `size` places in a queue. `deadline` and `now` are monotonic instants.

    `waited_s` is how long it waited before the service started on it. This counts towards an
    overload as far as this queue's encoder was busy in that time. An `is_patient` request is
    admitted under overload too, as long as its deadline can be met. `turned_away` counts earlier
    requests of the same cost that were refused without being asked for here.
    """

    size: int
    cost: float
    deadline: float
    now: float
    waited_s: float = 0.0
    is_patient: bool = False
    turned_away: int = 0


@dataclass(frozen=True)
class Refusal:
    """Why a request was refused, as a public `message`, and when to retry.

    `retry_after_s` is randomised, so that callers do not all come back at once. The same request
    would be refused for `lasts_s` seconds more, even if no other came.
    """

    message: str
    retry_after_s: float
    lasts_s: float


class Rate:
    """The seconds that one unit of cost takes: a mean over recent batches, weighted by cost."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._cost = 0.0

    @property
    def seconds_per_cost(self) -> float | None:
        """The mean time of one unit of cost; None before the first batch."""
        return self._seconds / self._cost if self._cost else None

    def note(self, cost: float, seconds: float) -> None:
        """Record that a batch of `cost` took `seconds`."""
        self._cost = self._cost * RATE_MEMORY + cost
        self._seconds = self._seconds * RATE_MEMORY + seconds


class BusyShare:
    """The share of the last second or so in which the encoder ran."""

    def __init__(self) -> None:
        self._share = 0.0
        self._at = 0.0

    def at(self, now: float) -> float:
        """The share at `now`, between 0 and 1."""
        return self._share * math.exp((self._at - now) / BUSY_MEMORY_S)

    def note(self, now: float, seconds: float) -> None:
        """Record a batch that ended at `now` and took `seconds`."""
        span_s = max(now - self._at, seconds)
        if span_s > 0:
            kept = math.exp(-span_s / BUSY_MEMORY_S)
            self._share = self._share * kept + (1 - kept) * seconds / span_s
        self._at = now


class OfferedWork:
    """The cost of the work that would be queued if nothing had been refused.

    It distinguishes overload from a busy queue. Callers who wait for each answer offer no more work
    than is done, so the level stays constant. At twice the rate of what is done it grows.
    """

    def __init__(self) -> None:
        self.level = 0.0

    def add(self, cost: float) -> None:
        """Count admitted work. `cost` is negative to correct an estimate that was too high."""
        self.level = max(0.0, self.level + cost)

    def add_refused(self, cost: float, burst: float) -> None:
        """Count refused work, which prolongs an overload but never lets it outlast the refusals.

        `burst` is the level at which overload begins.
        """
        self.level = max(self.level, min(self.level + cost, 2 * burst))

    def raise_to(self, level: float) -> None:
        """Count at least so much work."""
        self.level = max(self.level, level)

    def finish(self, cost: float) -> None:
        """Count work that was done or dropped."""
        self.add(-cost * DRAIN)

    def clear(self) -> None:
        """Forget everything, because nothing is queued."""
        self.level = 0.0


class Admission:
    """Admits or refuses requests to one queue, by its measured speed and the work offered to it."""

    def __init__(
        self,
        max_items: int,
        burst_s: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Bound the queue to `max_items` places.

        `burst_s` seconds of work may arrive at once before it counts as overload, or BURST requests
        if they take more.
        """
        self._max_items = max_items
        self._burst_s = burst_s
        self._jitter = jitter
        self._every = Rate()
        self._backlogged = Rate()
        self._offered = OfferedWork()
        self._busy = BusyShare()
        self._refused_at = -math.inf
        self._actual_cost = self._estimated_cost = 0.0  # of recent items
        self._typical_cost = 0.0  # a geometric mean, so that a few large requests move it little

    def note_batch(self, cost: float, seconds: float, backlogged: bool, now: float) -> None:
        """Record a batch that ended at `now`. `backlogged`: items had to wait for the next one.

        `seconds` counts from the end of the batch before, if items waited then.
        """
        self._busy.note(now, seconds)
        self._every.note(cost, seconds)
        if backlogged:
            self._backlogged.note(cost, seconds)

    def correct(self, difference: float, cost: float) -> None:
        """Record that an admitted item is of `cost`, which is `difference` more than estimated."""
        self._offered.add(difference)
        self._actual_cost = self._actual_cost * TYPICAL_MEMORY + cost
        self._estimated_cost = self._estimated_cost * TYPICAL_MEMORY + cost - difference

    def finish(self, cost: float) -> None:
        """Record that admitted work was done or dropped."""
        self._offered.finish(cost)

    def estimate_wait_s(self, cost: float, queued: Iterable[float]) -> float:
        """Estimate the seconds until a job of `cost` is done, given the costs of the `queued` jobs.

        The estimate is 0 before the first batch, when only the bound on items can refuse. It uses
        only batches that left a backlog, if there were any: batches of few items say little about
        full ones.
        """
        rate = self._backlogged.seconds_per_cost or self._every.seconds_per_cost or 0.0
        return rate * shared_cost(cost, queued)

    def check(self, arrival: Arrival, taken: int, queued: list[float]) -> Refusal | None:
        """Admit the request, and return None, or refuse it and say when to retry.

        `taken` counts the reserved places; `queued` holds the remaining cost of each job. An empty
        queue takes a job of any size, so that the largest request can always be served.
        """
        self._note_size(arrival.cost)
        if not taken and not self._is_overloaded(arrival.now):
            self._offered.clear()
        if arrival.turned_away:
            self._refused_at = arrival.now
        turned_away = arrival.turned_away * arrival.cost
        self._offered.add_refused(turned_away, self._burst(arrival.cost) if taken else 0.0)
        refusal = self._refusal(arrival, taken, queued) if taken else None
        if refusal is None:
            self._offered.add(arrival.cost)
            return None
        self._refused_at = arrival.now
        self._offered.add_refused(arrival.cost, self._burst(arrival.cost))
        return refusal

    def _is_overloaded(self, now: float) -> bool:
        """Whether an overload goes on while the queue is empty, because a batch took all of it."""
        return now - self._refused_at < REMEMBER_S and self._busy.at(now) > LIMIT_SHARE

    def _refusal(self, arrival: Arrival, taken: int, queued: list[float]) -> Refusal | None:
        too_many = taken + arrival.size - self._max_items
        if too_many > 0:
            drained = sum(queued) * min(1.0, too_many / taken)
            message = f"the queue is full: {taken:,} items wait, the limit is {self._max_items:,}"
            drained_s = self.estimate_wait_s(drained, ())
            return self._later(message, drained_s, drained_s)
        wait_s = self.estimate_wait_s(arrival.cost, queued)
        missing_s = wait_s - (arrival.deadline - arrival.now) * DEADLINE_SHARE
        if not arrival.is_patient:
            missing_s = max(missing_s, self._excess_s(arrival, wait_s))
        message = f"this request would wait for about {math.ceil(wait_s):,} s"
        return self._later(message, missing_s, wait_s) if missing_s > 0 else None

    def _later(self, message: str, missing_s: float, queued_s: float) -> Refusal:
        """A refusal that expects room in `missing_s`; it spreads retries over half that time.

        `queued_s` is the time of the queued work, after which nothing would be refused.
        """
        spread_s = max(MIN_JITTER_S, min(missing_s, MAX_RETRY_AFTER_S) / 2)
        retry_after_s = min(missing_s, MAX_RETRY_AFTER_S - spread_s) + spread_s * self._jitter()
        advice = f"try again in {max(1, math.ceil(retry_after_s))} s"
        return Refusal(f"{message}; {advice}", retry_after_s, min(missing_s, queued_s))

    def _excess_s(self, arrival: Arrival, wait_s: float) -> float:
        """How much longer a request would wait than is allowed under overload; 0 without one."""
        rate = self._every.seconds_per_cost
        if rate is None:
            return 0.0
        waited_s = arrival.waited_s * self._busy.at(arrival.now)
        self._offered.raise_to(waited_s / rate)  # so much work was ahead of it at least
        if arrival.cost + self._offered.level <= self._burst(arrival.cost):
            return 0.0
        allowed_s = max(MIN_WAIT_S, self.estimate_wait_s(STRETCH * arrival.cost, ()))
        return waited_s + wait_s - allowed_s

    def _burst(self, cost: float) -> float:
        """The offered work up to which a request of `cost` does not meet an overload."""
        rate = self._every.seconds_per_cost
        # Estimates can be far too low, as for digits. Then few callers must not look like many.
        low = self._actual_cost / self._estimated_cost if self._estimated_cost > 0 else 1.0
        like = BURST * max(cost, self._typical_cost) * max(1.0, low)
        return max(like, self._burst_s / rate if rate else 0.0)

    def _note_size(self, cost: float) -> None:
        earlier = self._typical_cost or cost
        self._typical_cost = earlier**TYPICAL_MEMORY * cost ** (1 - TYPICAL_MEMORY)
