"""How much memory pictures may take while they are downloaded and decoded: bounds of the process, not of a request."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import ImageTimeout, TooManyPixels

# Of all decodes that run at a time, their files and their requests' texts: 58 megapixels of RGB, which Pillow keeps in
# 4 bytes.
DECODE_BYTES = 224 * 2**20
LARGE_BYTES = 2**20  # a file beyond this takes a turn
LARGE_FILES = 3  # at a time


class MemoryBudget:
    """Hands out `limit` bytes, first come, first served, so that a large picture is not overtaken for ever."""

    def __init__(self, limit: int) -> None:
        self._limit, self._left = limit, limit
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def reserve(self, count: int, deadline: float) -> Iterator[None]:
        """Hold `count` bytes. Raises TooManyPixels where they never fit, ImageTimeout where not by `deadline`."""
        if count > self._limit:
            raise TooManyPixels(
                f"the image takes {count >> 20:,} MB to decode beside its request, the limit is {self._limit >> 20:,}"
            )
        turn = object()
        with self._changed:
            self._waiting.append(turn)
            try:
                fits = self._changed.wait_for(
                    lambda: self._waiting[0] is turn and self._left >= count,
                    min(max(0.0, deadline - time.monotonic()), threading.TIMEOUT_MAX),
                )
                if not fits:
                    raise ImageTimeout("the request's time ran out before this image was decoded")
                self._left -= count
            finally:
                self._waiting.remove(turn)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._left += count
                self._changed.notify_all()


class LargeTurn:
    """One file's right to be large: taken when it is found to be, given back when it is decoded."""

    def __init__(self, free: threading.Semaphore) -> None:
        self._free = free
        self._taken = False

    def take(self, timeout_s: float) -> bool:
        """Whether the turn came in time; at once if it was taken before."""
        self._taken = self._taken or self._free.acquire(timeout=timeout_s)
        return self._taken

    def __enter__(self) -> "LargeTurn":
        return self

    def __exit__(self, *_: object) -> None:
        if self._taken:
            self._free.release()
            self._taken = False


class LargeTurns:
    """Lets `count` files be large at a time."""

    def __init__(self, count: int = LARGE_FILES) -> None:
        self._free = threading.BoundedSemaphore(count)

    def turn(self) -> LargeTurn:
        """A turn for one file; use it with `with`."""
        return LargeTurn(self._free)
