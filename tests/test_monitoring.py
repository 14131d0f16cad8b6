"""Dashboard and alerts are about records that the function writes and metrics that exist."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from common import logging as records
from tests.paths import ROOT

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
    for term in terms[1:]:
        match = TERM.fullmatch(term)
        assert match, term
        name, operator, text, flag = match.groups()
        found = entry.get(name)
        if flag:
            taken = found is (flag == "true")
        else:
            taken = text in str(found) if operator == ":" else found == text
        if not taken:
            return False
    return True


def extracted(metric: dict[str, Any]) -> set[str]:
    """The fields that the metric reads."""
    texts = [*metric.get("labelExtractors", {}).values(), metric.get("valueExtractor", "")]
    return {match[1] for text in texts if (match := re.fullmatch(r"EXTRACT\(jsonPayload\.(\w+)\)", text))}


def entries_of(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The records so far, as they reach Cloud Logging."""
    formatter = records.JsonFormatter()
    return [json.loads(formatter.format(record)) for record in caplog.records]
