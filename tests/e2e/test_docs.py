"""/openapi.json, /docs and /metrics, through the real console script."""

import base64
from typing import Any

import pytest
import requests
from openapi_spec_validator import validate
from prometheus_client.parser import text_string_to_metric_families

from functions.examples import FOX_SIGNS, TEXT_SIGNS
from tests.contract import check_contract, contract
from tests.e2e.server import Server
from tests.spoken import ROUTES

MAX_SIGNS = 4  # of 256
CASES = [(route.path, name) for route in ROUTES for name in route.examples]


def assert_near(given: Any, documented: Any) -> None:
    """Equal except for what differs by processor: last digits, and signs of values near 0."""
    if isinstance(documented, dict):
        assert given.keys() == documented.keys()
        for name, part in documented.items():
            assert_near(given[name], part)
    elif isinstance(documented, list):
        assert len(given) == len(documented)
        for parts in zip(given, documented, strict=True):
            assert_near(*parts)
    elif isinstance(documented, str) and documented in (TEXT_SIGNS, FOX_SIGNS):
        bits = [
            int.from_bytes(base64.b64decode(signs, validate=True), "big")
            for signs in (given, documented)
        ]
        assert (bits[0] ^ bits[1]).bit_count() <= MAX_SIGNS
    else:
        assert given == (
            pytest.approx(documented, abs=0.01) if isinstance(documented, float) else documented
        )


@pytest.mark.parametrize(("path", "name"), CASES)
def test_every_documented_example_gives_what_it_says(demo: Server, path: str, name: str) -> None:
    operation = demo.get("/openapi.json").json()["paths"][path]["post"]
    request = operation["requestBody"]["content"]["application/json"]["examples"][name]["value"]
    own = path.replace("{id}", "demo")
    answer = demo.post(own, request, headers={"X-Request-Id": "example"})
    assert answer.status_code == 200
    check_contract(path, answer)
    documented = operation["responses"]["200"]["content"]["application/json"].get("examples", {})
    if name in documented:
        assert_near(answer.json(), documented[name]["value"])


def test_the_document_is_served_as_it_is_checked(demo: Server) -> None:
    served = demo.get("/openapi.json").json()
    validate(served)
    assert served == contract()


@pytest.mark.parametrize(
    "path", ["/", "/health", "/health/live", "/v1/models", "/v1/models/demo", "/meta", "/models"]
)
def test_what_is_read_is_as_documented(demo: Server, path: str) -> None:
    own = {"/v1/models/demo": "/v1/models/{id}", "/models": "/v1/models"}.get(path, path)
    check_contract(own, demo.get(path))


def test_errors_are_as_documented(demo: Server) -> None:
    for path in (route.path for route in ROUTES if route.body):
        answer = demo.post(path, {"nothing": "that is known"})
        assert answer.status_code == (415 if path == "/predict" else 400)  # which reads forms alone
        check_contract(path, answer)
    check_contract("/v1/models/{id}", demo.get("/v1/models/other"))


def test_the_page_and_its_files_come_from_the_function_alone(demo: Server) -> None:
    page = demo.get("/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text
    kinds = {
        "swagger-ui.css": "text/css",
        "swagger-ui-bundle.js": "text/javascript",
        "show.js": "text/javascript",
    }
    for name, kind in kinds.items():
        packed = demo.get(f"/docs/{name}")
        plain = requests.get(
            f"{demo.url}/docs/{name}", headers={"Accept-Encoding": "identity"}, timeout=30
        )
        assert packed.content == plain.content
        assert plain.headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert "max-age" in packed.headers["Cache-Control"]
    assert demo.get("/docs/../main.py").status_code == 404
    assert demo.get("/docs/index.html").status_code == 404


def samples(demo: Server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels."""
    answer = demo.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_metrics_count_what_happened(demo: Server) -> None:
    def value(name: str, **labels: str) -> float:
        return now.get((name, frozenset(labels.items())), 0.0)

    now = samples(demo)
    names = ("clip_requests_total", "clip_items_embedded_total", "clip_images_failed_total")
    route = "POST /embed/mixed"
    labels = ({"route": route, "status": "200"}, {"kind": "text"}, {"code": "not_an_image"})
    before = [value(name, **own) for name, own in zip(names, labels, strict=True)]
    demo.post(
        "/embed/mixed", {"texts": ["a fox", "a pizza"], "urls": ["data:image/png;base64,AAAA"]}
    )
    now = samples(demo)
    grown = [value(name, **own) - old for name, own, old in zip(names, labels, before, strict=True)]
    assert grown == [1, 2, 1]
    assert value("clip_tower_loads_total", tower="text", outcome="loaded") == 1
    assert value("clip_request_duration_seconds_count", route=route) >= value(names[0], **labels[0])
    assert value("clip_batch_size_items_count", tower="text") >= 1
    assert value("clip_queue_items", tower="text") == 0
    assert value("clip_resident_memory_bytes") > 50e6
    assert value("clip_stage_duration_seconds_count", stage="encode") >= 1


def test_metrics_hold_no_address_and_no_text_of_callers(demo: Server) -> None:
    demo.get("/secret-path?token=hunter2")
    demo.post("/embed/image", {"urls": ["http://internal.example:8080/a.png?key=hunter2"]})
    text = demo.get("/metrics").text
    assert not any(secret in text for secret in ("hunter2", "internal.example", "secret-path"))
