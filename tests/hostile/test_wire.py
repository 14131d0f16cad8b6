"""Odd bytes on the port: other protocols, old and broken HTTP. Each gets a true answer or none."""

import re
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.e2e.server import Server, serve
from tests.hostile.callers import connect

HOST = b"Host: a\r\nContent-Type: application/json\r\n"
BODY = b'{"texts": ["a fox"]}'
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
PROBLEM = b"application/problem+json"
SECRET = b"s3cr3t-t0k3n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)


def post(path: bytes = b"/embed/text", version: bytes = b"HTTP/1.1", *lines: bytes) -> bytes:
    head = b"POST %s %s\r\n" % (path, version) + HOST + b"".join(line + b"\r\n" for line in lines)
    return head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


def get(path: bytes = b"/health/live", *lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"GET %s %s\r\nHost: a\r\n" % (path, version) + b"".join(x + b"\r\n" for x in lines)


def chunked(version: bytes, *lines: bytes) -> bytes:
    head = b"POST /embed/text %s\r\n" % version + HOST + b"".join(line + b"\r\n" for line in lines)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED


ANSWERED = {
    "HTTP/1.0": post(version=b"HTTP/1.0"),
    "HTTP/1.0 without Host": b"GET /health/live HTTP/1.0\r\n\r\n",
    "an upgrade to HTTP/2": post(
        b"/embed/text", b"HTTP/1.1", b"Connection: Upgrade", b"Upgrade: h2c"
    ),
    "a websocket": get(b"/", b"Connection: Upgrade", b"Upgrade: websocket") + b"\r\n",
    "an absolute URL": post(b"http://a/embed/text"),
    "an absolute URL of another host": post(b"https://example.com:99/embed/text?x=1"),
    "an absolute URL without path": get(b"http://a") + b"\r\n",
    "a query without path": get(b"?x") + b"\r\n",
    "empty lines before": b"\r\n\r\n" + post(),
    "an empty line between two": post() + b"\r\n" + post(),
    "chunks with names and trailers": chunked(b"HTTP/1.1").replace(b"\r\n{", b";a=b\r\n{"),
    "Expect": post(b"/embed/text", b"HTTP/1.1", b"Expect: 100-continue"),
    "bytes in a cookie": get(b"/health/live", b"Cookie: \xff\xfe=\x80; $") + b"\r\n",
}
REFUSED = {
    "HTTP/0.9": (b"GET /health/live\r\n\r\n", 400),
    "HTTP/2.0": (post(version=b"HTTP/2.0"), 400),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "the PROXY protocol": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + post(), 400),
    "the PROXY protocol in bytes": (PROXY_V2 + post(), 400),
    "chunks in HTTP/1.0": (chunked(b"HTTP/1.0"), 400),
    "chunks and a length": (chunked(b"HTTP/1.1", b"Content-Length: 3"), 400),
    "an unknown coding": (
        post(b"/embed/text", b"HTTP/1.1", b"Transfer-Encoding: br"),
        501,
    ),
    "a length with a sign": (post().replace(b"Length: ", b"Length: +"), 400),
    "a header in two lines": (get(b"/health/live", b"X: a", b" b") + b"\r\n", 400),
    "a zero byte in a header": (get(b"/health/live", b"X: a\0b") + b"\r\n", 400),
    "a space before a colon": (get(b"/health/live", b"X : a") + b"\r\n", 400),
    "a space in the path": (get(b"/a?key=" + SECRET + b" b") + b"\r\n", 400),
    "a method in small letters": (get().replace(b"GET", b"get") + b"\r\n", 400),
    "a header of a megabyte": (get(b"/", b"X: " + b"a" * 200_000) + b"\r\n", 431),
    "200 headers": (get(b"/", *[b"X%d: y" % number for number in range(200)]) + b"\r\n", 431),
    "a URL of 9,000 characters": (get(b"/" + b"a" * 9000) + b"\r\n", 404),
    "CONNECT": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "OPTIONS *": (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    "a path above the root": (get(b"/../../etc/passwd") + b"\r\n", 404),
    "bytes in the path": (get(b"/\xe7\x8b\x90") + b"\r\n", 404),
}
SILENT = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "lines without carriage return": post().replace(b"\r\n", b"\n"),
    "nothing": b"",
    "empty lines alone": b"\r\n" * 50,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("wire"), THREADS="4", CLIP_HEALTH_WAIT_S="60") as running:
        assert running.get("/health").status_code == 200
        yield running
        records = running.records()
        assert [record for record in records if record["severity"] == "ERROR"] == []
        assert SECRET.decode() not in running.log.read_text()


def sent(server: Server, raw: bytes, count: int | None = None) -> bytes:
    """The answers to `raw`: `count` of them, or all until the server closes."""
    answer = b""
    with connect(server) as connection, suppress(ConnectionError):
        connection.sendall(raw)
        if count is None:
            connection.shutdown(socket.SHUT_WR)
        while len(statuses(answer)) != count and (piece := connection.recv(65536)):
            answer += piece
    return answer


def statuses(answer: bytes) -> list[int]:
    found = re.findall(rb"HTTP/1\.[01] (\d+) [^\r]*\r\n(?:[^\r]+\r\n)*\r\n", answer)
    return [int(status) for status in found if status != b"100"]


@pytest.mark.parametrize("name", ANSWERED)
def test_what_real_clients_send_is_answered(server: Server, name: str) -> None:
    expected = [200] * (2 if "two" in name else 1)
    assert statuses(sent(server, ANSWERED[name], len(expected))) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_served_is_a_problem_that_says_why(server: Server, name: str) -> None:
    raw, status = REFUSED[name]
    answer = sent(server, raw)
    assert statuses(answer)[:1] == [status]
    assert b"Content-Type: " + PROBLEM in answer
    assert b"<html" not in answer


@pytest.mark.parametrize("name", SILENT)
def test_what_is_no_request_gets_no_answer_and_holds_nothing(server: Server, name: str) -> None:
    assert sent(server, SILENT[name]) == b""
    assert server.get("/health/live").status_code == 200
