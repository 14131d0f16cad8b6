"""Refuses requests in the server's loop that are like requests just refused.

In a thread, a refusal takes about half the time of an answer, most of it in the web framework. At
twice the rate that an encoder sustains, refusals alone would keep the process busy. So while a
queue refuses requests, the loop sends a copy of a recent refusal to every like request.
"""

import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from functions.request_record import request_id_of

# Refusals of one kind before others are copies of them. Each has its own Retry-After, and a short
# queue that is full for a moment is left to the threads.
MIN_REFUSALS = 8
MAX_LASTS_S = 0.1  # then the queue is asked again
FORGET_S = 2.0  # after the last refusal of a kind
MAX_KINDS = 64
MAX_HEAD_BYTES = 8 * 1024  # of a request that is kept
# Headers that differ between like requests and do not change the answer.
_IGNORED = re.compile(
    rb"\r\n(?:content-length|x-request-id|traceparent|tracestate|x-cloud-trace-context|forwarded"
    rb"|x-forwarded-for|function-execution-id|x-stainless-retry-count)[ \t]*:[^\r\n]*",
    re.IGNORECASE,
)
_END = b"\r\n\r\n"
_REQUEST_ID = re.compile(rb"\r\nx-request-id[ \t]*:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)


@dataclass(frozen=True)
class Like:
    """What requests are compared by: their head without ignored headers, and their whole size."""

    head: bytes
    size_bytes: int

    @classmethod
    def of(cls, request: bytearray) -> "Like | None":
        """Of a request that arrived completely; None if its head is too long to keep."""
        end = request.find(_END, 0, MAX_HEAD_BYTES) + 2
        return cls(_IGNORED.sub(b"", bytes(request[:end])), len(request)) if end >= 2 else None


@dataclass
class Refused:
    """A refused request, and the bytes of its answer as they are sent.

    Like requests are refused until the monotonic instant `until`. `note` logs and counts another
    one, by its request id; it must not hold the body.
    """

    like: Like
    until: float
    request_id: str
    note: Callable[[str], None]
    answer: bytearray = field(default_factory=bytearray)
    keepalive: bool = False

    def copy_for(self, head: bytes) -> bytes:
        """The answer for a like request, under that request's own id."""
        given = _REQUEST_ID.search(head)
        own = request_id_of(given[1].decode("latin-1") if given else "")
        self.note(own)
        old = b"X-Request-Id: " + self.request_id.encode()
        return bytes(self.answer).replace(old, b"X-Request-Id: " + own.encode(), 1)


class _Kind:
    """Requests with equal heads, except for the ignored headers."""

    def __init__(self) -> None:
        self.recent: deque[Refused] = deque(maxlen=MIN_REFUSALS)
        self.until = 0.0
        self.turned_away = 0  # since the last request that went to a thread

    def includes(self, size_bytes: int) -> bool:
        """Whether a request of this size would be refused like the recent ones.

        A much larger one may be admitted: it may wait in proportion to its own work.
        """
        sizes = [refused.like.size_bytes for refused in self.recent]
        return min(sizes) <= size_bytes <= 2 * max(sizes)


class TurnAway:
    """The recent refusals by kind. Thread-safe."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, _Kind] = {}
        self._lock = threading.Lock()

    def remember(self, refused: Refused) -> None:
        """Refuse requests like this one in the loop, once there were enough of them."""
        with self._lock:
            kind = self._kinds.setdefault(refused.like.head, _Kind())
            kind.recent.append(refused)
            kind.until = refused.until
            if len(self._kinds) > MAX_KINDS:
                del self._kinds[next(iter(self._kinds))]

    def find(self, like: Like | None) -> tuple[Refused | None, int]:
        """A refusal to copy for this request; None for one that is compared with no other.

        If there is none, a thread takes the request; then the second value counts the like requests
        that were turned away since the last one.
        """
        if not self._kinds or like is None:
            return None, 0
        with self._lock:
            kind = self._kinds.get(like.head)
            if kind is None:
                return None, 0
            full = len(kind.recent) == MIN_REFUSALS and time.monotonic() < kind.until
            if full and kind.includes(like.size_bytes):
                kind.turned_away += 1
                kind.recent.rotate()
                return kind.recent[0], 0
            turned_away, kind.turned_away = kind.turned_away, 0
            return None, turned_away

    def forget_old(self) -> None:
        """Forget the kinds that were not refused for a while."""
        now = time.monotonic()
        with self._lock:
            old = [head for head, kind in self._kinds.items() if kind.until + FORGET_S < now]
            for head in old:
                del self._kinds[head]
