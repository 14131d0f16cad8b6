"""MicroBatcher: joins callers, shares fairly, and survives failures of the encoder."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from common.batcher import BatchLimits, Job, MicroBatcher
from common.errors import EncodingError, Overloaded

SOON_S = 10.0


def soon() -> float:
    return time.monotonic() + SOON_S


def vector(item: int) -> NDArray[np.float32]:
    return np.array([item, 1], np.float32)


class GatedEncoder:
    """Encodes numbers; while the gate is shut, a batch waits inside `__call__`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.running = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: Sequence[int]) -> NDArray[np.float32]:
        self.batches.append(list(items))
        self.running.release()
        assert self.gate.wait(SOON_S)
        if 13 in items:
            raise ValueError("13 cannot be encoded")
        rows = np.stack([vector(item) for item in items])
        rows[[item == 99 for item in items]] = np.nan
        return rows[:-1] if 77 in items and len(items) > 1 else rows

    @contextmanager
    def held(self, batcher: MicroBatcher[int]) -> Iterator[None]:
        """While a batch with the item 0 runs and does not end."""
        self.gate.clear()
        job = batcher.open(1)
        job.put(0, 0)
        assert self.running.acquire(timeout=SOON_S)
        try:
            yield
        finally:
            self.gate.set()
            job.wait(soon())


def make(
    encoder: GatedEncoder, size: int = 4, queue: int = 100, cost: int | None = None
) -> MicroBatcher[int]:
    limits = BatchLimits(max_batch_size=size, max_queue_items=queue, max_batch_cost=cost)
    return MicroBatcher("test", encoder, limits, length_of=lambda item: item)


def submit(batcher: MicroBatcher[int], items: Sequence[int]) -> Job[int]:
    job = batcher.open(len(items))
    for index, item in enumerate(items):
        job.put(index, item)
    return job


def firsts(job: Job[int]) -> list[object]:
    return [result[0] if isinstance(result, np.ndarray) else result for result in job.wait(soon())]


def test_a_job_gets_its_vectors_in_the_order_of_its_places() -> None:
    batcher = make(GatedEncoder())
    job = batcher.open(3)
    for index in (2, 0, 1):
        job.put(index, index + 10)
    assert firsts(job) == [10, 11, 12]


def test_an_idle_engine_runs_what_is_there_at_once() -> None:
    encoder = GatedEncoder()
    assert firsts(submit(make(encoder), [5])) == [5]
    assert encoder.batches == [[5]]


def test_callers_that_wait_while_a_batch_runs_share_the_next_one() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder)
    with encoder.held(batcher):
        jobs = [submit(batcher, [item]) for item in (1, 2, 3)]
    assert [firsts(job) for job in jobs] == [[1], [2], [3]]
    assert encoder.batches == [[0], [1, 2, 3]]


def test_a_caller_with_one_item_does_not_wait_behind_a_caller_with_many() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder)
    with encoder.held(batcher):
        many = submit(batcher, list(range(1, 9)))
        one = submit(batcher, [9])
    assert firsts(one) == [9]
    assert firsts(many) == list(range(1, 9))
    assert 9 in encoder.batches[1]


def test_a_batch_is_sorted_by_length_and_cut_at_its_cost() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder, size=4, cost=12)
    with encoder.held(batcher):
        job = submit(batcher, [10, 2, 9, 3])
    assert firsts(job) == [10, 2, 9, 3]
    assert encoder.batches[1:] == [[2, 3], [9], [10]]


def test_an_item_that_fails_costs_its_neighbours_nothing() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder)
    with encoder.held(batcher):
        good, bad = submit(batcher, [1, 2]), submit(batcher, [13])
    assert firsts(good) == [1, 2]
    (error,) = bad.wait(soon())
    assert isinstance(error, ValueError)
    assert firsts(submit(batcher, [4])) == [4]


def test_a_vector_that_is_not_finite_is_an_error_of_its_item_alone() -> None:
    job = submit(make(GatedEncoder()), [99, 1])
    results = job.wait(soon())
    assert isinstance(results[0], EncodingError)
    assert isinstance(results[1], np.ndarray)


def test_too_few_vectors_are_an_error_not_a_hang() -> None:
    assert firsts(submit(make(GatedEncoder()), [77, 1])) == [
        77,
        1,
    ]  # one by one the encoder gives each


def test_a_full_queue_refuses_and_takes_again_when_it_has_emptied() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder, queue=3)
    with encoder.held(batcher):
        waiting = submit(batcher, [1, 2])
        with pytest.raises(Overloaded, match="3 items wait, the limit is 3"):
            batcher.open(1)
    assert firsts(waiting) == [1, 2]
    assert firsts(submit(batcher, [3, 4, 5])) == [3, 4, 5]


def test_an_empty_queue_takes_a_job_of_any_size() -> None:
    assert firsts(submit(make(GatedEncoder(), queue=2), [1, 2, 3, 4, 5])) == [1, 2, 3, 4, 5]


def test_items_of_a_caller_who_has_left_are_dropped_and_their_places_freed() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder)
    with encoder.held(batcher):
        left = submit(batcher, [1, 2])
        assert left.wait(time.monotonic()) == [None, None]
        assert batcher.queue_items == 1
        stays = submit(batcher, [3])
    assert firsts(stays) == [3]
    assert encoder.batches == [[0], [3]]


def test_results_that_came_before_the_deadline_are_kept() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder, size=1)
    job = batcher.open(2)
    job.settle(1, KeyError("no such image"))
    with encoder.held(batcher):
        first, second = job.wait(time.monotonic())
    assert first is None
    assert isinstance(second, KeyError)


def test_concurrent_callers_all_get_their_own_vectors() -> None:
    batcher = make(GatedEncoder(), size=8, queue=10_000)
    answers: dict[int, list[object]] = {}

    def call(start: int) -> None:
        items = [item for item in range(start, start + 20) if item not in (13, 77, 99)]
        answers[start] = [] if firsts(submit(batcher, items)) == items else [start]

    threads = [threading.Thread(target=call, args=(start,)) for start in range(0, 640, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 32
    assert not any(answers.values())
    assert batcher.queue_items == 0


@pytest.mark.parametrize(("cap", "sizes"), [(100, [4, 3]), (3, [3, 3, 1])])
def test_a_cap_makes_batches_smaller_and_never_larger(cap: int, sizes: list[int]) -> None:
    encoder = GatedEncoder()
    batcher = make(encoder, size=4)
    batcher.cap(cap)
    with encoder.held(batcher):
        job = batcher.open(7)
        for item in range(1, 8):
            job.put(item - 1, item)
    assert [result[0] for result in job.wait(soon()) if isinstance(result, np.ndarray)] == list(
        range(1, 8)
    )
    assert [len(batch) for batch in encoder.batches[1:]] == sizes


def test_a_job_that_would_be_late_is_refused_and_one_that_would_not_is_admitted() -> None:
    """The encoder is measured: what a batch took decides, beside what the jobs ahead of it cost."""
    encoder = GatedEncoder()
    batcher = make(encoder, size=1)
    assert len(firsts(submit(batcher, [5] * 20))) == 20
    with encoder.held(batcher):
        submit(batcher, [10**9])
        with pytest.raises(Overloaded, match="would wait for about"):
            batcher.open(1, cost=10**9, deadline=time.monotonic() + 1)
        batcher.open(1, cost=1, deadline=time.monotonic() + 60).abandon()


def test_the_exact_length_takes_the_place_of_the_estimate() -> None:
    encoder = GatedEncoder()
    batcher = make(encoder)
    with encoder.held(batcher):
        job = batcher.open(2, cost=100)
        job.put(0, 7)
        assert job.cost == 57
        job.settle(1, KeyError("failed"))
        assert job.cost == 7
    assert job.wait(soon())[0] is not None
    assert job.cost == 0
