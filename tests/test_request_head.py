"""The length of a request is known from its first bytes."""

import pytest

from functions.request_head import Frame, read_frame

START = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"POST / HTTP/1.1\r\n",
        START + b"Content-Length: 5\r\n",
        b"\x16\x03\x01",
        START + b"\n\n",
    ],
)
def test_a_head_that_is_not_complete_tells_nothing(head: bytes) -> None:
    assert read_frame(bytearray(head), 100) is None


@pytest.mark.parametrize(
    ("lines", "body_bytes"),
    [
        (b"", 0),
        (b"Content-Length: 5\r\n", 5),
        (b"content-LENGTH:5\r\n", 5),
        (b"Content-Length:\t100 \r\n", 100),
        (
            b"Content-Length: -1\r\n",
            0,
        ),  # the parser refuses a bad length, so there is nothing to wait for
        (b"Content-Length: 5, 5\r\n", 0),
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", 0),
        (b"X-Content-Length: 7\r\n", 0),
    ],
)
def test_a_request_is_as_long_as_its_head_and_body(lines: bytes, body_bytes: int) -> None:
    head = START + lines + b"\r\n"
    frame = read_frame(bytearray(head), 100)
    assert frame == Frame(len(head) + body_bytes)
    assert frame.is_ready(bytearray(head)) is (body_bytes == 0)
    assert frame.is_ready(bytearray(head + b"x" * body_bytes))


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:x",
        b"Expect: 100-continue",
        b"Content-Length: 101",
    ],
)
def test_a_body_that_only_reading_measures_is_left_to_a_thread(line: bytes) -> None:
    frame = read_frame(bytearray(START + line + b"\r\n\r\n"), 100)
    assert frame == Frame(None)
    assert frame.is_ready(bytearray())
