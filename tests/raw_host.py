"""A loopback host that answers every request with given bytes."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Act = Callable[[socket.socket], None]
REQUEST_BYTES = 65536


class RawHost:
    """Answers with `act`, which may be changed at any time; `heads` are the requests it got."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.act: Act = lambda connection: None
        self.heads: list[bytes] = []
        self.sent_bytes = 0  # by `flood`
        self.stopping = threading.Event()

    def says(self, answer: bytes, after: bytes = b"\r\n\r\n") -> None:
        """From now on read a request until `after` has come, send `answer` and close."""

        def act(connection: socket.socket) -> None:
            head = connection.recv(REQUEST_BYTES)
            while after not in head and (more := connection.recv(REQUEST_BYTES)):
                head += more
            self.heads.append(head)
            connection.sendall(answer)

        self.act = act

    def run(self) -> None:
        """Serve each connection in a thread of its own."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.act(connection)

    def stop(self) -> None:
        """Take no more connections, and end what acts without end."""
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def raw_host() -> Iterator[RawHost]:
    """A host that listens until the end."""
    host = RawHost()
    thread = threading.Thread(target=host.run, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.stop()
        thread.join()


HANDSHAKE_FLOOD = b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 400


def flood(host: RawHost) -> Act:
    """Answer with TLS handshake records as fast as they are taken, for ever."""

    def act(connection: socket.socket) -> None:
        connection.recv(REQUEST_BYTES)
        while not host.stopping.is_set():
            connection.sendall(HANDSHAKE_FLOOD)
            host.sent_bytes += len(HANDSHAKE_FLOOD)

    return act


def drip(host: RawHost, interval_s: float = 0.05) -> Act:
    """Answer with one byte of such records now and then, for ever."""

    def act(connection: socket.socket) -> None:
        connection.recv(REQUEST_BYTES)
        position = 0
        while not host.stopping.wait(interval_s):
            connection.sendall(HANDSHAKE_FLOOD[position : position + 1])
            position = (position + 1) % len(HANDSHAKE_FLOOD)

    return act
