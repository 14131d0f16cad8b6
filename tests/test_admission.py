"""Admission: the estimated wait decides whether a request may join a queue."""

import math
import random

import pytest

from common.admission import (
    BURST,
    MAX_RETRY_AFTER_S,
    MIN_JITTER_S,
    MIN_WAIT_S,
    REMEMBER_S,
    STRETCH,
    Admission,
    Arrival,
    BusyShare,
    shared_cost,
    text_cost,
)

PLENTY = 1_000_000
RATE_S = 0.01  # seconds a unit of cost takes in these tests
BURST_S = 1.0


def arrival(
    cost: float,
    time_s: float = 60.0,
    now: float = 0.0,
    waited_s: float = 0.0,
    is_patient: bool = False,
) -> Arrival:
    deadline = now + time_s
    return Arrival(1, cost, deadline, now, waited_s, is_patient)


def experienced(max_items: int = PLENTY, jitter: float = 0.0) -> Admission:
    """One that has seen batches at RATE_S without a pause, the last of which ends at 0."""
    admission = Admission(max_items, BURST_S, lambda: jitter)
    work(admission, 0)
    return admission


def work(admission: Admission, until: float) -> None:
    """The encoder was busy for 20 s until then."""
    for number in range(20):
        admission.note_batch(100, 100 * RATE_S, backlogged=True, now=until - 19 + number)


def admitted_at(admission: Admission, rate: float, seconds: float, time_s: float = 60.0) -> int:
    """Simulates an encoder that takes requests of cost 1 in turn, at `rate` times what it can do.

    Returns the most requests that were ever queued.
    """
    queued, most, served_until = 0, 0, 0.0
    for number in range(int(seconds * rate / RATE_S)):
        now = number * RATE_S / rate
        while queued and served_until + RATE_S <= now:
            served_until += RATE_S
            queued -= 1
            admission.finish(1)
        if not queued:
            served_until = now
        if admission.check(arrival(1, time_s, now), queued, [1.0] * queued) is None:
            queued += 1
        if now > seconds / 2:
            most = max(most, queued)
    return most


def test_before_the_first_batch_only_the_bound_on_items_refuses() -> None:
    admission = Admission(10, BURST_S, lambda: 0.0)
    assert admission.estimate_wait_s(10**6, [10**6]) == 0
    assert admission.check(Arrival(9, 10**6, deadline=1, now=0), 1, [1.0]) is None
    refusal = admission.check(Arrival(10, 1, deadline=1, now=0), 1, [1.0])
    assert refusal is not None
    assert "1 items wait, the limit is 10" in refusal.message


def test_an_empty_queue_takes_any_job() -> None:
    assert experienced(max_items=1).check(Arrival(50, 10**9, deadline=1, now=0), 0, []) is None


@pytest.mark.parametrize(
    ("cost", "queued", "expected"),
    [(1, [], 1), (1, [1000], 2), (1, [1000] * 3, 4), (1000, [1] * 5, 1005), (10, [5, 20], 25)],
)
def test_jobs_share_the_encoder(cost: float, queued: list[float], expected: float) -> None:
    assert shared_cost(cost, queued) == expected
    assert experienced().estimate_wait_s(cost, queued) == pytest.approx(expected * RATE_S)


@pytest.mark.parametrize(
    ("time_s", "is_admitted"), [(60, True), (51, True), (49, False), (5, False)]
)
def test_a_job_is_admitted_if_it_ends_well_within_its_deadline(
    time_s: float, is_admitted: bool
) -> None:
    """4 jobs of 10 s each: 40 s are four fifths of 50 s."""
    refusal = experienced().check(arrival(1000, time_s), 3, [1000.0] * 3)
    assert (refusal is None) == is_admitted
    if refusal:
        assert refusal.retry_after_s == pytest.approx(40 - 0.8 * time_s)


def test_a_wait_before_counts_once_because_the_deadline_counts_it_already() -> None:
    assert experienced().check(arrival(1000, waited_s=9), 3, [1000.0] * 3) is None


def test_a_short_request_is_admitted_behind_one_that_takes_all_the_time_there_is() -> None:
    assert experienced().check(arrival(5), 2048, [5500.0]) is None


def test_many_large_requests_at_once_are_admitted_as_far_as_their_deadlines_go() -> None:
    admission, queued = experienced(), list[float]()
    for _ in range(20):
        if admission.check(arrival(300), len(queued), queued) is None:
            queued.append(300.0)
    assert len(queued) == 16  # 3 s each, of 48 s


@pytest.mark.parametrize("rate", [2, 3, 10])
def test_under_overload_the_admitted_wait_for_no_more_than_a_few_others(rate: float) -> None:
    most = max(STRETCH, MIN_WAIT_S / RATE_S)
    assert most - 2 <= admitted_at(experienced(), rate, seconds=30) <= most


@pytest.mark.parametrize("rate", [0.5, 0.95])
def test_below_the_sustainable_rate_nothing_is_refused(rate: float) -> None:
    assert admitted_at(experienced(), rate, seconds=30) <= 2


def test_callers_that_wait_for_their_answers_are_no_overload() -> None:
    """64 of them keep the queue full, and each asks again once it is answered."""
    admission, queued = experienced(), 0
    for number in range(64 + 5000):
        now = max(0, number - 64) * RATE_S
        if queued == 64:
            queued = 63
            admission.finish(1)
        assert admission.check(arrival(1, now=now), queued, [1.0] * queued) is None
        queued += 1


def test_overload_is_forgotten_soon_after_it_ends() -> None:
    """At once if the queue is empty, else with twice the work of a burst."""
    busy, empty, queued = experienced(), experienced(), [1.0] * 64
    for admission in (busy, empty):
        admitted_at(admission, rate=10, seconds=60)
        assert admission.check(arrival(1, now=60), 64, queued) is not None
    assert empty.check(arrival(1, now=60), 0, []) is None
    assert empty.check(arrival(1, now=60), 64, queued) is None
    for _ in range(int(2 * BURST_S / RATE_S)):
        busy.finish(1)
    assert busy.check(arrival(1, now=60), 64, queued) is None


def test_work_that_is_dropped_is_no_longer_offered() -> None:
    admission, queued = experienced(), [1.0] * 64
    for _ in range(1000):
        assert admission.check(arrival(1), 64, queued) is None
        admission.finish(1)


def test_a_short_request_beside_longer_ones_meets_an_overload_no_sooner_than_they_do() -> None:
    admission = Admission(PLENTY, burst_s=0)
    work(admission, 0)
    for number in range(BURST - 8):
        cost = 1.0 if number % 8 == 7 else 10.0
        assert admission.check(arrival(cost), number, [10.0] * number) is None


def test_retry_after_is_spread_and_never_over_what_clients_heed() -> None:
    admission = Admission(PLENTY, BURST_S, random.Random(1).random)
    admission.note_batch(100, 100 * RATE_S, backlogged=True, now=0)
    for time_s, low, high in ((45, 4, 4 + MIN_JITTER_S), (10, 32, 48), (1, 29, MAX_RETRY_AFTER_S)):
        refusals = [admission.check(arrival(1000, time_s), 3, [1000.0] * 3) for _ in range(200)]
        seconds = [refusal.retry_after_s for refusal in refusals if refusal]
        assert len(seconds) == 200
        assert min(seconds) >= low
        assert max(seconds) <= high
        assert len({math.ceil(value) for value in seconds}) >= 2


def test_the_estimate_follows_an_encoder_that_becomes_slower() -> None:
    admission = experienced()
    for _ in range(30):
        admission.note_batch(100, 300 * RATE_S, backlogged=True, now=0)
    assert admission.estimate_wait_s(100, ()) == pytest.approx(300 * RATE_S, rel=0.1)


def test_batches_of_single_items_do_not_pass_for_the_speed_of_full_ones() -> None:
    admission = experienced()
    for _ in range(1000):
        admission.note_batch(1, 5 * RATE_S, backlogged=False, now=0)
    assert admission.estimate_wait_s(100, ()) == pytest.approx(100 * RATE_S)


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 2), ("a fox", 3.25), ("狐" * 10, 12), ("long " * 1000, 77)]
)
def test_texts_are_costed_by_their_characters(text: str, tokens: float) -> None:
    assert text_cost([text, text], context_length=77) == pytest.approx(2 * tokens)


def test_few_callers_whose_texts_cost_more_than_estimated_are_no_overload() -> None:
    """Digits are a token each, and are estimated as a quarter of one."""
    admission, estimated, actual = experienced(), BURST_S / RATE_S, 4 * BURST_S / RATE_S
    for number in range(BURST // 2):
        now = number * RATE_S
        assert admission.check(arrival(estimated, 1e9, now), number, [actual] * number) is None
        admission.correct(actual - estimated, actual)


def test_padded_texts_cost_the_whole_context() -> None:
    assert text_cost(["", "a fox"], context_length=64, is_padded=True) == 128


def test_waiting_for_a_thread_of_the_server_is_a_sign_of_overload() -> None:
    """Few threads hide a storm: none of its requests finds more than these few ahead."""
    admission, late = experienced(), 2 * BURST_S
    work(admission, until=10)
    assert admission.check(arrival(1, now=10, waited_s=late), 7, [1.0] * 7) is not None
    assert admission.check(arrival(1, now=10), 7, [1.0] * 7) is None
    assert admission.check(arrival(1, now=10, waited_s=STRETCH * RATE_S), 7, [1.0] * 7) is not None


@pytest.mark.parametrize(
    ("is_busy", "passed_s", "goes_on"),
    [(True, REMEMBER_S / 2, True), (True, REMEMBER_S * 2, False), (False, REMEMBER_S / 2, False)],
)
def test_an_overload_goes_on_when_a_batch_takes_the_whole_queue(
    is_busy: bool, passed_s: float, goes_on: bool
) -> None:
    """It is forgotten when nothing was refused for a while, or when the encoder was often idle."""
    admission = experienced()
    admitted_at(admission, 10, seconds=30)  # refuses until then
    now = 30 + passed_s
    if is_busy:
        work(admission, until=now)
    assert admission.check(arrival(1, now=now), 0, []) is None
    queued = [1.0] * 2 * STRETCH
    refusal = admission.check(arrival(1, now=now), len(queued), queued)
    assert (refusal is not None) is goes_on


def test_waiting_for_threads_that_other_work_holds_is_no_overload_of_an_idle_encoder() -> None:
    """As when images from slow hosts hold all threads: the text encoder has nothing to do."""
    admission, late = experienced(), 2 * BURST_S
    for second in range(10):
        admission.note_batch(1, RATE_S, backlogged=False, now=10 + second)
    assert admission.check(arrival(1, now=20, waited_s=late), 7, [1.0] * 7) is None


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 1.0])
def test_the_share_of_busy_time_is_measured_over_about_a_second(share: float) -> None:
    busy = BusyShare()
    for tenth in range(100):
        busy.note(tenth / 10, share / 10)
    assert busy.at(9.9) == pytest.approx(share, abs=0.01)
    assert busy.at(12.9) < 0.1
    busy.note(20, 10)  # a batch that began when all was idle
    assert busy.at(20) > 0.99
    for _ in range(100):
        busy.note(20, 1)
    assert busy.at(20) <= 1


def test_a_patient_caller_is_admitted_under_overload_as_long_as_its_deadline_can_be_met() -> None:
    admission = experienced()
    admitted_at(admission, 10, seconds=30)  # far over what it can do
    queued = [1.0] * STRETCH * 2
    assert admission.check(arrival(1, now=30), len(queued), queued) is not None
    assert admission.check(arrival(1, now=30, is_patient=True), len(queued), queued) is None
    assert admission.check(arrival(1, 1, 30.0, is_patient=True), 10**6, [1.0] * 10**6) is not None
