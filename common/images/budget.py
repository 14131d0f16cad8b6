"""The seconds, bytes and pieces that one download may still use, with redirects and retries."""

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
    """Refuses data in too many tiny pieces, as each takes microseconds whatever its size."""

    def __init__(self) -> None:
        self._pieces = 0
        self._bytes = 0

    def count(self, size: int) -> None:
        """Count one piece of `size` bytes. Raises BadResponse."""
        self._pieces += 1
        self._bytes += size
        if self._pieces > FREE_PIECES + self._bytes // BYTES_PER_PIECE:
            raise BadResponse("the server sent the image in too many small pieces", retryable=False)


@dataclass
class Budget:
    """The remaining budget of one download. `target` is the path and query of the next request.

    The target is kept here and not given to urllib3. So its log records and exceptions cannot show
    the query string of a signed URL.
    """

    allowance: Allowance
    bytes_left: int
    bytes_received: int = 0
    target: str = "/"
    received: PieceLimit = field(default_factory=PieceLimit)
    decrypted: PieceLimit = field(default_factory=PieceLimit)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_BYTES)))

    def seconds(self, at_most: float) -> float:
        """The seconds left, up to `at_most`. Raises FetchTimeout if none are left."""
        left_s = self.allowance.remaining_s()
        if left_s <= 0:
            raise FetchTimeout("the download did not finish in time")
        return min(left_s, at_most)

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self.allowance.remaining_s() <= 0

    @property
    def deadline(self) -> float:
        """The time.monotonic() instant by which the download must finish."""
        return self.allowance.deadline

    def take_turn(self) -> None:
        """Take the turn of large downloads. Raises FetchTimeout if it is not free in time."""
        if not self.allowance.take_turn():
            raise FetchTimeout("the time ran out while waiting for other large downloads")

    def spend(self, count: int) -> None:
        """Count bytes from the network.

        Raises BodyTooLarge above the limit; BadResponse if the pieces are too small; FetchTimeout
        if the download is large and its turn does not come in time.
        """
        self.bytes_left -= count
        self.bytes_received += count
        if self.bytes_left < 0:
            raise BodyTooLarge("the server sent more bytes than the limit for one download")
        self.received.count(count)
        if self.bytes_received > LARGE_BYTES:
            self.take_turn()

    @contextmanager
    def at_most(self, count: int) -> Iterator[None]:
        """Limit this part of the download to `count` bytes; more raise BodyTooLarge."""
        outer = self.bytes_left
        granted = min(outer, count)
        self.bytes_left = granted
        try:
            yield
        finally:
            self.bytes_left = outer - (granted - self.bytes_left)
