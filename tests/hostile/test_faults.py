"""Faults of callers, hosts and the machine: after each, the real process answers correctly."""

import json
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from common.images.transport import RESOLVER_THREADS
from tests.e2e.cost import worker_of
from tests.e2e.server import Server, at_once, serve
from tests.hostile.callers import connect
from tests.image_server import ImageServer, picture, serving
from tests.image_urls import data_url
from tests.paths import ROOT
from tests.waiting import wait_for

TIMEOUT_S = 8
THREADS = 8
TEXT = {"texts": ["a fox"]}
FAILS_ONCE = f'''
"""The real function, whose engine throws at two of its batches of texts."""
import itertools, sys
sys.path.insert(0, {str(ROOT)!r})
import main
from common.models import onnx_engine

run, batches = onnx_engine.OnnxText.encode, itertools.count()

def encode(self, items):
    # Batch 0 is the load's own. After batch 1, two batches try its items one by one.
    if next(batches) in (1, 5):
        raise RuntimeError("/secret/path")
    return run(self, items)

onnx_engine.OnnxText.encode = encode

def embed(request):
    return main.embed(request)
'''


SILENT_DNS = f'''
"""The real function, whose name server answers when nobody waits for it any more."""
import socket, sys, threading

def late(*_, **__):
    threading.Event().wait(8)
    raise socket.gaierror(socket.EAI_AGAIN, "late")

socket.getaddrinfo = late
sys.path.insert(0, {str(ROOT)!r})
import main

def embed(request):
    return main.embed(request)
'''
READ_ONLY = f'''
"""The real function, for whose worker every disk is read-only."""
import errno, os, sys
sys.path.insert(0, {str(ROOT)!r})
import main

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {{
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"
}}

def refuse(event, arguments):
    writes = event == "open" and arguments[2] & WRITING and arguments[0] != "/dev/null"
    if event in CHANGES or writes:
        raise OSError(errno.EROFS, f"Read-only file system: {{arguments[0]}}")

def begin():
    sys.addaudithook(refuse)
    try:
        open("written", "w")
    except OSError:
        print("read-only", flush=True)

os.register_at_fork(after_in_child=begin)

def embed(request):
    return main.embed(request)
'''


@contextmanager
def serving_demo(
    folder: Path, timeout_s: float = TIMEOUT_S, queue_items: int = 2048
) -> Iterator[Server]:
    """A server of THREADS threads, both towers loaded, that is as good after the test as before."""
    timeout, items = str(timeout_s), str(queue_items)
    with serve(
        folder,
        CLIP_REQUEST_TIMEOUT_S=timeout,
        CLIP_MAX_QUEUE_ITEMS=items,
        CLIP_HEALTH_WAIT_S="60",
        CLIP_FETCH_TIMEOUT_S="2",
        THREADS=str(THREADS),
    ) as server:
        before = right(server)
        yield server
        assert right(server) == pytest.approx(before, abs=1e-6)


def right(server: Server) -> list[float]:
    """The vector of a text, from a healthy server."""
    assert server.get("/health").json()["status"] == "healthy"
    vector: list[float] = server.post("/embed/text", TEXT).json()["embeddings"][0]
    return vector


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_demo(tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy_after(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "server" in request.fixturenames:
        right(request.getfixturevalue("server"))


def head(length: int | str, *lines: str) -> bytes:
    names = "\r\n".join(
        ["POST /embed/text HTTP/1.1", "Host: a", "Content-Type: application/json", *lines]
    )
    return f"{names}\r\nContent-Length: {length}\r\n\r\n".encode()


CHUNKED = head(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


def drip(server: Server, start: bytes, piece: bytes) -> bytes:
    """Promise a body and send a piece now and then, until an answer comes."""
    with connect(server) as connection:
        until = time.monotonic() + 4 * TIMEOUT_S
        connection.sendall(start)
        connection.settimeout(0.1)
        answer = b""
        while time.monotonic() < until and not answer:
            try:
                connection.sendall(piece)
                answer = connection.recv(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return answer


@pytest.mark.parametrize(
    ("start", "piece"), [(head(10_000), b" "), (CHUNKED, b"1\r\n \r\n")], ids=["length", "chunks"]
)
def test_callers_who_drip_their_bodies_hold_their_threads_no_longer_than_the_timeout(
    server: Server, start: bytes, piece: bytes
) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        slow = [pool.submit(drip, server, start, piece) for _ in range(THREADS)]
        for answer in (one.result() for one in slow):
            assert answer.startswith(b"HTTP/1.1 504")


def test_callers_who_drip_after_they_were_refused_hold_no_thread_either(server: Server) -> None:
    """The server reads what was left of a body before it takes a connection's next request."""
    connections = [connect(server) for _ in range(THREADS)]
    for connection in connections:
        connection.sendall(head(10_000).replace(b"/embed/text", b"/nowhere"))
    for connection in connections:
        assert connection.recv(4096).startswith(b"HTTP/1.1 404")
    with dripping(connections):
        assert server.get("/health/live").status_code == 200


@contextmanager
def dripping(connections: list[socket.socket]) -> Iterator[None]:
    """Meanwhile each sends a byte now and then."""
    done = threading.Event()

    def drip_all() -> None:
        while not done.wait(0.1):
            for connection in connections:
                with suppress(OSError):
                    connection.sendall(b" ")

    thread = threading.Thread(target=drip_all)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for connection in connections:
            connection.close()


def test_callers_who_do_not_read_their_answers_hold_no_thread_for_ever(server: Server) -> None:
    body = json.dumps(
        {"texts": ["a fox"] * 2048}
    ).encode()  # some 6 MB of an answer, more than sockets hold
    with ExitStack() as stack:
        for _ in range(THREADS):
            connection = stack.enter_context(connect(server))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(head(len(body)) + body)
        assert wait_for(lambda: len(answered(server, "/embed/text", texts=2048)) >= THREADS)
        assert server.get("/health/live").status_code == 200


def answered(server: Server, route: str, **facts: object) -> list[dict[str, object]]:
    """The records of requests to `route` with these facts."""
    return [
        record
        for record in server.records()
        if record.get("route") == route and facts.items() <= record.items()
    ]


def test_callers_who_leave_amid_their_body_or_before_the_answer(
    server: Server, image_server: ImageServer
) -> None:
    for _ in range(20):
        with connect(server) as connection:
            connection.sendall(head(10_000) + b'{"texts"')
    body = json.dumps({"urls": [f"{image_server.url}/silent?{n}" for n in range(3)]}).encode()
    for _ in range(8):
        with connect(server) as connection:
            connection.sendall(head(len(body)).replace(b"text", b"image", 1) + body)
    errors = [record for record in server.records() if record["severity"] == "ERROR"]
    assert errors == []


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST /embed/text HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST /embed/text HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (
            b"POST /embed/text HTTP/1.1\r\nHost: a\r\n"
            b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            400,
        ),
        (head("9" * 30) + b"{}", 413),
        (head(2, "Expect: 100-continue") + b"{}", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            None,
        ),  # TLS: no answer that it could read
    ],
)
def test_broken_http_is_answered_and_forgotten(
    server: Server, raw: bytes, status: int | None
) -> None:
    with connect(server) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert statuses[-1:] == ([str(status).encode()] if status else [])


def test_an_image_host_that_dies_midway_costs_its_own_images(
    server: Server, image_server: ImageServer
) -> None:
    good = image_server.serve("/good.png", picture())
    with serving() as dying, ThreadPoolExecutor(1) as pool:
        urls = [
            f"{dying.url}/drip",
            f"{dying.url}/gated",
            good,
            f"{dying.url}/liar",
            f"{dying.url}/reset",
        ]
        answer = pool.submit(server.post, "/embed/image", {"urls": urls})
        assert dying.seen("/drip")
        dying.shutdown()
        dying.server_close()
        body = answer.result().json()
    assert body["indices"] == [2]
    assert [error["index"] for error in body["errors"]] == [0, 1, 3, 4]


def test_a_redirect_to_what_is_no_url_is_one_entry(
    server: Server, image_server: ImageServer
) -> None:
    for location in ("http://[::1/", "//[", "http://exa\u2100mple.com/", "http://a:b:c/"):
        (error,) = server.post(
            "/embed/image", {"urls": [image_server.redirect_to(location)]}
        ).json()["errors"]
        assert error["code"] in ("invalid_url", "too_many_redirects"), location


def test_a_name_that_does_not_resolve_is_one_entry(server: Server) -> None:
    body = server.post("/embed/image", {"urls": ["http://no-such-host.invalid/a.png"]}).json()
    assert body["errors"][0]["code"] in ("dns_failure", "timeout")


def test_a_name_server_that_is_silent_costs_its_own_images_and_no_more_than_the_deadline(
    tmp_path: Path,
) -> None:
    """More names than the resolver has threads; what needs no name is served meanwhile."""
    source = tmp_path / "silent_dns.py"
    source.write_text(SILENT_DNS)
    good = data_url(picture())
    with serve(
        tmp_path, source, CLIP_HEALTH_WAIT_S="60", CLIP_REQUEST_TIMEOUT_S="5", THREADS="8"
    ) as server:
        assert right(server)
        urls = [
            good,
            *(
                f"http://images-{number}.example.com/a.png"
                for number in range(2 * RESOLVER_THREADS)
            ),
        ]
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(server.post, "/embed/image", {"urls": urls})
            assert right(server)
            body = answer.result().json()
        assert body["indices"] == [0]
        assert {error["code"] for error in body["errors"]} <= {"dns_failure", "timeout"}
        assert server.post("/embed/image", {"urls": [good]}).json()["indices"] == [0]
        assert right(server)


def test_a_disk_that_is_read_only_stops_nothing(tmp_path: Path) -> None:
    source = tmp_path / "read_only.py"
    source.write_text(READ_ONLY)
    with serve(tmp_path, source, CLIP_HEALTH_WAIT_S="60", HOME=str(tmp_path / "none")) as server:
        assert right(server)
        assert "read-only" in server.log.read_text()
        good = data_url(picture("AVIF"), "image/avif")
        assert server.post("/embed/image", {"urls": [good]}).json()["indices"] == [0]
        assert server.post("/embed/text", {"texts": 1}).status_code == 400
        assert server.get("/metrics").status_code == 200
        assert right(server)


def test_an_engine_that_throws_once_fails_nobody_who_has_company(tmp_path: Path) -> None:
    """The items of a failed batch are tried one by one; a single text gets an internal error."""
    source = tmp_path / "fails_once.py"
    source.write_text(FAILS_ONCE)
    with serve(tmp_path, source, CLIP_HEALTH_WAIT_S="60") as server:
        assert server.post("/embed/text", {"texts": ["a fox", "a pizza"]}).status_code == 200
        assert right(server)
        failed = server.post("/embed/text", {"texts": ["a crab"]})
        assert (failed.status_code, failed.json()["code"]) == (500, "internal")
        assert "/secret/path" not in failed.text
        assert right(server)


def test_a_disk_that_is_full_stops_nothing(tmp_path: Path) -> None:
    """From its start on the process cannot write a byte to any file, the log's included."""
    with serve(tmp_path, CLIP_HEALTH_WAIT_S="60") as server:
        assert server.get("/health/live").status_code == 200  # there is a worker
        for pid in (server.process.pid, worker_of(server)):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
        assert right(server)
        assert (
            server.post("/embed/image", {"urls": ["data:,"]}).json()["errors"][0]["code"]
            == "not_an_image"
        )
        assert server.post("/embed/text", {"texts": 1}).status_code == 400
        assert right(server)


def test_sigterm_under_load_lets_every_accepted_request_finish(
    tmp_path: Path, image_server: ImageServer
) -> None:
    url = image_server.url + "/gated"
    with (
        serve(tmp_path, THREADS="16", CLIP_HEALTH_WAIT_S="60") as server,
        ThreadPoolExecutor(12) as pool,
    ):
        right(server)
        answers = [
            pool.submit(server.post, "/embed/image", {"urls": [f"{url}?{n}"]}) for n in range(12)
        ]
        with image_server.changed:
            assert image_server.changed.wait_for(
                lambda: image_server.requests["/gated"] >= 4, timeout=30
            )
        server.process.send_signal(signal.SIGTERM)
        threading.Timer(0.5, image_server.gate.set).start()
        assert {answer.result().status_code for answer in answers} == {200}
        assert server.process.wait(30) == 0


def test_a_full_queue_empties_and_is_forgotten(tmp_path: Path) -> None:
    body = {"texts": [f"a fox {n} " * 20 for n in range(600)]}
    with serving_demo(tmp_path, timeout_s=60, queue_items=8) as server:
        statuses = set(at_once(8, lambda: server.post("/embed/text", body).status_code))
        assert statuses == {200, 429}


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_secrets_stay_out_of_answers_and_logs(
    tmp_path: Path, image_server: ImageServer, level: str
) -> None:
    token, where = "s3cr3t-t0k3n", "q=1&X-Goog-Signature=s3cr3t-t0k3n#s3cr3t-t0k3n"
    good = image_server.serve("/good.png", picture())
    paths = [
        "/html",
        "/not-there",
        "/reset",
        "/liar",
        "/metadata",
        "/loop",
        "/redirect/9",
        "/drip",
        "/slow/0.1",
    ]
    urls = [
        f"{good}?{where}",
        *(f"{image_server.url}{path}?{where}" for path in paths),
        f"http://user:{token}@example.com/?{where}",
        f"http://no-such-host.invalid/?{where}",
        f"http://10.0.0.1/?{where}",
        f"not a url {token}",
    ]
    with serve(tmp_path, LOG_LEVEL=level, CLIP_FETCH_TIMEOUT_S="2") as server:
        headers = {"Authorization": f"Bearer {token}", "X-API-Key": token, "Cookie": token}
        response = server.post(f"/embed/image?key={token}", {"urls": urls}, headers=headers)
        assert [error["index"] for error in response.json()["errors"]][-3:] == [11, 12, 13]
        errors = [
            error for error in response.json()["errors"] if error["index"] != 13
        ]  # no URL: nothing to cut
        assert token not in json.dumps(errors)
        server.post("/nowhere?" + where, {token: 1})
    log = (tmp_path / "server.log").read_text()
    assert token not in log
    assert "169.254" not in response.text + log


def test_blocked_urls_tell_nothing_of_what_is_behind_them(server: Server) -> None:
    urls = [
        "http://10.0.0.1/",
        "http://10.0.0.1:22/",
        "http://2130706433/",
        "http://169.254.169.254/",
        "http://[::1]/",
    ]
    errors = server.post("/embed/image", {"urls": urls}).json()["errors"]
    assert {(error["code"], error["detail"], error["retryable"]) for error in errors} == {
        (
            "blocked_url",
            "this URL points to an address that this service does not fetch from",
            False,
        )
    }


def test_a_request_that_is_refused_is_not_read_into_memory(server: Server) -> None:
    """413 comes from the length alone, before the body."""
    with connect(server) as connection:
        connection.sendall(head(33 * 2**20))
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_health_answers_while_requests_wait_for_slow_hosts(
    server: Server, image_server: ImageServer
) -> None:
    with ThreadPoolExecutor(4) as pool:
        slow = [
            pool.submit(server.post, "/embed/image", {"urls": [f"{image_server.url}/silent?{n}"]})
            for n in range(4)
        ]
        assert image_server.seen("/silent")
        assert requests.get(server.url + "/health", timeout=30).status_code == 200
        assert {one.result().status_code for one in slow} == {200}
