"""Log records: one JSON object a line for Cloud Logging, readable lines on a terminal.

Field names are Cloud Logging's for structured logs on stdout: severity, message, time, httpRequest, and the
logging.googleapis.com/* ones. A formatter of our own, because google-cloud-logging costs half a second at import.
"""

import logging
import sys
from datetime import UTC, datetime

import orjson

from common.context import current_request

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_QUIET = (
    "urllib3",
    "PIL",
    "filelock",
    "fsspec",
    "huggingface_hub",
    "httpx",
    "httpcore",
    "asyncio",
)  # urllib3 logs query strings at DEBUG


def _extra(record: logging.LogRecord) -> dict[str, object]:
    """What was passed as `extra=`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line. `project` completes trace names: projects/<project>/traces/<trace id>."""

    def __init__(self, project: str) -> None:
        super().__init__()
        self.project = project

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "severity": record.levelname,
            "message": record.getMessage(),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        if record.exc_info:
            entry["stack_trace"] = self.formatException(record.exc_info)
            entry["message"] = (
                f"{entry['message']}\n{entry['stack_trace']}"  # Error Reporting groups by the trace in the message
            )
        entry |= _extra(record) | self._request_fields()
        return orjson.dumps(entry, default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS).decode()

    def _request_fields(self) -> dict[str, object]:
        request = current_request.get()
        if request is None:
            return {}
        fields: dict[str, object] = {"request_id": request.request_id}
        if request.trace:
            name = request.trace.trace_id
            fields["logging.googleapis.com/trace"] = f"projects/{self.project}/traces/{name}" if self.project else name
            fields["logging.googleapis.com/spanId"] = request.trace.span_id
            fields["logging.googleapis.com/trace_sampled"] = request.trace.sampled
        if request.execution_id:
            fields["logging.googleapis.com/labels"] = {"execution_id": request.execution_id}
        return fields


class TerminalFormatter(logging.Formatter):
    """`12:00:01 INFO  message  key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        extra = "  ".join(f"{key}={value}" for key, value in _extra(record).items() if key != "httpRequest")
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname:<7} {record.getMessage()}" + (f"  {extra}" if extra else "")
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(level: str, project: str = "") -> None:
    """Install our handler on the root logger, whatever the platform installed before (basicConfig would do nothing)."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(TerminalFormatter() if sys.stdout.isatty() else JsonFormatter(project))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
