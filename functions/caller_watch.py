"""Notices callers that leave before their answer, so that nothing more is computed for them."""

import select
import socket
import threading
import time

from common.cancellation import Cancellation

TICK_S = 0.1  # between two looks at all connections; a request that is answered within one is never cancelled
QUIET_TICKS = (
    20  # without a request, after which the thread sleeps: waking it costs more than a few looks
)
GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class CallerWatch:
    """Cancels the work of connections whose caller has closed them, from one thread that starts with the first.

    A caller that has sent the end of its data counts as gone, as in Go's net/http and in nginx: a close looks the
    same as a half-close until something is sent. A next request that is already sent (pipelining) is no end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, Cancellation] = {}  # by file descriptor
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, connection: socket.socket, cancellation: Cancellation) -> None:
        """From now on, cancel `cancellation` if the caller at the other end of `connection` leaves."""
        with self._lock:
            self._watched[connection.fileno()] = cancellation
            if self._thread is None:  # not in __init__: the server forks after import
                self._thread = threading.Thread(target=self._run, name="caller-watch", daemon=True)
                self._thread.start()
        if not self._wanted.is_set():
            self._wanted.set()

    def remove(self, connection: socket.socket) -> None:
        """Its answer is made. A connection must be removed before it is closed."""
        with self._lock:
            self._watched.pop(connection.fileno(), None)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            quiet = 0
            while quiet < QUIET_TICKS:
                time.sleep(TICK_S)
                quiet = 0 if self._look() else quiet + 1
            self._wanted.clear()
            with self._lock:
                if self._watched:
                    self._wanted.set()

    def _look(self) -> bool:
        """Cancel what nobody waits for; whether there was anything to look at."""
        poller = select.poll()
        with self._lock:
            for descriptor in self._watched:
                poller.register(descriptor, GONE)
            any_watched = bool(self._watched)
            gone = [self._watched.pop(descriptor) for descriptor, _ in poller.poll(0)]
        for cancellation in gone:
            cancellation.cancel()
        return any_watched
