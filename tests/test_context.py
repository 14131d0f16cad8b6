"""Request ids, traces and stage timings."""

import pytest
from common.context import RequestContext, Trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, Trace(TRACE, "00f067aa0ba902b7", sampled=True)),
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}, Trace(TRACE, "00f067aa0ba902b7", sampled=False)),
        ({"X-Cloud-Trace-Context": f"{TRACE}/255;o=1"}, Trace(TRACE, "00000000000000ff", sampled=True)),
        ({"X-Cloud-Trace-Context": f"{TRACE.upper()}/{2**64 - 1}"}, Trace(TRACE, "f" * 16, sampled=False)),
        ({"X-Cloud-Trace-Context": TRACE}, Trace(TRACE, "0" * 16, sampled=False)),
        (
            {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Cloud-Trace-Context": f"{'a' * 32}/1;o=0"},
            Trace(TRACE, "00f067aa0ba902b7", sampled=True),
        ),
        ({"traceparent": "nonsense", "X-Cloud-Trace-Context": "nonsense"}, None),
        ({}, None),
    ],
)
def test_a_trace_comes_from_either_header(headers: dict[str, str], expected: Trace | None) -> None:
    assert Trace.from_headers(headers) == expected


@pytest.mark.parametrize("given", ["a b", "<script>", "x" * 129, "", "ümlaut", "a\nb"])
def test_a_request_id_that_is_no_plain_token_is_replaced(given: str) -> None:
    made = RequestContext.from_headers({"X-Request-Id": given}, timeout_s=1).request_id
    assert made != given
    assert len(made) == 32


def test_a_stage_takes_as_long_as_its_slowest_item() -> None:
    context = RequestContext("id", deadline=0.0)
    for seconds in (0.002, 0.010, 0.003):
        context.record("fetch", seconds)
    assert context.server_timing().startswith("fetch;dur=10.0, total;dur=")
    assert context.remaining_s() == 0
