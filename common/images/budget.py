"""What one download, with its redirects and retries, may still spend: seconds, bytes, pieces."""

import contextvars
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from common.allowance import Allowance
from common.errors import BadResponse, BodyTooLarge, FetchTimeout
from common.images.memory_budget import LARGE_BYTES

FREE_PIECES = 10_000
BYTES_PER_PIECE = 64  # on average, beyond the free pieces
RECEIVE_BYTES = 128 * 1024  # at a time, of what TLS decrypts


class PieceLimit:
    """Refuses data in tiny pieces: each costs microseconds, however few bytes it holds."""

    def __init__(self) -> None:
        self._pieces = 0
        self._bytes = 0

    def count(self, size: int) -> None:
        """Count one piece of `size` bytes. Raises BadResponse."""
        self._pieces += 1
        self._bytes += size
        if self._pieces > FREE_PIECES + self._bytes // BYTES_PER_PIECE:
            raise BadResponse("the server sent the image in too many pieces", retryable=False)


@dataclass
class Budget:
    """What is left of one download. `target` is the path and query that the next request asks for.

    The target travels here, past urllib3, so that no log record and no exception of urllib3 can
    show the query string of a signed URL.
    """

    allowance: Allowance
    bytes_left: int
    bytes_received: int = 0
    target: str = "/"
    received: PieceLimit = field(default_factory=PieceLimit)
    decrypted: PieceLimit = field(default_factory=PieceLimit)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_BYTES)))

    def seconds(self, at_most: float) -> float:
        """Seconds left, at most `at_most`. Raises FetchTimeout when there are none."""
        left_s = self.allowance.remaining_s()
        if left_s <= 0:
            raise FetchTimeout("the download did not end in time")
        return min(left_s, at_most)

    @property
    def deadline(self) -> float:
        """When the download must have ended, a time.monotonic() instant."""
        return self.allowance.deadline

    def take_turn(self) -> None:
        """The download has become large. Raises FetchTimeout when no turn comes in time."""
        if not self.allowance.take_turn():
            raise FetchTimeout("other large downloads took all the time")

    def spend(self, count: int) -> None:
        """Count bytes from the network. Raises BodyTooLarge; BadResponse if the pieces are tiny.

        Raises FetchTimeout if they are many and no turn comes.
        """
        self.bytes_left -= count
        self.bytes_received += count
        if self.bytes_left < 0:
            raise BodyTooLarge("the server sent more bytes than the limit")
        self.received.count(count)
        if self.bytes_received > LARGE_BYTES:
            self.take_turn()

    @contextmanager
    def at_most(self, count: int) -> Iterator[None]:
        """Let this part of the download spend `count` bytes and no more. Raises BodyTooLarge."""
        outer = self.bytes_left
        granted = min(outer, count)
        self.bytes_left = granted
        try:
            yield
        finally:
            self.bytes_left = outer - (granted - self.bytes_left)


budget: contextvars.ContextVar[Budget] = contextvars.ContextVar("budget")
