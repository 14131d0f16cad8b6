"""Request ids, traces and stage timings."""

import pytest

from common.errors import NotAnImage
from common.items import ImageBytes, ImageUrl
from functions.request_record import RequestRecord, Trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (
            {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
            Trace(TRACE, "00f067aa0ba902b7", sampled=True),
        ),
        (
            {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"},
            Trace(TRACE, "00f067aa0ba902b7", sampled=False),
        ),
        (
            {"X-Cloud-Trace-Context": f"{TRACE}/255;o=1"},
            Trace(TRACE, "00000000000000ff", sampled=True),
        ),
        (
            {"X-Cloud-Trace-Context": f"{TRACE.upper()}/{2**64 - 1}"},
            Trace(TRACE, "f" * 16, sampled=False),
        ),
        ({"X-Cloud-Trace-Context": TRACE}, Trace(TRACE, "0" * 16, sampled=False)),
        (
            {
                "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
                "X-Cloud-Trace-Context": f"{'a' * 32}/1;o=0",
            },
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
    made = RequestRecord.from_headers({"X-Request-Id": given}, timeout_s=1).request_id
    assert made != given
    assert len(made) == 32


def test_a_stage_takes_as_long_as_its_slowest_item() -> None:
    record = RequestRecord.from_headers({}, timeout_s=0)
    for seconds in (0.002, 0.010, 0.003):
        record.stage("fetch", seconds)
    assert record.server_timing().startswith("fetch;dur=10.0, total;dur=")
    assert record.allowance.is_over


def test_a_failed_image_is_logged_without_its_url(caplog: pytest.LogCaptureFixture) -> None:
    record = RequestRecord.from_headers({}, timeout_s=1)
    url = "https://example.com/private/a.jpg?signature=secret"
    record.image_failed(ImageUrl(url), NotAnImage("not an image", reason="because"))
    record.image_failed(ImageBytes(b"bytes", "mine.png"), NotAnImage("not an image"))
    first, second = caplog.records
    fields = vars(first)
    assert (fields["host"], fields["code"], fields["reason"]) == (
        "example.com",
        "not_an_image",
        "because",
    )
    assert "secret" not in str(fields)
    assert "private" not in str(fields)
    assert "host" not in vars(second)
