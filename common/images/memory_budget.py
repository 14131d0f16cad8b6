"""Limits on the memory that all image downloads and decodes of the process take together."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from common.errors import ImageTimeout, TooManyPixels

# For all concurrent decodes with their files and their requests' texts. An image of 24 megapixels
# fits in every format.
MOST_DECODE_BYTES = 448 * 2**20
LEAST_DECODE_BYTES = 224 * 2**20  # on small instances: 24 megapixels of RGB
DECODE_SHARE = 0.25  # of an instance's memory; models and request bodies need the rest
LARGE_BYTES = 2**20  # a file larger than this takes a turn
LARGE_FILES = 3  # number of turns


def decode_bytes(instance_bytes: int) -> int:
    """The decode budget, in bytes, of an instance with this much memory."""
    return max(LEAST_DECODE_BYTES, min(MOST_DECODE_BYTES, int(DECODE_SHARE * instance_bytes)))


class MemoryBudget:
    """Hands out `limit` bytes in the order of requests, so that large images are not starved."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def waiting(self) -> int:
        """The number of callers that wait for bytes."""
        return len(self._waiting)

    @contextmanager
    def reserve(self, count: int, deadline: float) -> Iterator[None]:
        """Hold `count` bytes, and wait for them until `deadline`, a time.monotonic() instant.

        Raises TooManyPixels if `count` is over the limit; ImageTimeout at the deadline.
        """
        if count > self._limit:
            needed, limit = f"{count >> 20:,} MiB", f"{self._limit >> 20:,} MiB"
            raise TooManyPixels(
                f"decoding the image takes {needed} with its request, the limit is {limit}"
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


class LargeTurns:
    """Lets at most `count` files be large at a time, in the order of requests."""

    def __init__(self, count: int = LARGE_FILES) -> None:
        self._places = MemoryBudget(count)

    @property
    def waiting(self) -> int:
        """The number of callers that wait for a turn."""
        return self._places.waiting

    def turn(self) -> "LargeTurn":
        """A turn for one file; use it in a `with` block."""
        return LargeTurn(self)

    def take(self, timeout_s: float) -> AbstractContextManager[None] | None:
        """Take a place, which its `__exit__` frees; None if none is free within `timeout_s`."""
        place = self._places.reserve(1, time.monotonic() + timeout_s)
        try:
            place.__enter__()
        except ImageTimeout:
            return None
        return place


class LargeTurn:
    """The turn of one file: taken when the file proves large, released after its decode."""

    def __init__(self, turns: LargeTurns) -> None:
        self._turns = turns
        self._place: AbstractContextManager[None] | None = None

    def take(self, timeout_s: float) -> bool:
        """Wait for the turn; returns whether it came within `timeout_s` or was taken before."""
        self._place = self._place or self._turns.take(timeout_s)
        return self._place is not None

    def __enter__(self) -> "LargeTurn":
        return self

    def __exit__(self, *_: object) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.__exit__(None, None, None)
