"""Hosts that break the TLS handshake in every way, or never end it, cost their own images alone."""

import random
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.allowance import Allowance
from common.errors import FetchError
from tests.e2e.cost import worker_of
from tests.e2e.server import serve
from tests.image_server import picture
from tests.image_urls import data_url
from tests.loopback_source import source_with
from tests.raw_host import REQUEST_BYTES, Act, RawHost, drip, flood, raw_host
from tests.waiting import wait_for

CODES = {"tls_failed", "timeout", "bad_response", "connect_failed"}
RECORD_TYPES = [20, 21, 22, 23, 24, 0, 255]  # change of cipher, alert, handshake, data, heartbeat
VERSIONS = [b"\x03\x03", b"\x03\x01", b"\x03\x04", b"\x02\x00", b"\x00\x00", b"\xff\xff"]
MESSAGE_TYPES = [0, 1, 2, 4, 8, 11, 12, 13, 14, 15, 16, 20, 24, 254]  # HelloRequest to KeyUpdate
PLAIN = [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n", b"220 ready\r\n", b"\x00" * 99]


def record(source: random.Random) -> bytes:
    """A TLS record; its length and its content are right now and then."""
    size = source.choice([0, 1, 4, 50, 2000])
    content = bytes([source.choice(MESSAGE_TYPES)]) + size.to_bytes(3, "big")
    content += source.randbytes(source.choice([size, 0]))
    length = source.choice([len(content), len(content), 0, 0xFFFF])
    kind, version = source.choice(RECORD_TYPES), source.choice(VERSIONS)
    return bytes([kind]) + version + length.to_bytes(2, "big") + content


def generated(source: random.Random) -> Act:
    """A host that answers a ClientHello with some records, and with other bytes at times."""
    records = [record(source) for _ in range(source.choice([1, 1, 2, 5, 40]))]
    answer = source.choice([*PLAIN, *[b"".join(records)] * 20])
    pieces = [answer] if source.random() < 0.7 else [answer[:7], answer[7:8], answer[8:]]
    reads_on = source.random() < 0.3

    def act(connection: socket.socket) -> None:
        connection.recv(REQUEST_BYTES)
        for piece in pieces:
            connection.sendall(piece)
        while reads_on and connection.recv(REQUEST_BYTES):
            pass

    return act


def test_whatever_a_host_shakes_hands_with_is_an_error_of_its_own(
    effort: Callable[[int, int], int],
) -> None:
    images = source_with(timeout_s=2)

    def outcome(number: int) -> str:
        with raw_host() as host:
            host.act = generated(random.Random(number))
            try:
                images.read(url_of(host), Allowance.lasting(90))
            except FetchError as error:
                return error.code
            return "read"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(outcome, range(effort(100, 5000))))
    print(dict(outcomes))
    assert outcomes.keys() <= CODES
    assert "tls_failed" in outcomes


@pytest.mark.parametrize("act", [flood, drip])
def test_handshakes_without_end_hold_no_thread_and_no_core(
    tmp_path: Path, act: Callable[[RawHost], Act], effort: Callable[[int, int], int]
) -> None:
    """More such hosts at once than the service has threads for images."""
    good = {"urls": [data_url(picture())]}
    with (
        serve(tmp_path, CLIP_FETCH_TIMEOUT_S="3", CLIP_HEALTH_WAIT_S="60") as server,
        raw_host() as host,
        ThreadPoolExecutor(5) as pool,
    ):
        assert server.get("/health").status_code == 200
        host.act = act(host)
        urls = [f"{url_of(host, '127.0.0.1')}?{number}" for number in range(16)]
        for _ in range(effort(1, 10)):
            slow = [pool.submit(server.post, "/embed/image", {"urls": urls}) for _ in range(5)]
            beside = [server.post("/embed/image", good) for _ in range(5)]
            assert [answer.json()["errors"] for answer in beside] == [[]] * 5
            for answer in slow:
                errors = answer.result().json()["errors"]
                assert {error["code"] for error in errors} <= CODES
                assert len(errors) == len(urls)
        assert wait_for(lambda: is_idle(worker_of(server)))
        assert server.post("/embed/image", good).json()["errors"] == []


def url_of(host: RawHost, name: str = "images.example.com") -> str:
    return f"https://{name}:{host.port}/a.png"


def is_idle(pid: int) -> bool:
    """Whether the process used less than half a core in half a second."""
    before = cpu_s(pid)
    time.sleep(0.5)
    return cpu_s(pid) - before < 0.25


def cpu_s(pid: int) -> float:
    """The CPU time of all threads of a process so far."""
    ran = [path.read_text().split()[0] for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(map(int, ran)) / 1e9
