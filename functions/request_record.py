"""The record of a request: its id, trace, allowance, timings and facts for the log.

It observes the request's embedding call for the library.
"""

import logging
import re
import threading
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from common.allowance import Allowance
from common.errors import ImageError
from common.images.url_policy import hash_of, host_of
from common.items import Image, ImageUrl

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/(\d{1,20}))?(?:;o=(\d))?")


class Headers(Protocol):
    """Request headers with case-insensitive names."""

    def get(self, key: str, default: str, /) -> str:
        """The header's value, or `default`."""
        ...


@dataclass(frozen=True)
class Trace:
    """The trace of a request. `trace_id` has 32 hex digits, `span_id` 16."""

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def from_headers(cls, headers: Headers) -> "Trace | None":
        """Read W3C `traceparent`, else `X-Cloud-Trace-Context: TRACE/SPAN_DECIMAL;o=1`."""
        if match := _TRACEPARENT.fullmatch(headers.get("traceparent", "")):
            return cls(match[1], match[2], bool(int(match[3], 16) & 1))
        if match := _CLOUD_TRACE.fullmatch(headers.get("X-Cloud-Trace-Context", "")):
            return cls(
                match[1].lower(), f"{int(match[2] or 0) & (2**64 - 1):016x}", match[3] == "1"
            )
        return None


def request_id_of(given: str) -> str:
    """The caller's request id if it is a plain token, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


@dataclass
class RequestRecord:
    """The record of one request. `started` is a time.monotonic() instant."""

    request_id: str
    allowance: Allowance
    trace: Trace | None = None
    execution_id: str = ""
    expected_fingerprint: str = ""  # the fingerprint that the caller expects; "" for any
    started: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)  # stage → seconds
    batch_sizes: list[int] = field(default_factory=list)  # of batches with an item of this request
    facts: dict[str, object] = field(default_factory=dict)  # counts and the like, for the log
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def from_headers(
        cls, headers: Headers, timeout_s: float, waited_s: float = 0.0, turned_away: int = 0
    ) -> "RequestRecord":
        """Read a request's headers.

        `waited_s` is how long the request has waited for a thread of the server; `turned_away` is
        explained in Allowance.
        """
        return cls(
            request_id=request_id_of(headers.get("X-Request-Id", "")),
            allowance=Allowance.lasting(timeout_s, waited_s, turned_away),
            trace=Trace.from_headers(headers),
            execution_id=headers.get("Function-Execution-Id", "")[:128],
            expected_fingerprint=headers.get("X-Expect-Fingerprint", "").strip(),
        )

    def elapsed_s(self) -> float:
        """Seconds since the request arrived."""
        return time.monotonic() - self.started

    def stage(self, name: str, seconds: float) -> None:
        """Note a stage's time. The slowest item counts, because items run in parallel."""
        with self._lock:
            self.stages[name] = max(self.stages.get(name, 0.0), seconds)

    def batches(self, sizes: list[int]) -> None:
        """Note the sizes of forward passes."""
        with self._lock:
            self.batch_sizes += sizes

    def image_failed(self, image: Image, error: ImageError) -> None:
        """Log why an image failed. The log gets the URL's host and hash, not the URL."""
        where: dict[str, object] = {}
        if isinstance(image, ImageUrl):
            where = {"host": host_of(image.url), "url_hash": hash_of(image.url)}
        what = {"code": error.code, "reason": error.reason, "retryable": error.retryable}
        log.warning("image not embedded", extra=where | what)

    def server_timing(self) -> str:
        """The value of the Server-Timing header, in milliseconds."""
        seconds = self.stages | {"total": self.elapsed_s()}
        return ", ".join(f"{name};dur={value * 1000:.1f}" for name, value in seconds.items())

    def log_fields(self, project: str) -> dict[str, object]:
        """The fields of each log record of the request, with Cloud Logging's names.

        `project` completes the trace's name: projects/<project>/traces/<trace id>.
        """
        fields: dict[str, object] = {"request_id": self.request_id}
        if self.trace:
            name = self.trace.trace_id
            full_name = f"projects/{project}/traces/{name}" if project else name
            fields["logging.googleapis.com/trace"] = full_name
            fields["logging.googleapis.com/spanId"] = self.trace.span_id
            fields["logging.googleapis.com/trace_sampled"] = self.trace.sampled
        if self.execution_id:
            fields["logging.googleapis.com/labels"] = {"execution_id": self.execution_id}
        return fields


# Only the log reads it. Handlers get what they need as arguments.
current_record: ContextVar[RequestRecord | None] = ContextVar("current_record", default=None)


def current_log_fields(project: str) -> dict[str, object]:
    """The log fields of the current request; empty if there is none."""
    record = current_record.get()
    return record.log_fields(project) if record else {}
