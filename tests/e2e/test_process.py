"""The deployed process: threads, first requests, crashes, signals, settings, log records."""

import hashlib
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.server import Server, at_once, serve, start
from tests.image_server import ImageServer, picture, serving
from tests.image_urls import FOX
from tests.paths import ROOT

CRASHING = f'''
"""The real function with one more protocol, whose only handler has a bug."""
import sys
sys.path.insert(0, {str(ROOT)!r})
import main
from functions.protocols import speaking
from functions.route import Answer, Protocol, Route
from functions.router import Router

def crash(call):
    raise ZeroDivisionError("/secret/path")

FAULTY = Protocol("Faulty", "What crashes.", (Route("GET", "/crash", crash, Answer()),))
router = Router(main.service, (*speaking(main.settings.protocols), FAULTY))

def embed(request):
    return router.dispatch(request)
'''
WEIGHTS = "open_clip_model.safetensors"


def messages(server: Server, message: str) -> list[dict[str, object]]:
    return [record for record in server.records() if record["message"] == message]


@dataclass(frozen=True)
class FirstRequests:
    """What a fresh process answered and logged: a text request, then one with images.

    `early` and `late` are the records after the first and after the second.
    """

    banner: dict[str, Any]
    secret: str
    early: list[dict[str, Any]]
    late: list[dict[str, Any]]
    log: str


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> FirstRequests:
    """Of a process with packages of our names on PYTHONPATH, which must not win over ours."""
    folder = tmp_path_factory.mktemp("first")
    for name in ("common", "functions"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('shadowed')")
    settings: Any = {
        "PYTHONPATH": str(folder),
        "CLIP_FETCH_ALLOW_HOSTS": "*.example.com, 127.0.0.1",
    }
    with serve(folder, **settings, LOG_EXECUTION_ID="true") as server, serving() as images:
        server.post("/embed/text", {"texts": ["a fox"]}).raise_for_status()
        banner, early = server.get("/").json(), server.records()
        secret = images.url + "/gone.png?token=secret"
        body = {"texts": ["a pizza"], "urls": [FOX, secret]}
        server.post("/embed/mixed?key=secret", body).raise_for_status()
        return FirstRequests(banner, secret, early, server.records(), server.log.read_text())


def test_our_packages_win_over_site_packages_of_the_same_name(first: FirstRequests) -> None:
    assert first.banner["model"] == "demo"


def test_a_text_request_loads_no_image_tower(first: FirstRequests) -> None:
    (record,) = [record for record in first.early if record["message"] == "tower loaded"]
    assert (record["tower"], record["severity"]) == ("text", "INFO")
    assert isinstance(record["seconds"], float)
    assert isinstance(record["memory_mb"], int)
    assert (first.banner["text"]["loaded"], first.banner["image"]["loaded"]) == (True, False)


def test_one_record_a_request_says_what_it_cost(first: FirstRequests) -> None:
    answered = [record for record in first.late if "httpRequest" in record]
    assert [(record["route"], record["cold"]) for record in answered] == [
        ("/embed/text", True),
        ("/", False),
        ("/embed/mixed", False),
    ]
    record = answered[-1]
    assert (record["severity"], record["status"]) == ("INFO", 200)
    assert (record["texts"], record["images"], record["images_failed"]) == (1, 2, 1)
    assert {"fetch", "decode", "queue", "encode"} <= set(record["stages_ms"])
    assert record["batch_sizes"] == [1, 1]
    (warning,) = [one for one in first.late if one["message"] == "image not embedded"]
    assert (warning["severity"], warning["code"], warning["host"]) == (
        "WARNING",
        "http_status",
        "127.0.0.1",
    )
    assert warning["request_id"] == record["request_id"]
    assert warning["url_hash"] == hashlib.sha256(first.secret.encode()).hexdigest()[:12]
    assert "secret" not in first.log


def test_what_changes_where_images_may_come_from_is_loud_at_the_start(
    first: FirstRequests,
) -> None:
    warnings = [str(record["message"]) for record in first.early if record["severity"] == "WARNING"]
    assert warnings == [
        "CLIP_FETCH_ALLOW_HOSTS changes which addresses are fetched: *.example.com, 127.0.0.1",
        "CLIP_FETCH_ALLOW_NETWORKS changes which addresses are fetched: 127.0.0.0/8",
    ]


@pytest.mark.parametrize(("engine", "threads"), [("onnx", "8"), ("onnx", "64"), ("torch", "8")])
def test_32_first_requests_at_once_load_each_tower_once(
    tmp_path: Path, engine: str, threads: str
) -> None:
    """With few threads, most of them wait for one until both towers are loaded."""
    unhurried: Any = {"CLIP_LOAD_TIMEOUT_S": "280", "CLIP_REQUEST_TIMEOUT_S": "280"}
    with serve(tmp_path, CLIP_ENGINE=engine, THREADS=threads, **unhurried) as server:
        responses = at_once(
            32, lambda: server.post("/embed/mixed", {"texts": ["a fox"], "urls": [FOX]})
        )
        assert {response.status_code for response in responses} == {200}
        first = responses[0].json()
        for response in responses:
            body = response.json()
            assert body["text_embeddings"][0] == pytest.approx(
                first["text_embeddings"][0], abs=1e-6
            )
            assert body["image_embeddings"][0] == pytest.approx(
                first["image_embeddings"][0], abs=1e-6
            )
        loads = {(record["tower"], record["engine"]) for record in messages(server, "tower loaded")}
        assert loads == {("text", engine), ("image", engine)}
        assert len(messages(server, "tower loaded")) == 2


def test_a_caller_who_cannot_wait_for_a_load_is_told_to_come_back(tmp_path: Path) -> None:
    """With the torch engine, whose import alone takes seconds."""
    with serve(
        tmp_path, CLIP_ENGINE="torch", CLIP_LOAD_TIMEOUT_S="0.001", CLIP_HEALTH_WAIT_S="0"
    ) as server:
        health = server.get("/health")
        assert (health.status_code, health.json()["status"]) == (503, "loading")
        assert health.json()["model_loaded"] is False
        refused = server.post("/embed/text", {"texts": ["a fox"]})
        assert (refused.status_code, refused.json()["code"]) == (503, "model_loading")
        assert refused.headers["Retry-After"] == "2"
        assert server.get("/health/live").status_code == 200
        for _ in range(30):
            if (answer := retry_after(server, refused)).status_code == 200:
                break
        assert answer.status_code == 200


def test_preload_loads_in_the_worker_before_any_request(tmp_path: Path) -> None:
    with serve(tmp_path, CLIP_PRELOAD="text") as server:
        response = server.post("/embed/text", {"texts": ["a fox"]})
        assert response.status_code == 200
        (record,) = messages(server, "tower loaded")
        assert "request_id" not in record  # no request asked for it


@pytest.mark.parametrize("threads", ["", "1"], ids=["default threads", "one thread"])
def test_sigterm_lets_a_request_finish(
    tmp_path: Path, image_server: ImageServer, threads: str
) -> None:
    """The signal comes while the slow image is being fetched.

    The answer has the good image's vector and the slow image's error.
    """
    settings: Any = {"CLIP_FETCH_TIMEOUT_S": "5", "CLIP_HEALTH_WAIT_S": "60"} | (
        {"THREADS": threads} if threads else {}
    )
    with serve(tmp_path, **settings) as server, ThreadPoolExecutor(1) as pool:
        assert server.get("/health").json()["status"] == "healthy"
        urls = [image_server.url + "/drip", image_server.serve("/a.png", picture())]
        answer: Future[requests.Response] = pool.submit(server.post, "/embed/image", {"urls": urls})
        assert image_server.seen("/drip")
        server.process.send_signal(signal.SIGTERM)
        body = answer.result().json()
        assert (body["indices"], [error["code"] for error in body["errors"]]) == ([1], ["timeout"])
        assert server.process.wait(30) == 0


def test_a_crash_is_a_problem_and_one_record_and_the_next_request_is_right(tmp_path: Path) -> None:
    source = tmp_path / "crashing.py"
    source.write_text(CRASHING)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with serve(tmp_path, source=source, GOOGLE_CLOUD_PROJECT="acme") as server:
        headers = {
            "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
            "Function-Execution-Id": "run1",
        }
        response = server.get("/crash", headers=headers | {"X-Request-Id": "mine"})
        assert (response.status_code, response.headers["Content-Type"]) == (
            500,
            "application/problem+json",
        )
        assert "X-Google-Status" not in response.headers
        assert response.json()["code"] == "internal"
        assert "secret" not in response.text
        (record,) = [record for record in server.records() if record["severity"] == "ERROR"]
        assert "ZeroDivisionError" in str(record["stack_trace"])
        assert str(record["stack_trace"]) in str(record["message"])
        assert (record["request_id"], record["status"], record["route"]) == ("mine", 500, "/crash")
        assert record["logging.googleapis.com/trace"] == f"projects/acme/traces/{trace}"
        assert record["logging.googleapis.com/spanId"] == "00f067aa0ba902b7"
        assert record["logging.googleapis.com/trace_sampled"] is True
        assert record["logging.googleapis.com/labels"] == {"execution_id": "run1"}
        assert server.post("/embed/text", {"texts": ["a fox"]}).status_code == 200


def test_log_level_silences_what_is_below_it(tmp_path: Path) -> None:
    with serve(tmp_path, LOG_LEVEL="warning") as server:
        server.post("/embed/text", {"texts": ["a fox"]}).raise_for_status()
        server.post("/embed/image", {"urls": ["no url"]}).raise_for_status()
        assert {record["severity"] for record in server.records()} == {"WARNING"}


def test_texts_that_take_too_long_are_504_and_images_get_a_timeout(
    tmp_path: Path, image_server: ImageServer
) -> None:
    hurried: Any = {"CLIP_REQUEST_TIMEOUT_S": "0.5", "CLIP_HEALTH_WAIT_S": "60"}
    with serve(tmp_path, **hurried) as server:
        server.get("/health").raise_for_status()
        late = server.post(
            "/embed/text", {"texts": [f"{'long ' * 70}{number}" for number in range(2048)]}
        )
        assert (late.status_code, late.json()["code"]) == (504, "timeout")
    slower: Any = {"CLIP_REQUEST_TIMEOUT_S": "4", "CLIP_FETCH_TIMEOUT_S": "20"}
    with serve(tmp_path, **hurried | slower) as server:
        server.get("/health").raise_for_status()
        images = server.post("/embed/image", {"urls": [image_server.url + "/silent"]}).json()
        assert [error["code"] for error in images["errors"]] == ["timeout"]
        assert server.get("/health").json()["status"] == "healthy"


def test_a_full_queue_is_429_with_retry_after(tmp_path: Path, image_server: ImageServer) -> None:
    with (
        serve(tmp_path, CLIP_MAX_QUEUE_ITEMS="1", CLIP_FETCH_TIMEOUT_S="30") as server,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(server.post, "/embed/image", {"urls": [image_server.url + "/gated"]})
        assert image_server.seen("/gated")
        refused = server.post("/embed/image", {"urls": [FOX]})
        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["Retry-After"]) >= 1
        image_server.gate.set()
        assert first.result().status_code == 200
        assert server.post("/embed/image", {"urls": [FOX]}).json()["indices"] == [0]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"CLIP_MODLE": "demo"}, "CLIP_MODLE is not a setting; did you mean CLIP_MODEL?"),
        ({"CLIP_NUM_THREADS": "many"}, "CLIP_NUM_THREADS='many' cannot be used"),
        ({"CLIP_MODEL": "no-such-model"}, "no model 'no-such-model'"),
    ],
)
def test_a_bad_setting_stops_the_start_and_names_itself(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    server, _ = start(tmp_path / "server.log", settings)
    assert server.process.wait(60) != 0
    log = server.log.read_text()
    assert named in log
    assert "Traceback" not in log


def test_a_tower_whose_weights_are_missing_or_wrong_says_so_and_recovers(tmp_path: Path) -> None:
    """CLIP_WEIGHTS_DIR is searched first, for any model.

    Here it holds the demo's weights under another name.
    """
    source, folder = ROOT / "common/models/demo/clip", tmp_path / "weights" / "emoji-small"
    good = (source / WEIGHTS).read_bytes()
    settings: Any = {"CLIP_MODEL": "emoji/small", "CLIP_WEIGHTS_DIR": str(tmp_path / "weights")}
    with serve(tmp_path, **settings, CLIP_ALLOW_DOWNLOAD="false") as server:
        missing = server.post("/embed/text", {"texts": ["a fox"]})
        assert (missing.status_code, missing.json()["code"]) == (503, "model_unavailable")
        assert "emoji/small" in missing.json()["detail"]
        assert str(tmp_path) not in missing.text
        folder.mkdir(parents=True)
        (folder / "open_clip_config.json").write_bytes(
            (source / "open_clip_config.json").read_bytes()
        )
        (folder / "SHA256SUMS").write_text(f"{hashlib.sha256(good).hexdigest()}  {WEIGHTS}\n")
        weights = folder / WEIGHTS
        weights.write_bytes(good[:-1] + b"?")
        wrong = retry_after(server, missing)
        assert wrong.status_code == 503
        assert "has sha256" in wrong.json()["detail"]
        assert server.get("/health").json()["status"] == "unhealthy"
        weights.write_bytes(good)
        assert retry_after(server, wrong).status_code == 200


def retry_after(server: Server, refused: requests.Response) -> requests.Response:
    """Ask again when the answer said to."""
    threading.Event().wait(int(refused.headers["Retry-After"]))
    return server.post("/embed/text", {"texts": ["a fox"]})


def test_smoke_passes_against_a_running_function(demo: Server) -> None:
    command = [sys.executable, "-m", "tests.smoke", demo.url]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "ok   ranking" in run.stdout
