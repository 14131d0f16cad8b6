"""Notices callers that disconnect before their answer, and cancels their work."""

import select
import socket
import threading
import time

from common.cancellation import Cancellation

# Between two looks at all connections. A request that is answered faster is never cancelled.
TICK_S = 0.1
# After so many ticks without a request the thread sleeps. Waking it costs more than a few looks.
QUIET_TICKS = 20
GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class CallerWatch:
    """Cancels the work for connections that their caller has closed.

    One thread watches all connections; it starts with the first. A caller that has shut down its
    sending side counts as gone, as in Go's net/http and in nginx. Until something is sent, a close
    and a half-close look the same. A pipelined next request does not count as an end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, Cancellation] = {}  # by file descriptor
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, connection: socket.socket, cancellation: Cancellation) -> None:
        """Watch `connection`, and cancel `cancellation` if its caller disconnects."""
        with self._lock:
            self._watched[connection.fileno()] = cancellation
            if self._thread is None:  # not in __init__: the server forks after import
                self._thread = threading.Thread(target=self._run, name="caller-watch", daemon=True)
                self._thread.start()
        if not self._wanted.is_set():
            self._wanted.set()

    def remove(self, connection: socket.socket) -> None:
        """Stop watching `connection`. It must be removed before it is closed."""
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
        """Cancel the work of callers that are gone. Returns whether any connection was watched."""
        poller = select.poll()
        with self._lock:
            for descriptor in self._watched:
                poller.register(descriptor, GONE)
            any_watched = bool(self._watched)
            gone = [self._watched.pop(descriptor) for descriptor, _ in poller.poll(0)]
        for cancellation in gone:
            cancellation.cancel()
        return any_watched
