"""A cancellation runs each of its callbacks once, whenever they are registered."""

from common.allowance import Allowance
from common.cancellation import Cancellation


def test_callbacks_run_once() -> None:
    ran: list[str] = []
    cancellation = Cancellation()
    cancellation.on_cancel(lambda: ran.append("first"))
    cancellation.on_cancel(lambda: ran.append("second"))
    assert not cancellation.cancelled
    cancellation.cancel()
    cancellation.cancel()
    assert ran == ["first", "second"]


def test_a_callback_that_comes_too_late_runs_at_once() -> None:
    ran: list[bool] = []
    cancellation = Cancellation()
    cancellation.cancel()
    cancellation.on_cancel(lambda: ran.append(cancellation.cancelled))
    assert ran == [True]


def test_a_call_whose_caller_has_left_has_no_time() -> None:
    allowance = Allowance.lasting(60)
    assert allowance.remaining_s() > 0
    allowance.cancellation.cancel()
    assert allowance.remaining_s() == 0
    assert allowance.is_over
