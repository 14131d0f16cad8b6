"""Joins the items of concurrent callers, of any model, into batches and runs them in one thread."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.admission import Admission, Arrival
from common.errors import Cancelled, EncodingError, Overloaded
from common.observer import Observer

Item = TypeVar("Item")
Vector = NDArray[np.float32]  # (dimensions,)
Result = Vector | Exception | None  # None: not available yet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchLimits:
    """Bounds of a queue and of the batches taken from it.

    A batch has at most `max_batch_size` items. It is cut where the number of items times the length
    of the longest would pass `max_batch_cost`.
    """

    max_batch_size: int = 32
    max_queue_items: int = 32_768  # 16 calls of 2,048 texts, the largest that the function takes
    max_batch_wait_s: float = 0.0
    max_batch_cost: int | None = None
    burst_s: float = 0.25  # seconds of work that may arrive at once before it counts as overload


class Job(Generic[Item]):
    """The items of one caller: reserved places in the queue, one per item.

    The places may be filled in any order and from any thread.
    """

    def __init__(self, batcher: "MicroBatcher[Item]", size: int, cost: float) -> None:
        self.waiting: deque[tuple[int, Item]] = deque()
        self.cost = cost  # of the unsettled places; estimated for the items not yet put
        self.results: list[Result] = [None] * size
        self.abandoned = False
        self.queued_s = 0.0  # the longest time that an item waited for its batch
        self.encode_s = 0.0  # the time of all batches that held an item of this job
        self.batch_sizes: list[int] = []
        self._batcher = batcher
        self._put_at: float | None = None
        self._missing = size
        self._costs = [cost / size] * size if size else []
        self._complete = threading.Event()
        if not size:
            self._complete.set()

    def put(self, index: int, item: Item) -> None:
        """Queue `item` at place `index`."""
        self._batcher.enqueue(self, index, item)

    def settle(self, index: int, result: Vector | Exception) -> None:
        """Fill place `index` with its vector, or with the error that prevented one."""
        self._batcher.settle(self, index, result)

    def wait(self, deadline: float) -> list[Result]:
        """Wait for the results, in order of the places; None for those not ready by `deadline`.

        `deadline` is a monotonic instant.
        """
        left_s = max(0.0, deadline - time.monotonic())
        self._complete.wait(min(left_s, threading.TIMEOUT_MAX))
        self.abandon()
        return self.results

    def abandon(self) -> None:
        """Drop the items that still wait and end `wait`; does nothing to a complete job."""
        self._batcher.release(self)
        self._complete.set()

    def report(self, observer: Observer) -> None:
        """Tell the observer how long the items waited and ran, and in which batches."""
        observer.stage("queue", self.queued_s)
        observer.stage("encode", self.encode_s)
        observer.batches(self.batch_sizes)

    def mark_started(self, now: float, batch_size: int) -> None:
        """Note that a batch with items of this job is about to run."""
        self.queued_s = max(self.queued_s, now - (self._put_at or now))
        self.batch_sizes.append(batch_size)

    def mark_put(self, now: float) -> None:
        """Note when the first item was put."""
        self._put_at = self._put_at or now

    def set_cost(self, index: int, cost: float) -> float:
        """Set the cost of place `index`; returns the difference to its former cost."""
        difference = cost - self._costs[index]
        self._costs[index] = cost
        self.cost += difference
        return difference

    def mark_settled(self, index: int) -> float:
        """Note that place `index` is filled and costs 0 from now on; returns its former cost."""
        self._missing -= 1
        if self._missing == 0:
            self._complete.set()
        return -self.set_cost(index, 0.0)

    def mark_abandoned(self) -> None:
        """Refuse results from now on, and let the waiting caller go on at once."""
        self.abandoned = True
        self._complete.set()


Entry = tuple[Job[Item], int, Item]  # the job, the place in it, the item


class MicroBatcher(Generic[Item]):
    """Runs `encode` over batches in its own thread, which starts with the first job.

    An idle encoder takes the waiting items at once. Items that arrive while a batch runs form the
    next batch. It takes a fair share from each job, so that a caller with one text does not wait
    behind a caller with thousands.

    The thread survives every failure. If `encode` raises, or returns too few rows or rows that are
    not finite, the items are tried one by one. Only items that fail again get the error.
    """

    def __init__(
        self,
        name: str,
        encode: Callable[[Sequence[Item]], NDArray[np.float32]],
        limits: BatchLimits,
        length_of: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        self._name = name
        self._encode_batch = encode
        self._limits = limits
        self._length_of = length_of
        self._changed = threading.Condition()
        self._admission = Admission(limits.max_queue_items, limits.burst_s)
        self._jobs: deque[Job[Item]] = deque()  # the jobs with waiting items
        self._admitted: dict[Job[Item], int] = {}  # reserved places that are not settled
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def queue_items(self) -> int:
        """The number of reserved places that are not settled."""
        with self._changed:
            return sum(self._admitted.values())

    def cap(self, max_batch_size: int) -> None:
        """From now on, run batches of at most `max_batch_size`, if that is below the limit."""
        with self._changed:
            smaller = min(max_batch_size, self._limits.max_batch_size)
            self._limits = replace(self._limits, max_batch_size=smaller)

    def open(
        self,
        size: int,
        cost: float | None = None,
        deadline: float = math.inf,
        waited_s: float = 0.0,
        is_patient: bool = False,
        turned_away: int = 0,
    ) -> Job[Item]:
        """Reserve `size` places in the queue.

        `cost` estimates the sum of the items' lengths; without it, each item costs 1. The other
        arguments are explained in Arrival.
        Raises Overloaded if the items do not fit or would wait too long; Cancelled after `close`.
        """
        cost = float(size) if cost is None else cost
        job: Job[Item] = Job(self, size, cost)
        with self._changed:
            now = time.monotonic()
            arrival = Arrival(size, cost, deadline, now, waited_s, is_patient, turned_away)
            if self._closed:
                raise Cancelled(f"the {self._name} encoder was closed")
            taken = sum(self._admitted.values())
            queued = [other.cost for other in self._admitted]
            if refusal := self._admission.check(arrival, taken, queued):
                raise Overloaded(refusal.message, refusal.retry_after_s, refusal.lasts_s)
            self._admitted[job] = size
            # Not in __init__: the server forks after import, and threads do not survive a fork.
            if self._thread is None:
                name = f"{self._name}-encode"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()
        return job

    def close(self) -> None:
        """Abandon all jobs and end the thread after the batch that it runs."""
        with self._changed:
            self._closed = True
            jobs = list(self._admitted)
            self._changed.notify_all()
        for job in jobs:
            job.abandon()

    def enqueue(self, job: Job[Item], index: int, item: Item) -> None:
        """Queue an item of a job; called by Job.put."""
        with self._changed:
            if job.abandoned:
                return
            job.mark_put(time.monotonic())
            cost = float(self._length_of(item))
            self._admission.correct(job.set_cost(index, cost), cost)
            if not job.waiting:
                self._jobs.append(job)
            job.waiting.append((index, item))
            self._changed.notify_all()

    def settle(self, job: Job[Item], index: int, result: Vector | Exception) -> None:
        """Fill a place of a job; called by Job.settle and by the compute thread."""
        with self._changed:
            if job.abandoned or job.results[index] is not None:
                return
            job.results[index] = result
            self._admitted[job] -= 1
            self._admission.finish(job.mark_settled(index))

    def release(self, job: Job[Item]) -> None:
        """Drop a job's waiting items and free its places; called by Job.abandon."""
        with self._changed:
            job.mark_abandoned()
            if job.waiting:
                job.waiting.clear()
                self._jobs.remove(job)
            if self._admitted.pop(job, None):
                self._admission.finish(job.cost)

    def _work(self) -> None:
        busy = is_warm = False
        ended = 0.0  # when the batch before ended
        while True:
            with self._changed:
                was_backlogged = busy and bool(self._jobs)
                if not self._jobs:
                    busy = False
                    self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                if busy and self._limits.max_batch_wait_s:
                    self._changed.wait_for(self._batch_is_full, self._limits.max_batch_wait_s)
                started, batch = time.monotonic(), self._take()
                backlogged = bool(self._jobs)
            busy = True
            if batch:
                self._run(batch)
                # In a busy queue, the time between two batches belongs to the cost too.
                since, ended = ended if was_backlogged else started, time.monotonic()
                if is_warm:  # the first batch takes longer than later ones
                    cost = sum(self._length_of(item) for _, _, item in batch)
                    with self._changed:
                        self._admission.note_batch(cost, ended - since, backlogged, ended)
                is_warm = True

    def _batch_is_full(self) -> bool:
        return sum(len(job.waiting) for job in self._jobs) >= self._limits.max_batch_size

    def _take(self) -> list[Entry[Item]]:
        """Take the next batch, sorted by length and within the limits of size and cost.

        Each job in turn gives a fair share of it.
        """
        batch: list[Entry[Item]] = []
        while self._jobs and len(batch) < self._limits.max_batch_size:
            share = max(1, (self._limits.max_batch_size - len(batch)) // len(self._jobs))
            for _ in range(len(self._jobs)):
                job = self._jobs.popleft()
                room = self._limits.max_batch_size - len(batch)
                for _ in range(min(share, len(job.waiting), room)):
                    batch.append((job, *job.waiting.popleft()))
                if job.waiting:
                    self._jobs.append(job)
        batch.sort(key=lambda entry: self._length_of(entry[2]))
        fits = self._fitting(batch)
        for job, index, item in reversed(batch[fits:]):  # these come first in the next batch
            if not job.waiting:
                self._jobs.appendleft(job)
            job.waiting.appendleft((index, item))
        return batch[:fits]

    def _fitting(self, batch: Sequence[Entry[Item]]) -> int:
        """Count how many items of the batch, sorted by length, stay within the cost; at least 1."""
        fits, cost = len(batch), self._limits.max_batch_cost
        while cost and fits > 1 and fits * self._length_of(batch[fits - 1][2]) > cost:
            fits -= 1
        return fits

    def _run(self, batch: list[Entry[Item]]) -> None:
        started = time.monotonic()
        jobs = {id(job): job for job, _, _ in batch}.values()
        for job in jobs:
            job.mark_started(started, len(batch))
        results = self._encode(batch)
        seconds = time.monotonic() - started
        for job in jobs:
            job.encode_s += seconds
        for (job, index, _), result in zip(batch, results, strict=True):
            self.settle(job, index, result)

    def _encode(self, batch: list[Entry[Item]]) -> list[Vector | Exception]:
        try:
            vectors = self._encode_batch([item for _, _, item in batch])
            if len(vectors) != len(batch):
                found = f"{len(vectors)} vectors for {len(batch)} items"
                raise EncodingError(f"the {self._name} encoder returned {found}")
            if not np.isfinite(vectors).all():
                raise EncodingError(f"the {self._name} encoder returned a non-finite vector")
        except Exception as error:
            if len(batch) == 1:
                log.exception("an item could not be encoded")
                return [error]
            log.warning(
                "a batch could not be encoded; trying its items one by one",
                extra={"batch_size": len(batch), "cause": type(error).__name__},
            )
            return [result for entry in batch for result in self._encode([entry])]
        return list(vectors)
