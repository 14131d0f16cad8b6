"""Formats log records: one JSON object per line for Cloud Logging, readable lines on a terminal.

The field names are those of Cloud Logging's structured logs on stdout: severity, message, time,
httpRequest, and logging.googleapis.com/*. This module has its own formatter, because importing
google-cloud-logging takes half a second.
"""

import logging
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# Loggers of libraries whose DEBUG and INFO records are dropped. urllib3 logs query strings there.
_QUIET = (
    "urllib3",
    "PIL",
    "filelock",
    "fsspec",
    "huggingface_hub",
    "httpx",
    "httpcore",
    "asyncio",
)


_QUERY = re.compile(r"""(/[^\s?"'<>]*)\?[^\s"'<>)]+""")


def without_queries(text: str) -> str:
    """`text` with `…` for the query strings of its URLs and paths: libraries print signed URLs."""
    return _QUERY.sub(r"\1?…", text)


def _extra(record: logging.LogRecord) -> dict[str, object]:
    """The fields that were passed to the logger as `extra=`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class _Formatter(logging.Formatter):
    """A formatter whose texts hold no query string, whichever library wrote them."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return without_queries(super().formatException(ei))

    def message_of(self, record: logging.LogRecord) -> str:
        """The record's message, its arguments filled in."""
        return without_queries(record.getMessage())


class JsonFormatter(_Formatter):
    """Formats a record as one JSON object; `shared_fields` returns fields to add to each record."""

    def __init__(self, shared_fields: Callable[[], dict[str, object]] = dict) -> None:
        super().__init__()
        self._shared_fields = shared_fields

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "severity": record.levelname,
            "message": self.message_of(record),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        if record.exc_info:
            entry["stack_trace"] = self.formatException(record.exc_info)
            # Error Reporting groups errors by the stack trace in the message.
            entry["message"] = f"{entry['message']}\n{entry['stack_trace']}"
        entry |= _extra(record) | self._shared_fields()
        options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
        return orjson.dumps(entry, default=str, option=options).decode()


class TerminalFormatter(_Formatter):
    """Formats a record as `12:00:01 INFO  message  key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "  ".join(
            f"{key}={value}" for key, value in _extra(record).items() if key != "httpRequest"
        )
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname:<7} {self.message_of(record)}" + (
            f"  {extra}" if extra else ""
        )
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(
    level: str,
    shared_fields: Callable[[], dict[str, object]] = dict,
    stream: TextIO | None = None,
) -> None:
    """Replace all handlers of the root logger with ours.

    `shared_fields` returns fields to add to each JSON record, such as the current request's id.
    `stream` None: standard output.
    """
    stream = stream or sys.stdout
    handler = logging.StreamHandler(stream)
    on_terminal = stream.isatty()
    handler.setFormatter(TerminalFormatter() if on_terminal else JsonFormatter(shared_fields))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
