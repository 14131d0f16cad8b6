"""Ends connections whose request body does not come in time."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Cutoff:
    """Shuts the reading side of sockets at their deadlines, from one thread that starts with the first of them.

    A socket's own timeout is for one piece, not for the whole of a body that drips. A timer for each request would be a
    thread for each: under overload it doubled what the accepted waited.
    """

    def __init__(self) -> None:
        self._deadlines: dict[socket.socket, float] = {}  # monotonic instants
        self._wakes_at = math.inf
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def at(self, deadline: float, connection: socket.socket) -> Iterator[None]:
        """Until the block is left, `connection` stands under `deadline`."""
        with self._changed:
            self._deadlines[connection] = deadline
            if self._thread is None:  # not in __init__: the server forks after import
                self._thread = threading.Thread(target=self._watch, name="cutoff", daemon=True)
                self._thread.start()
            if deadline < self._wakes_at:  # seldom: the deadlines of later requests are later
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._deadlines.pop(connection, None)

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for connection in [one for one, deadline in self._deadlines.items() if deadline <= now]:
                    del self._deadlines[connection]
                    with contextlib.suppress(OSError):  # the other side was faster
                        connection.shutdown(socket.SHUT_RD)
                self._wakes_at = min(self._deadlines.values(), default=math.inf)
                self._changed.wait(None if self._wakes_at == math.inf else self._wakes_at - now)
