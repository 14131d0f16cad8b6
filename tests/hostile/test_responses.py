"""Whatever a host sends costs its own image alone: generated responses, broken in every part."""

import gzip
import random
import time
from collections import Counter
from collections.abc import Callable

from common.allowance import Allowance
from common.errors import FetchError
from tests.image_server import picture
from tests.loopback_source import source_with
from tests.raw_host import raw_host

BODY = picture()
TIMEOUT_S = 5.0
WORST_S = TIMEOUT_S + 30  # a busy machine pauses; what has no bound takes longer

STATUS_LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1", b"", b"200 OK",
    b"HTTP/1.1 99 X", b"HTTP/1.1 1000 X", b"HTTP/1.1 -200 X", b"HTTP/1.1 2e2 X", b"HTTP/3 200 OK",
    b"HTTP/1.1 \xb2\xb0\xb0 OK", b"HTTP/1.1 200 \xff\x00", b"ICY 200 OK", b"HTTP/1.1  200  OK",
    b"HTTP/1.1 200 " + b"x" * 70_000, b"HTTP/1.1 301 Moved", b"HTTP/1.1 101 Switching",
    b"HTTP/1.1 204 None", b"HTTP/1.1 206 Part", b"HTTP/1.1 304 Same", b"HTTP/1.1 429 Slow",
]  # fmt: skip
CHUNK_SIZES = [
    b"-5", b"-1", b"+5", b"0x5", b" 5 ", b"5_0", b"5;a=b", b"5;" + b"a" * 70_000, b"zz", b"", b"\t",
    b"f" * 16, b"f" * 5000, b"-" + b"f" * 40, b"00000005", b"\xd9\xa5", b"5\x00", b"5,5", b"1e1",
    b"7fffffffffffffff", b"8000000000000000", b"0", b"-0",
]  # fmt: skip
HEADERS = [
    b"Content-Length: -5", b"Content-Length: 5, 5", b"Content-Length: 5, 6", b"Content-Length: x",
    b"Content-Length: " + b"9" * 5000, b"Content-Length: 9e9", b"Content-Length:", b"no colon",
    b": no name", b" folded", b"\xff\xfe: \x80", b"A: " + b"b" * 70_000, b"Transfer-Encoding: x",
    b"Transfer-Encoding: gzip, chunked", b"Content-Encoding: gzip", b"Content-Encoding: deflate",
    b"Content-Encoding: gzip, gzip, br, gzip", b"Content-Encoding: \xff", b"Location:",
    b"Location: http://[::1", b"Location: //", b"Location: \xff\xfe", b"Location: \\\\a\\b",
    b"Location: http://a:b:c/", b"Content-Range: bytes */*", b"Content-Range: bytes 0-9/x",
    b"Retry-After: -1", b"Retry-After: 9" * 400, b"Connection: close", b"Set-Cookie: a=b; " * 99,
    b"Content-Type: \x00", b"Content-Type: multipart/mixed; boundary=x", b"Content-Type: text/html",
    b"A\x00B: c", b"Content-Length : 5", b"Keep-Alive: timeout=x",
]  # fmt: skip
TRAILERS = [b"", b"\r\n", b"A: b\r\n\r\n", b"no colon\r\n", b"A: " + b"b" * 70_000, b"\xff" * 99]
INTERIM = [b"", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 103 E\r\nLink: <a>\r\nbad\r\n\r\n" * 3]


def generated(source: random.Random) -> bytes:
    """A response of which some parts are as they should be."""
    pick = source.choice
    body = pick([BODY, BODY, b"", gzip.compress(BODY), source.randbytes(200)])
    lines = [pick(STATUS_LINES) if source.random() < 0.3 else b"HTTP/1.1 200 OK"]
    lines += [pick(HEADERS) for _ in range(source.choice([0, 1, 1, 2, 30]))]
    if source.random() < 0.5:
        sizes = [pick(CHUNK_SIZES), b"%x" % len(body), b"%X;x=y" % len(body)]
        chunk = pick(sizes) + pick([b"\r\n", b"\n", b"\r"]) + body + pick([b"\r\n", b"", b"xx"])
        lines.append(b"Transfer-Encoding: chunked")
        body = chunk * source.choice([1, 2]) + pick([b"0\r\n", b"", b"0", b"-0\r\n"])
        body += pick(TRAILERS)
    elif source.random() < 0.7:
        lines.append(b"Content-Length: %d" % (len(body) + source.choice([0, 0, -3, 3])))
    raw = pick(INTERIM) + pick([b"\r\n", b"\r\n", b"\n"]).join(lines) + b"\r\n\r\n" + body
    if source.random() < 0.2:
        raw = raw[: source.randrange(len(raw) + 1)]
    return raw


def test_whatever_a_host_sends_is_an_image_or_an_error_of_its_own(
    effort: Callable[[int, int], int],
) -> None:
    source, outcomes, slowest_s = random.Random(21), Counter[str](), 0.0
    images = source_with(TIMEOUT_S)
    with raw_host() as host:
        url = f"http://images.example.com:{host.port}/a.png"
        for _ in range(effort(200, 20_000)):
            raw = generated(source)
            host.says(raw)
            started = time.monotonic()
            try:
                images.read(url, Allowance.lasting(90))
                outcomes["read"] += 1
            except FetchError as error:
                outcomes[error.code] += 1
            except Exception as error:
                raise AssertionError(raw[:2000]) from error
            slowest_s = max(slowest_s, time.monotonic() - started)
    assert slowest_s < WORST_S
    assert {"read", "bad_response", "http_status"} <= outcomes.keys()
