"""The server's worker: its threads get requests that have come in whole, and slow callers wait in its loop.

gunicorn's own threaded worker hands a connection to a thread with its first byte, and the thread waits for the rest:
a few half-sent requests, or callers that do not read, stop it. It also stops accepting for good once 1,000 silent
connections are open, as it looks at none of them any more, and resets connections whose request it did not read.
This worker keeps gunicorn's parser, its loop and its shutdown, and holds connections itself while they are idle,
while a request comes in, while an answer is taken, and until the caller has read a last answer.
"""

import errno
import os
import resource
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from common.config import get_settings
from functions.connection import Budget, Connection, Pace, flush_all
from functions.incoming import Incoming
from functions.request_head import Frame, read_frame

HEAD_TIMEOUT_S = 10.0  # from a connection's first byte to the end of a request's head
KEEPALIVE_S = (
    75.0  # an idle connection costs a descriptor alone; callers that reuse one do not meet its end
)
LINGER_S = 2.0  # of silence, before a connection that has its last answer is closed
MAX_LINGER_S = 30.0
MAX_LINGER_BYTES = (
    64 * 2**20
)  # twice the largest body: a caller that sends one sees why it was refused
MAX_HELD = 4096  # connections without a thread; a further one ends the one that has waited longest
MAX_HEAD_BYTES = 256 * 1024
MAX_WHOLE_BYTES = 2**20  # a request up to this size comes in whole before a thread sees it
FREE_BYTES = (
    16 * 1024
)  # of each connection, beside the budget: small requests are served whatever others send
MAX_INCOMING_BYTES = 64 * 2**20
MAX_OUTGOING_BYTES = 64 * 2**20
PIECE_BYTES = 64 * 1024
LOOK_S = 0.5  # between two looks at who is late
STOP_S = 1.0  # for callers that are slow when the server ends


@dataclass(eq=False)
class Held:
    """A connection without a thread, until the monotonic instant `until`."""

    conn: TConn
    until: float
    pace: Pace | None = None  # of what comes in or goes out
    received: bytearray = field(default_factory=bytearray)
    reserved_bytes: int = 0
    frame: Frame | None = None


class Worker(ThreadWorker):  # type: ignore[misc]
    """See the module. `_held` and the selector are changed under `_lock`, as gunicorn does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.worker_connections = self.max_keepalived = (
            2**31
        )  # the bound is MAX_HELD: the loop looks at all, always
        self._incoming, self._outgoing = Budget(MAX_INCOMING_BYTES), Budget(MAX_OUTGOING_BYTES)
        self._held: dict[Connection, Held] = {}
        self._max_held = min(MAX_HELD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        self._readers = ThreadPoolExecutor(
            max(1, self.cfg.threads // 2), "read"
        )  # large bodies, and without a length
        self._timeout_s = get_settings().request_timeout_s
        self._next_look = 0.0
        self._is_stopping = False

    def run(self) -> None:
        """Serve until the server ends, then give those who still read their answers a moment."""
        self.poller.register(
            self.PIPE[0], selectors.EVENT_READ, lambda pipe: os.read(pipe, PIECE_BYTES)
        )  # signals
        super().run()
        flush_all(list(self._held), time.monotonic() + STOP_S)

    def accept(self, server: Any, listener: socket.socket) -> None:
        """Hold a new connection. Short of descriptors, or of places, the one that has waited longest ends."""
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._drop_oldest()
            elif error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED):
                raise
            return
        if len(self._held) >= self._max_held:
            self._drop_oldest()
        conn = TConn(self.cfg, Connection(accepted, self._outgoing), client, server)
        self._hold(Held(conn, time.monotonic() + KEEPALIVE_S), selectors.EVENT_READ, self._on_input)

    def murder_keepalived(self) -> None:
        """Called in each round of the loop: end what has waited too long."""
        if not self.alive and not self._is_stopping:
            self._stop()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            with self._lock:
                late = [held for held in self._held.values() if held.until <= now]
            for held in late:
                self._give_up(held)

    def handle(self, conn: TConn) -> tuple[bool, TConn]:
        """Serve a request, and those that came with it."""
        keepalive, _ = super().handle(conn)
        incoming: Incoming = conn.parser.unreader
        incoming.release()
        while keepalive and incoming.has_rest:
            rest = incoming.take_rest()
            frame = read_frame(rest, MAX_WHOLE_BYTES)
            incoming.give(rest, 0)
            if frame is None or not frame.is_ready(rest):
                break
            conn.sock.pace = Pace(time.monotonic() + self._timeout_s)
            keepalive, _ = super().handle(conn)
        return keepalive, conn

    def finish_request(self, future: "Future[tuple[bool, TConn]]") -> None:
        """Called in the thread that served it: what the connection waits for next."""
        conn: TConn = future.conn  # type: ignore[attr-defined]
        connection: Connection = conn.sock
        failed = future.cancelled() or future.exception() is not None
        keepalive = not failed and future.result()[0] and self.alive
        try:
            connection.pace = None
            connection.setblocking(False)
            if connection.has_unsent:
                pace = Pace(time.monotonic() + self._timeout_s)
                self._hold(
                    Held(conn, pace.until(), pace),
                    selectors.EVENT_WRITE,
                    partial(self._on_output, keepalive),
                )
            else:
                self._go_on(conn, keepalive)
        except (OSError, ValueError, KeyError, RuntimeError):  # it has ended, or the loop has
            self._finish_alone(connection)

    def _hold(self, held: Held, events: int, callback: Callable[[Held, Any], None]) -> None:
        with self._lock:
            self.poller.register(held.conn.sock, events, partial(callback, held))
            self._held[held.conn.sock] = held

    def _release(self, held: Held) -> bool:
        """Stop looking at it; False if somebody has already."""
        with self._lock:
            if self._held.get(held.conn.sock) is not held:
                return False
            del self._held[held.conn.sock]
            self.poller.unregister(held.conn.sock)
            return True

    def _end(self, held: Held) -> None:
        if self._release(held):
            self._incoming.give_back(held.reserved_bytes)
            held.conn.close()

    def _drop_oldest(self) -> None:
        with self._lock:
            oldest = next(iter(self._held.values()), None)
        if oldest:
            self._end(oldest)

    def _on_input(self, held: Held, connection: Connection) -> None:
        """A part of a request has come, or its end."""
        try:
            piece = connection.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if held.pace is None:
            held.pace = Pace(time.monotonic() + self._timeout_s)
            held.until = min(held.pace.last, held.pace.since + HEAD_TIMEOUT_S)
        held.received += piece
        held.pace.moved_bytes = len(held.received)
        held.frame = held.frame or read_frame(held.received, MAX_WHOLE_BYTES)
        if held.frame:
            self._on_body(held, held.frame, len(piece))
        elif not piece or len(held.received) > MAX_HEAD_BYTES:
            self._end(held)

    def _on_body(self, held: Held, frame: Frame, size: int) -> None:
        """Hand the request over when it is whole, or when only a thread can read the rest."""
        if frame.size_bytes is None:
            self._serve(held, self._readers)
        elif (
            frame.is_ready(held.received) or not size
        ):  # a body that ends early, a thread sees at once
            self._serve(held, self.tpool)
        elif not self._reserve(held, size):
            self._serve(held, self._readers)
        elif held.pace:
            held.until = held.pace.until()

    def _reserve(self, held: Held, size: int) -> bool:
        if len(held.received) > FREE_BYTES:
            if not self._incoming.take(size):
                return False
            held.reserved_bytes += size
        return True

    def _serve(self, held: Held, pool: ThreadPoolExecutor) -> None:
        if not self._release(held):
            return
        conn = held.conn
        conn.init()
        incoming = conn.parser.unreader
        if not isinstance(incoming, Incoming):
            incoming = conn.parser.unreader = Incoming(conn.sock, self._incoming)
        incoming.give(held.received, held.reserved_bytes)
        conn.sock.pace = held.pace
        self._wrap_future(pool.submit(self.handle, conn), conn)

    def _give_up(self, held: Held) -> None:
        """It waited too long. A body that comes too slowly is answered, by a thread that does not wait for more."""
        if held.frame is None:
            self._end(held)
        else:
            now = time.monotonic()
            held.pace = Pace(now, since=held.pace.since if held.pace else now)
            self._serve(held, self.tpool)

    def _on_output(self, keepalive: bool, held: Held, connection: Connection) -> None:
        """The caller takes more of the answer."""
        try:
            sent_bytes = connection.flush()
        except OSError:
            self._end(held)
            return
        if connection.has_unsent and held.pace:
            held.pace.moved_bytes += sent_bytes
            held.until = held.pace.until()
        elif self._release(held):
            self._go_on(held.conn, keepalive)

    def _go_on(self, conn: TConn, keepalive: bool) -> None:
        """After an answer: await the next request, or close without losing the answer.

        Closing with unread data resets the connection, and the caller may lose the answer before it has read it. So
        the caller is told that nothing more comes, and what it still sends is read and thrown away.
        """
        now = time.monotonic()
        if keepalive:
            incoming: Incoming = conn.parser.unreader
            rest = incoming.take_rest() if incoming.has_rest else bytearray()
            until = now + (HEAD_TIMEOUT_S if rest else KEEPALIVE_S)
            self._hold(Held(conn, until, received=rest), selectors.EVENT_READ, self._on_input)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the caller is gone
            conn.close()
            return
        self._hold(
            Held(conn, now + LINGER_S, Pace(now + MAX_LINGER_S)),
            selectors.EVENT_READ,
            self._on_leftover,
        )

    def _on_leftover(self, held: Held, connection: Connection) -> None:
        try:
            piece = connection.recv(PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        pace = held.pace
        if not piece or pace is None or pace.moved_bytes > MAX_LINGER_BYTES:
            self._end(held)
            return
        pace.moved_bytes += len(piece)
        held.until = min(pace.last, time.monotonic() + LINGER_S)

    def _stop(self) -> None:
        """The server ends: callers that are slow have STOP_S, others the time that their requests need."""
        self._is_stopping = True
        self._readers.shutdown(wait=False, cancel_futures=True)
        timer = threading.Timer(STOP_S, self._cut_slow)
        timer.daemon = True
        timer.start()

    def _cut_slow(self) -> None:
        for future in list(self.futures):
            if future.conn.sock.is_stuck:
                future.conn.sock.shutdown(socket.SHUT_RDWR)

    def _finish_alone(self, connection: Connection) -> None:
        """Without the loop: send the rest of an answer for STOP_S at most, and close."""
        try:
            flush_all([connection], time.monotonic() + STOP_S)
        finally:
            connection.close()
