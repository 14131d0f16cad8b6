"""Ends connections whose request does not come in time, or whose answer is not taken."""

import contextlib
import math
import socket
import threading
import time

TICK_S = 0.25  # between two looks at all deadlines, whatever is due: one at each would cost their number squared


class Cutoff:
    """Shuts sockets at their deadlines, from one thread that starts with the first of them.

    A socket's own timeout is for one piece, not for the whole of a body that drips. A timer for each request would be a
    thread for each: under overload it doubled what the accepted waited.
    """

    def __init__(self) -> None:
        self._deadlines: dict[socket.socket, tuple[float, int]] = {}  # monotonic instants, and which side to shut
        self._wakes_at = math.inf
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def await_request(self, connection: socket.socket, deadline: float) -> None:
        """At `deadline` nothing more is read of `connection`; it can still be answered."""
        self._set(connection, deadline, socket.SHUT_RD)

    def await_reader(self, connection: socket.socket, deadline: float) -> None:
        """At `deadline` `connection` ends, unless its next request has come.

        Until then the caller may take the answer, and the server reads what was left of the body before it goes on.
        """
        self._set(connection, deadline, socket.SHUT_RDWR)

    def _set(self, connection: socket.socket, deadline: float, side: int) -> None:
        with self._changed:
            self._deadlines[connection] = deadline, side
            if self._thread is None:  # not in __init__: the server forks after import
                self._thread = threading.Thread(target=self._watch, name="cutoff", daemon=True)
                self._thread.start()
            if deadline < self._wakes_at - TICK_S:  # seldom: the deadlines of later requests are later
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for connection, (deadline, side) in list(self._deadlines.items()):
                    if deadline <= now or connection.fileno() < 0:
                        del self._deadlines[connection]
                        with contextlib.suppress(OSError):  # it has ended by itself
                            connection.shutdown(side)
                due = min((deadline for deadline, _ in self._deadlines.values()), default=math.inf)
                self._wakes_at = max(due, now + TICK_S)
                self._changed.wait(None if due == math.inf else self._wakes_at - now)
