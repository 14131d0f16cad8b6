"""Tells calls that waited for a model to load from calls that waited for busy encoders."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class WarmUp:
    """The times in which a tower of a model loaded or ran its first batch.

    Both towers share one, because a call for one of them may wait behind calls for the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._ended_at = -math.inf  # a monotonic instant

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time of one load or one first batch."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                self._ended_at = time.monotonic()

    def covers(self, instant: float) -> bool:
        """Whether a tower loads now, or one still loaded at this monotonic instant."""
        with self._lock:
            return self._running > 0 or instant <= self._ended_at
