"""How much memory pictures may take while they are downloaded and decoded: bounds of the process, not of a request."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from common.errors import ImageTimeout, TooManyPixels

# Of all decodes that run at a time, their files and their requests' texts: room for 24 megapixels of every format.
MOST_DECODE_BYTES = 448 * 2**20
LEAST_DECODE_BYTES = 224 * 2**20  # on small instances: 24 megapixels of RGB
DECODE_SHARE = 0.25  # of an instance's memory, which the models and requests' bodies need too
LARGE_BYTES = 2**20  # a file beyond this takes a turn
LARGE_FILES = 3  # at a time


def decode_bytes(instance_bytes: int) -> int:
    """The budget of an instance with that much memory."""
    return max(LEAST_DECODE_BYTES, min(MOST_DECODE_BYTES, int(DECODE_SHARE * instance_bytes)))


class MemoryBudget:
    """Hands out `limit` bytes, first come, first served, so that a large picture is not overtaken for ever."""

    def __init__(self, limit: int) -> None:
        self._limit, self._left = limit, limit
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for bytes."""
        return len(self._waiting)

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


class LargeTurns:
    """`count` files at a time may be large; who asked first is first."""

    def __init__(self, count: int = LARGE_FILES) -> None:
        self._places = MemoryBudget(count)

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._places.waiting

    def turn(self) -> "LargeTurn":
        """A turn for one file; use it with `with`."""
        return LargeTurn(self)

    def take(self, timeout_s: float) -> AbstractContextManager[None] | None:
        """A place, to be left on exit; None if there was none in time."""
        place = self._places.reserve(1, time.monotonic() + timeout_s)
        try:
            place.__enter__()
        except ImageTimeout:
            return None
        return place


class LargeTurn:
    """One file's right to be large: taken when it is found to be, given back when its picture is decoded."""

    def __init__(self, turns: LargeTurns) -> None:
        self._turns = turns
        self._place: AbstractContextManager[None] | None = None

    def take(self, timeout_s: float) -> bool:
        """Whether the turn came in time; at once if it was taken before."""
        self._place = self._place or self._turns.take(timeout_s)
        return self._place is not None

    def __enter__(self) -> "LargeTurn":
        return self

    def __exit__(self, *_: object) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.__exit__(None, None, None)
