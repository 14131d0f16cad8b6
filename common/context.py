"""What is known of the request in hand: its id, trace, deadline, stage timings, and facts for its log record."""

import re
import threading
import time
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from common.cancellation import Cancellation

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_CLOUD_TRACE = re.compile(r"([0-9a-fA-F]{32})(?:/(\d{1,20}))?(?:;o=(\d))?")


class Headers(Protocol):
    """Request headers, looked up without regard to case."""

    def get(self, key: str, default: str, /) -> str:
        """The header's value, or `default`."""
        ...


@dataclass(frozen=True)
class Trace:
    """Ids of the trace that the request belongs to, as log records name them (span: 16 hex digits)."""

    trace_id: str
    span_id: str
    sampled: bool

    @classmethod
    def from_headers(cls, headers: Headers) -> "Trace | None":
        """From W3C `traceparent`, else from `X-Cloud-Trace-Context: TRACE/SPAN_DECIMAL;o=1`."""
        if match := _TRACEPARENT.fullmatch(headers.get("traceparent", "")):
            return cls(match[1], match[2], bool(int(match[3], 16) & 1))
        if match := _CLOUD_TRACE.fullmatch(headers.get("X-Cloud-Trace-Context", "")):
            return cls(match[1].lower(), f"{int(match[2] or 0) & (2**64 - 1):016x}", match[3] == "1")
        return None


@dataclass
class RequestContext:
    """One request's own record. `deadline` and `started` are time.monotonic() instants."""

    request_id: str
    deadline: float
    trace: Trace | None = None
    execution_id: str = ""
    started: float = field(default_factory=time.monotonic)
    stages: dict[str, float] = field(default_factory=dict)  # stage → seconds
    batch_sizes: list[int] = field(default_factory=list)  # of the batches that held an item of this request
    facts: dict[str, object] = field(default_factory=dict)  # counts and the like, for the log record
    cancellation: Cancellation = field(default_factory=Cancellation)  # when the caller leaves
    held_bytes: int = 0  # what its texts and URLs take in memory until it is answered
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def from_headers(cls, headers: Headers, timeout_s: float) -> "RequestContext":
        """Take the caller's request id if it is a plain token, else make one."""
        given = headers.get("X-Request-Id", "")
        return cls(
            request_id=given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex,
            deadline=time.monotonic() + timeout_s,
            trace=Trace.from_headers(headers),
            execution_id=headers.get("Function-Execution-Id", "")[:128],
        )

    def remaining_s(self) -> float:
        """Seconds until the deadline, at least 0; 0 once the caller has left."""
        return 0.0 if self.cancellation.cancelled else max(0.0, self.deadline - time.monotonic())

    def elapsed_s(self) -> float:
        """Seconds since the request came in."""
        return time.monotonic() - self.started

    def record(self, stage: str, seconds: float) -> None:
        """Note a stage's time. Items of one request run side by side, so a stage's time is that of its slowest item."""
        with self._lock:
            self.stages[stage] = max(self.stages.get(stage, 0.0), seconds)

    def server_timing(self) -> str:
        """The Server-Timing header's value, milliseconds."""
        total = {"total": self.elapsed_s()}
        return ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in (self.stages | total).items())


current_request: ContextVar[RequestContext | None] = ContextVar("current_request", default=None)


def get_request_context() -> RequestContext:
    """The request in hand; outside of one (a script, a test) a record of its own with a minute's time."""
    context = current_request.get()
    if context is None:
        context = RequestContext.from_headers({}, timeout_s=60)
        current_request.set(context)
    return context
