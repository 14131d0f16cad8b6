"""Slow, silent or disconnected callers do not slow others down, in the real process."""

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.e2e.server import Server, serve
from tests.hostile.callers import (
    JSON,
    READERS,
    REFUSED,
    UNFINISHED,
    connect,
    head,
    holding,
    read_all,
)

THREADS = 4
SOON_S = 20.0  # on a busy machine; held threads would cost a caller minutes
PROBLEM = b"application/problem+json"
EVERY_KIND = REFUSED | UNFINISHED | READERS
TEXT = {"texts": ["a fox"]}
SLOW = {"texts": [f"{number} " + "word " * 60 for number in range(2048)]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(
        tmp_path_factory.mktemp("slow"), THREADS=str(THREADS), CLIP_HEALTH_WAIT_S="60"
    ) as running:
        assert running.get("/health").status_code == 200
        yield running


def answers_soon(server: Server) -> bool:
    """Whether a few normal callers are answered without waiting for a thread."""
    return all(
        requests.post(server.url + "/embed/text", json=TEXT, timeout=SOON_S).status_code == 200
        for _ in range(5)
    )


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_callers_who_hold_connections_hold_no_thread(server: Server, kind: str) -> None:
    with holding(server, [EVERY_KIND[kind]] * 3 * THREADS):
        assert answers_soon(server)


def test_connections_of_every_kind_together(
    server: Server, effort: Callable[[int, int], int]
) -> None:
    kinds = [sent for name, sent in EVERY_KIND.items() if name not in READERS]
    with holding(server, kinds * effort(1, 10)):
        assert answers_soon(server)


def test_sigterm_beside_held_connections_takes_no_graceful_timeout(tmp_path: Path) -> None:
    """gunicorn's is 30 s."""
    with serve(tmp_path, THREADS=str(THREADS), CLIP_HEALTH_WAIT_S="60") as server:
        assert answers_soon(server)
        with holding(server, list(EVERY_KIND.values())):
            assert answers_soon(server)
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(25) == 0


def test_sigterm_waits_for_no_body_that_no_thread_has_begun_to_read(tmp_path: Path) -> None:
    with serve(tmp_path, THREADS=str(THREADS), CLIP_HEALTH_WAIT_S="60") as server:
        assert answers_soon(server)
        with holding(server, [UNFINISHED["half a large body"]] * 10 * THREADS):
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(25) == 0


def test_a_crowd_of_silent_connections_is_served_around_and_forgotten(server: Server) -> None:
    """gunicorn's own worker is deaf for good after 1,000."""
    with holding(server, [b""] * 1100):
        assert answers_soon(server)
    assert answers_soon(server)


@pytest.mark.parametrize("kind", [name for name in REFUSED if name != "Expect"])
def test_a_refusal_is_read_to_its_end_and_never_lost_to_a_reset(server: Server, kind: str) -> None:
    """The next request on the connection is answered, or the connection says that it closes.

    This holds whether the function read the body or not.
    """
    with connect(server) as connection:
        connection.sendall(REFUSED[kind])
        connection.sendall(head("/health/live", 0, "Connection: close", method="GET"))
        answers = read_all(connection)
    assert answers.startswith(b"HTTP/1.1 ")
    assert b"Connection: close\r\n" in answers
    assert b"400 B" not in answers, "what was left of the body was taken for a request"


def urllib_status(url: str, body: bytes) -> int:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 - a loopback URL
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def requests_status(url: str, body: bytes) -> int:
    return requests.post(
        url, body, headers={"Content-Type": "application/json"}, timeout=30
    ).status_code


def curl_status(url: str, body: bytes) -> int:
    command = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        JSON,
        "--data-binary",
        "@-",
        url,
    ]
    return int(
        subprocess.run(command, input=body, capture_output=True, check=True, timeout=30).stdout
    )


@pytest.mark.parametrize("status_of", [urllib_status, requests_status, curl_status])
def test_clients_read_why_a_body_is_too_large(
    server: Server, status_of: Callable[[str, bytes], int]
) -> None:
    if status_of is curl_status:
        assert shutil.which("curl"), "curl is part of what the tests need"
    assert status_of(server.url + "/embed/text", b" " * (33 * 2**20)) == 413
    assert status_of(server.url + "/nope", b" " * (2 * 2**20)) == 404


@pytest.mark.parametrize(
    "path", ["/embed/text%0a", "/%0a", "/%0d%0a", "/%00", "/embed//text", "/%ff", "/" + "a" * 9000]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_unknown_path_is_a_problem(server: Server, method: str, path: str) -> None:
    response = requests.request(method, server.url + path, timeout=30)
    assert (response.status_code, response.headers["Content-Type"]) == (404, PROBLEM.decode())
    assert response.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/robots.txt", "/favicon.ico", "/static/x"])
def test_paths_that_the_framework_keeps_for_itself_are_problems_too(
    server: Server, path: str
) -> None:
    for method in ("GET", "POST"):
        response = requests.request(method, server.url + path, timeout=30)
        assert (response.status_code, response.headers["Content-Type"]) == (404, PROBLEM.decode())


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https", "X-Forwarded-Protocol": "http"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
        {"X-Forwarded-Protocol": "ssl", "X-Forwarded-Ssl": "\xff\xfe"},
    ],
)
def test_headers_of_proxies_that_contradict_each_other_change_nothing(
    server: Server, headers: dict[str, str]
) -> None:
    assert server.get("/health/live", headers=headers).json() == {"status": "alive"}


def test_requests_that_come_together_are_answered_in_order(server: Server) -> None:
    body = json.dumps(TEXT).encode()
    embed, last = head("/embed/text", len(body), JSON) + body, head("/nope", 0, "Connection: close")
    with connect(server) as connection:
        connection.sendall(embed * 3 + last[:30])
        connection.sendall(last[30:])
        answers = read_all(connection)
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answers)
    assert statuses == [b"200"] * 3 + [b"404"]


def test_a_large_answer_is_whole_for_a_caller_that_reads_late(server: Server) -> None:
    body = json.dumps({"texts": ["a fox"] * 2048}).encode()
    with connect(server) as connection:
        connection.sendall(head("/embed/text", len(body), JSON) + body)
        assert answers_soon(server)
        with http.client.HTTPResponse(connection) as response:
            response.begin()
            assert len(json.load(response)["embeddings"]) == 2048


def test_what_a_caller_that_left_had_asked_for_is_dropped(server: Server) -> None:
    """The request would take seconds. A later one does not wait for it, and a retry is accepted."""
    body = json.dumps(SLOW).encode()
    before = len(gone(server))
    with connect(server) as connection:
        connection.sendall(head("/embed/text", len(body), JSON) + body)
        wait_until(lambda: queue_items(server) > 0)
    wait_until(lambda: queue_items(server) == 0)
    wait_until(lambda: len(gone(server)) == before + 1)
    assert gone(server)[-1]["route"] == "/embed/text"


def gone(server: Server) -> list[dict[str, object]]:
    """The records of requests whose caller left."""
    return [record for record in server.records() if record.get("status") == 499]


def queue_items(server: Server) -> float:
    lines = [
        line
        for line in server.get("/metrics").text.splitlines()
        if "queue" in line and 'tower="text"' in line
    ]
    return float(lines[0].rsplit(" ", 1)[1])


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until


def test_callers_who_half_close_are_answered(server: Server) -> None:
    """`nc -N` does so; what is answered within a look of the watch is never given up."""
    with connect(server) as connection, ThreadPoolExecutor(1) as pool:
        connection.sendall(head("/health/live", 0, method="GET"))
        connection.shutdown(socket.SHUT_WR)
        assert pool.submit(read_all, connection).result(30).startswith(b"HTTP/1.1 200")
