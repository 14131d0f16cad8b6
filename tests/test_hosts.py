"""HttpSource with odd hosts, which browsers accept, and with broken ones."""

import gzip
import logging
import socket
import ssl
import zlib
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
import trustme

from common.allowance import Allowance
from common.errors import BadResponse, BodyTooLarge, FetchError, HttpStatus, UnsupportedType
from tests.image_server import picture
from tests.loopback_source import source_with
from tests.raw_host import RawHost, drip, flood, raw_host

BODY = picture()
CANARY = "c4n4ry-s1gn4tur3"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def host() -> Iterator[RawHost]:
    with raw_host() as running:
        yield running


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context whose certificate is trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "roots.pem")
    monkeypatch.setattr(certifi, "where", lambda: str(tmp_path / "roots.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("images.example.com").configure_cert(context)
    return context


def fetch(
    host: RawHost, scheme: str = "http", path: str = f"/a.png?sig={CANARY}", timeout_s: float = 30
) -> bytes:
    url = f"{scheme}://images.example.com:{host.port}{path}"
    return source_with(timeout_s).read(url, Allowance.lasting(60))


def answer(*headers: str, body: bytes = BODY, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"])
    return head.encode("latin-1") + b"\r\n\r\n" + body


SHOWN = {
    "203": answer(status="203 Non-Authoritative Information"),
    "206 of the whole": answer(
        f"Content-Range: bytes 0-{len(BODY) - 1}/{len(BODY)}", status="206 Partial Content"
    ),
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(),
    "1xx of every kind": b"".join(
        b"HTTP/1.1 %d X\r\nA: b\r\n\r\n" % status for status in (100, 102, 103, 104, 199, 100)
    )
    + answer(),
    "text/plain": answer("Content-Type: text/plain"),
    "text/html": answer("Content-Type: text/html; charset=utf-8"),
    "json": answer("Content-Type: application/json"),
    "a header line without colon": answer("garbage", "Content-Type: image/png"),
    "a space before the colon": OK + b"Content-Length : %d\r\n\r\n" % len(BODY) + BODY,
    "gzip": answer("Content-Encoding: gzip", body=gzip.compress(BODY)),
    "x-gzip": answer("Content-Encoding: x-gzip", body=gzip.compress(BODY)),
    "two gzip members": answer(
        "Content-Encoding: gzip", body=gzip.compress(BODY[:50]) + gzip.compress(BODY[50:])
    ),
    "gzip twice": answer("Content-Encoding: gzip, gzip", body=gzip.compress(gzip.compress(BODY))),
    "deflate": answer("Content-Encoding: deflate", body=zlib.compress(BODY)),
    "raw deflate": answer("Content-Encoding: deflate", body=zlib.compress(BODY)[2:-4]),
    "gzip on a plain image": answer("Content-Encoding: gzip"),
    "deflate on a plain image": answer("Content-Encoding: deflate"),
    "br on a plain image": answer("Content-Encoding: br"),
    "gzip under a label that means nothing": answer(
        "Content-Encoding: UTF-8", body=gzip.compress(BODY)
    ),
    "chunk extensions and trailers": CHUNKED
    + b"%x;name=value\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(BODY), BODY),
} | {
    label: answer(f"Content-Encoding: {label}")
    for label in ("base64", "aws-chunked", "UTF-8", "binary", "none", "7bit", "identity", ",")
}


@pytest.mark.parametrize("raw", SHOWN.values(), ids=SHOWN.keys())
def test_what_browsers_show_is_read(host: RawHost, raw: bytes) -> None:
    host.says(raw)
    assert fetch(host) == BODY


BROKEN = {
    "chunk -1": CHUNKED + b"-1\r\nabc\r\n",
    "chunk -5": CHUNKED + b"-5\r\nabc\r\n",
    "chunk 0xzz": CHUNKED + b"0xzz\r\nabc\r\n",
    "empty chunk line": CHUNKED + b"\r\nabc\r\n",
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "status of letters": b"HTTP/1.1 OK 200\r\n\r\n",
    "status -200": b"HTTP/1.1 -200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "201 headers": OK + b"A: b\r\n" * 201 + b"\r\n",
    "headers without end": OK + b"".join(b"A%d: %s\r\n" % (n, b"a" * 60_000) for n in range(9)),
    "interim answers without end": b"HTTP/1.1 103 X\r\n\r\n" * 20_000,
    "false gzip": answer("Content-Encoding: gzip", body=b"\x1f\x8b\x08\x00" + b"\xff" * 99),
    "cut gzip": answer("Content-Encoding: gzip", body=gzip.compress(BODY)[:-20]),
    "gzip of 2,000 members": answer("Content-Encoding: gzip", body=gzip.compress(b"") * 2000),
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_what_no_retry_can_mend_is_a_bad_response_that_is_not_retryable(
    host: RawHost, raw: bytes
) -> None:
    host.says(raw)
    with pytest.raises(BadResponse) as raised:
        fetch(host)
    assert not raised.value.retryable


EARLY_ENDS = {
    "in a chunk": CHUNKED + b"f\r\nabc",
    "no chunk": CHUNKED,
    "length": answer()[:-9],
    # Sizes that are read as numbers, and after which less comes than they say.
    "chunk of 5,000 digits": CHUNKED + b"f" * 5000 + b"\r\nabc",
}


@pytest.mark.parametrize("raw", EARLY_ENDS.values(), ids=EARLY_ENDS.keys())
def test_an_answer_that_ends_early_is_retryable(host: RawHost, raw: bytes) -> None:
    host.says(raw)
    with pytest.raises(BadResponse) as raised:
        fetch(host)
    assert raised.value.retryable


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (404, False),
        (101, False),
        (206, False),
        (302, False),
        (408, True),
        (501, False),
        (520, True),
    ],
)
def test_a_status_says_whether_it_may_pass(host: RawHost, status: int, retryable: bool) -> None:
    host.says(answer(status=f"{status} X"))
    with pytest.raises(HttpStatus, match=str(status)) as raised:
        fetch(host)
    assert raised.value.retryable is retryable


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/xml", "image/svg+xml"])
def test_pages_and_documents_are_refused_by_their_name(host: RawHost, kind: str) -> None:
    host.says(answer(f"Content-Type: {kind}", body=b"<x></x>" * 50))
    with pytest.raises(UnsupportedType, match=kind.replace("+", r"\+")):
        fetch(host)


def test_every_coding_is_bounded_not_the_last_alone(host: RawHost) -> None:
    bomb = gzip.compress(gzip.compress(b"") * 100_000)
    host.says(answer("Content-Encoding: gzip, gzip", body=bomb))
    with pytest.raises((BodyTooLarge, BadResponse)):
        fetch(host)


def test_the_target_is_sent_as_it_was_written(host: RawHost) -> None:
    host.says(answer())
    fetch(host, path="/a%20b/100%.png?x=%2F&y=a+b#fragment")
    fetch(host, path="/" + "a" * 8000)
    assert host.heads[0].startswith(b"GET /a%20b/100%25.png?x=%2F&y=a+b HTTP/1.1\r\n")
    assert b"*/*" in host.heads[0]
    assert len(host.heads[1]) > 8000


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("act", [flood, drip])
def test_bytes_without_end_are_read_up_to_the_deadline_and_a_bound(
    host: RawHost, scheme: str, act: object
) -> None:
    host.act = act(host)  # type: ignore[operator]
    with pytest.raises(FetchError) as raised:
        fetch(host, scheme, timeout_s=1)
    assert raised.value.code in ("timeout", "tls_failed", "bad_response")
    assert host.sent_bytes < 2**24  # what sockets hold, and the bound


def over_tls(host: RawHost, context: ssl.SSLContext) -> None:
    """Let `host` shake hands before it acts as it does now."""
    act = host.act

    def shake_and_act(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            act(secured)

    host.act = shake_and_act


@pytest.mark.parametrize("scheme", ["http", "https", "https without TLS"])
def test_no_library_learns_the_query_whatever_a_host_does(
    host: RawHost, scheme: str, tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes, said = set(), []
    with caplog.at_level(logging.DEBUG):
        for name in list(logging.Logger.manager.loggerDict):
            logging.getLogger(name).setLevel(logging.NOTSET)
        for raw in (
            *SHOWN.values(),
            *BROKEN.values(),
            *EARLY_ENDS.values(),
            b"",
            answer(f"echo ?sig={CANARY}"),
        ):
            host.says(raw, after=b"" if scheme == "https without TLS" else b"\r\n\r\n")
            if scheme == "https":
                over_tls(host, tls)
            try:
                outcomes.add(fetch(host, scheme.split()[0]))
            except FetchError as error:
                outcomes.add(error.code.encode())
                said.append(f"{error} {error.reason}")
    assert CANARY not in " ".join(said)
    assert outcomes >= ({b"tls_failed"} if " " in scheme else {BODY, b"bad_response"})
    assert caplog.records
    formatter = logging.Formatter()
    for record in caplog.records:
        assert CANARY not in formatter.format(record) + repr(vars(record))
