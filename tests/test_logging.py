"""The shape of log records."""

import io
import json
import logging
import sys
from functools import partial
from typing import Any

import pytest

from common.logging import JsonFormatter, TerminalFormatter, configure
from functions.request_record import RequestRecord, current_log_fields, current_record


def record(level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "test", "levelno": level, "levelname": logging.getLevelName(level)}
    )
    made.msg, made.args = "fetched %d images", (3,)
    vars(made).update(extra)
    return made


def as_json(made: logging.LogRecord, project: str = "acme") -> dict[str, Any]:
    line = JsonFormatter(partial(current_log_fields, project)).format(made)
    assert "\n" not in line
    entry: dict[str, Any] = json.loads(line)
    return entry


def test_a_record_is_one_line_of_json_with_the_names_that_cloud_logging_reads() -> None:
    entry = as_json(record(level=logging.WARNING, host="example.com", odd={1, 2}))
    assert (entry["severity"], entry["message"], entry["host"]) == (
        "WARNING",
        "fetched 3 images",
        "example.com",
    )
    assert entry["time"].endswith("+00:00")
    assert "logging.googleapis.com/trace" not in entry


def test_a_record_names_the_request_it_belongs_to() -> None:
    headers = {
        "X-Request-Id": "mine",
        "X-Cloud-Trace-Context": f"{'a' * 32}/10;o=1",
        "Function-Execution-Id": "run1",
    }
    token = current_record.set(RequestRecord.from_headers(headers, timeout_s=1))
    try:
        entry, without_project = as_json(record()), as_json(record(), project="")
    finally:
        current_record.reset(token)
    assert entry["request_id"] == "mine"
    assert entry["logging.googleapis.com/trace"] == f"projects/acme/traces/{'a' * 32}"
    assert entry["logging.googleapis.com/spanId"] == "000000000000000a"
    assert entry["logging.googleapis.com/trace_sampled"] is True
    assert entry["logging.googleapis.com/labels"] == {"execution_id": "run1"}
    assert without_project["logging.googleapis.com/trace"] == "a" * 32


def test_an_error_holds_its_trace_in_the_message_for_error_reporting() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        entry = as_json(record(logging.ERROR, exc_info=sys.exc_info()))
    assert entry["message"].startswith("fetched 3 images\nTraceback (most recent call last)")
    assert entry["stack_trace"].endswith("ValueError: broken")


@pytest.mark.parametrize(
    "text",
    [
        'http://a.example:80 "GET /a.png?sig=s3cret HTTP/1.1" 200',
        "Failed to parse headers (url=https://a.example/a.png?x=1&sig=s3cret): bad",
        "Retry: /o/a.png?s3cret",
    ],
)
def test_no_library_prints_a_query_string(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        made = record(logging.ERROR, exc_info=sys.exc_info())
    made.msg, made.args = "%s", (text,)
    for formatter in (JsonFormatter(), TerminalFormatter()):
        shown = formatter.format(made)
        assert "s3cret" not in shown
        assert "a.png?…" in shown


def test_a_terminal_gets_readable_lines() -> None:
    line = TerminalFormatter().format(record(host="example.com", httpRequest={"status": 200}))
    assert line.endswith("INFO    fetched 3 images  host=example.com")


def test_configure_replaces_what_the_platform_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    root, output = logging.getLogger(), io.StringIO()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stdout", output)
    try:
        root.handlers[:] = [logging.StreamHandler(sys.stderr)]
        configure("INFO")
        logging.getLogger("anything").info("hello")
        logging.getLogger("urllib3.connectionpool").info("GET /a?token=secret")
        assert [json.loads(line)["message"] for line in output.getvalue().splitlines()] == ["hello"]
    finally:
        root.handlers[:], root.level = before, level
