"""The bytes of a connection, as gunicorn's parser reads them."""

from gunicorn.http.unreader import SocketUnreader

from functions.connection import Budget, Connection


class Incoming(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Yields first what the worker's loop has received, then what the socket receives."""

    def __init__(self, connection: Connection, budget: Budget) -> None:
        super().__init__(connection)
        self._budget = budget
        self._received = bytearray()
        self._reserved_bytes = 0

    def give(self, received: bytearray, reserved_bytes: int) -> None:
        """Take over received bytes and their reservation in the budget."""
        self._received = received
        self._reserved_bytes += reserved_bytes

    def reserve(self, size: int) -> bool:
        """Reserve memory until `release`. Returns False if the budget has no room."""
        if not self._budget.take(size):
            return False
        self._reserved_bytes += size
        return True

    def chunk(self) -> bytes:
        """Up to `mxchunk` bytes; empty at the end of the connection."""
        if not self._received:
            return bytes(super().chunk())
        piece = bytes(self._received[: self.mxchunk])
        del self._received[: self.mxchunk]
        return piece

    @property
    def has_rest(self) -> bool:
        """Whether bytes have arrived after the request that was read."""
        return bool(self._received) or self.buf.getbuffer().nbytes > 0

    def take_rest(self) -> bytearray:
        """Remove and return the bytes after the request that was read: the start of the next.

        Some clients end a body with an empty line, which is left out.
        """
        rest = (bytearray(self.buf.getvalue()) + self._received).lstrip(b"\r\n")
        self.buf.seek(0)
        self.buf.truncate()
        self._received = bytearray()
        return rest

    def release(self) -> None:
        """Return the reservation to the budget."""
        self._budget.give_back(self._reserved_bytes)
        self._reserved_bytes = 0
