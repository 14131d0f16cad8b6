"""Dashboard and alerts are about records that the function writes and metrics that exist."""

import json
import logging
import re
from typing import Any

import pytest
from flask import Request
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import Client

from common import logging as records
from common.batcher import BatchLimits
from common.config import Settings
from common.errors import ModelUnavailable
from common.models.tower import Tower
from functions.router import Router
from functions.service import open_service
from tests.asking import asking
from tests.fake_encoders import FakeText
from tests.paths import ROOT
from tests.spoken import PROTOCOLS

FOLDER = ROOT / "deploy/monitoring"
METRICS: dict[str, Any] = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((FOLDER / "metrics").glob("*.json"))
}
POLICIES: dict[str, Any] = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((FOLDER / "policies").glob("*.json"))
}
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
TERM = re.compile(r'jsonPayload\.(\w+)(=|:)(?:"([^"]*)"|(true|false))')
OF_THE_PLATFORM = "run.googleapis.com/container/"
ALIGNERS = {"ALIGN_RATE", "ALIGN_DELTA", "ALIGN_MAX"}


def matches(metric: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Whether the metric's filter takes a record, as Cloud Logging reads it."""
    terms = metric["filter"].split(" AND ")
    assert terms[0] == 'resource.type="cloud_run_revision"'
    return all(_holds(term, entry) for term in terms[1:])


def _holds(term: str, entry: dict[str, Any]) -> bool:
    match = TERM.fullmatch(term)
    assert match, term
    name, operator, text, flag = match.groups()
    found = entry.get(name)
    if flag:
        return found is (flag == "true")
    return text in str(found) if operator == ":" else found == text


def extracted(metric: dict[str, Any]) -> set[str]:
    """The fields that the metric reads."""
    texts = [*metric.get("labelExtractors", {}).values(), metric.get("valueExtractor", "")]
    return {
        match[1]
        for text in texts
        if (match := re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", text))
    }


def entries_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The records so far, as they reach Cloud Logging."""
    formatter = records.JsonFormatter()
    return [json.loads(formatter.format(record)) for record in caplog.records]


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> dict[str, list[dict[str, Any]]]:
    """By metric: its records, of a request, one with a broken image, and a load that failed."""
    caplog.set_level(logging.INFO)
    service = open_service(Settings.from_env({"CLIP_MODEL": "demo"}))
    router = Router(service, PROTOCOLS)
    application: Any = Request.application(router.dispatch)  # type: ignore[arg-type] # flask's
    client = Client(application)
    assert client.get("/no-such-path").status_code == 404
    image = {"urls": ["data:image/png;base64,AAAA"]}
    assert client.post("/embed/image", json=image).status_code == 200

    def fail() -> FakeText:
        raise MemoryError

    with pytest.raises(ModelUnavailable):
        Tower("text", fail, BatchLimits(max_batch_size=1, max_queue_items=1)).wait(10.0)
    entries = entries_of(caplog)
    return {
        name: [entry for entry in entries if matches(metric, entry)]
        for name, metric in METRICS.items()
    }


def test_each_metric_counts_the_records_it_is_about(
    written: dict[str, list[dict[str, Any]]],
) -> None:
    assert {name: len(found) for name, found in written.items()} == {
        "clip_requests": 2,
        "clip_request_ms": 2,
        "clip_cold_starts": 1,
        "clip_failed_images": 1,
        "clip_failed_loads": 1,
    }
    for name, found in written.items():
        assert extracted(METRICS[name]) <= set(found[0]), name
    assert [entry["status"] for entry in written["clip_requests"]] == [404, 200]
    assert written["clip_failed_images"][0]["code"] == "not_an_image"
    assert written["clip_failed_loads"][0]["tower"] == "text"


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_has_the_shape_of_a_log_metric(metric: dict[str, Any]) -> None:
    descriptor = metric["metricDescriptor"]
    labels = {label["key"] for label in descriptor.get("labels", [])}
    assert labels == set(metric.get("labelExtractors", {}))
    is_distribution = descriptor["valueType"] == "DISTRIBUTION"
    assert is_distribution is ("valueExtractor" in metric) is ("bucketOptions" in metric)
    assert descriptor["metricKind"] == "DELTA"


def queries(value: object) -> list[dict[str, Any]]:
    """Everything in a file that has a filter of a metric, at any depth."""
    if isinstance(value, list):
        return [query for item in value for query in queries(item)]
    if not isinstance(value, dict):
        return []
    own = [value] if "filter" in value else []
    return own + [query for item in value.values() for query in queries(item)]


@pytest.mark.parametrize("file", [DASHBOARD, *POLICIES.values()], ids=["dashboard", *POLICIES])
def test_charts_and_alerts_ask_for_metrics_and_labels_that_exist(file: dict[str, Any]) -> None:
    found = queries(file)
    assert found
    for query in found:
        for text in (query["filter"], query.get("denominatorFilter", query["filter"])):
            kind = re.search(r'metric\.type="([^"]+)"', text)
            assert kind
            if kind[1].startswith(OF_THE_PLATFORM):
                continue
            metric = METRICS[kind[1].removeprefix("logging.googleapis.com/user/")]
            labels = set(re.findall(r'metric\.label\."(\w+)"', json.dumps(query).replace("\\", "")))
            assert labels <= set(metric.get("labelExtractors", {})), text
        given = query.get("aggregations") or [query["aggregation"]]
        assert {one["perSeriesAligner"] for one in given} <= ALIGNERS


def test_the_dashboard_shows_every_metric_on_tiles_that_do_not_overlap() -> None:
    text = json.dumps(DASHBOARD)
    assert [name for name in METRICS if f"user/{name}" not in text] == []
    layout = DASHBOARD["mosaicLayout"]
    taken: set[tuple[int, int]] = set()
    for tile in layout["tiles"]:
        assert tile["xPos"] + tile["width"] <= layout["columns"]
        cells = {
            (tile["xPos"] + x, tile["yPos"] + y)
            for x in range(tile["width"])
            for y in range(tile["height"])
        }
        assert not cells & taken
        taken |= cells


def test_an_alert_has_one_condition_that_says_what_to_do() -> None:
    assert set(POLICIES) == {"errors", "refused", "latency", "failed-loads"}
    for policy in POLICIES.values():
        (condition,) = policy["conditions"]
        assert policy["documentation"]["content"]
        threshold = condition["conditionThreshold"]
        assert threshold["comparison"] == "COMPARISON_GT"
        assert threshold["thresholdValue"] >= 0
        assert threshold["duration"].endswith("s")


def test_the_page_names_every_file_and_every_prometheus_metric() -> None:
    page = (ROOT / "docs/operations.md").read_text("utf-8")
    for path in sorted(FOLDER.iterdir()):
        assert f"deploy/monitoring/{path.name}" in page
    scraped = asking()("/metrics").text
    exposed = {family.name for family in text_string_to_metric_families(scraped)}
    assert set(re.findall(r"`(clip_\w+)`", page)) == exposed | set(METRICS)
