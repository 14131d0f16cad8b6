"""What gunicorn's parser reads of a connection."""

from gunicorn.http.unreader import SocketUnreader

from functions.connection import Budget, Connection


class Incoming(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """First what the worker's loop has received, then the socket."""

    def __init__(self, connection: Connection, budget: Budget) -> None:
        super().__init__(connection)
        self._budget = budget
        self._received = bytearray()
        self._reserved_bytes = 0

    def give(self, received: bytearray, reserved_bytes: int) -> None:
        """Take over what was received, and its place in the budget."""
        self._received = received
        self._reserved_bytes += reserved_bytes

    def chunk(self) -> bytes:
        """Up to `mxchunk` bytes; empty at the connection's end."""
        if not self._received:
            return bytes(super().chunk())
        piece = bytes(self._received[: self.mxchunk])
        del self._received[: self.mxchunk]
        return piece

    @property
    def has_rest(self) -> bool:
        """Whether something has come after the request that was read."""
        return bool(self._received) or self.buf.getbuffer().nbytes > 0

    def take_rest(self) -> bytearray:
        """What has come after the request that was read: the start of the next."""
        rest = bytearray(self.buf.getvalue()) + self._received
        self.buf.seek(0)
        self.buf.truncate()
        self._received = bytearray()
        return rest

    def release(self) -> None:
        """Give the place in the budget back."""
        self._budget.give_back(self._reserved_bytes)
        self._reserved_bytes = 0
