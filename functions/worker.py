"""A gunicorn worker whose threads only get complete requests. Slow callers wait in its loop.

gunicorn's threaded worker gives a connection to a thread with the first byte. The thread waits for
the rest, so a few half-sent requests, or callers that do not read, block all threads. Once 1,000
silent connections are open, it stops accepting for good. It also resets connections whose request
it did not read.

This worker keeps gunicorn's parser, loop and shutdown. It holds connections in the loop while they
are idle, while a request arrives, while the caller reads an answer, and until a last answer is
read.
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
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from common.config import get_settings
from functions.connection import Budget, Connection, Pace, flush_all
from functions.held import Held
from functions.incoming import Incoming
from functions.request_head import Frame, read_frame
from functions.turn_away import TurnAway
from functions.unreadable import answer_to

HEAD_TIMEOUT_S = 10.0  # from the first byte of a request to the end of its head
FIRST_BYTE_S = 75.0  # of a new connection
# An idle connection costs only a descriptor. Google's load balancers reuse one that was idle for up
# to 600 s, and their caller gets a 502 if it was closed just then.
KEEPALIVE_S = 620.0
LINGER_S = 2.0  # of silence, before a connection closes after its last answer
MAX_LINGER_S = 30.0
# Twice the largest body, so that a caller that sends too much still reads why it was refused.
MAX_LINGER_BYTES = 64 * 2**20
MAX_HELD = 4096  # connections without a thread; a further one ends the one that waited longest
MAX_HEAD_BYTES = 256 * 1024
MAX_WHOLE_BYTES = 2**20  # the loop receives requests up to this size completely
# Each connection may hold so much beside the budget, so that others cannot block small requests.
FREE_BYTES = 16 * 1024
MAX_INCOMING_BYTES = 64 * 2**20
MAX_OUTGOING_BYTES = 64 * 2**20
PIECE_BYTES = 64 * 1024
LOOK_S = 0.5  # between two searches for connections that waited too long
STOP_S = 1.0  # what slow callers get when the server stops


class Worker(ThreadWorker):  # type: ignore[misc]
    """Gives threads complete requests only. `_lock` guards `_held` and the selector."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # MAX_HELD is the limit, so gunicorn's own limits must never apply.
        self.worker_connections = self.max_keepalived = 2**31
        self._incoming = Budget(MAX_INCOMING_BYTES)
        self._outgoing = Budget(MAX_OUTGOING_BYTES)
        self._held: dict[Connection, Held] = {}
        self._max_held = min(MAX_HELD, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
        # Threads for bodies that are large or have no Content-Length.
        self._readers = ThreadPoolExecutor(max(1, self.cfg.threads // 2), "read")
        self._timeout_s = get_settings().request_timeout_s
        self._turn_away = TurnAway()
        self._next_look = 0.0
        self._is_stopping = False

    def run(self) -> None:
        """Serve until the server stops, then send unfinished answers for STOP_S at most."""
        wake = self.PIPE[0]  # gunicorn's pipe wakes the loop after a signal
        self.poller.register(wake, selectors.EVENT_READ, lambda pipe: os.read(pipe, PIECE_BYTES))
        super().run()
        flush_all(list(self._held), time.monotonic() + STOP_S)

    def accept(self, server: Any, listener: socket.socket) -> None:
        """Hold a new connection.

        If descriptors or places run out, the connection that waited longest ends.
        """
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
        self._hold(
            Held(conn, time.monotonic() + FIRST_BYTE_S), selectors.EVENT_READ, self._on_input
        )

    def murder_keepalived(self) -> None:
        """End connections that waited too long. gunicorn calls it in each round of the loop."""
        if not self.alive and not self._is_stopping:
            self._stop()
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._turn_away.forget_old()
            with self._lock:
                late = [held for held in self._held.values() if held.until <= now]
            for held in late:
                self._give_up(held)

    def handle(self, conn: TConn) -> tuple[bool, TConn]:
        """Serve a request, and complete requests that arrived with it."""
        keepalive, _ = super().handle(conn)
        if refused := conn.sock.take_refused():
            refused.keepalive = keepalive
            self._turn_away.remember(refused)
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
            incoming.release()
        return keepalive, conn

    def handle_error(self, _: Any, connection: Connection, __: Any, error: Exception) -> None:
        """Answer a request that the parser cannot read. gunicorn would send HTML."""
        with suppress(OSError):
            connection.sendall(answer_to(error))

    def finish_request(self, future: "Future[tuple[bool, TConn]]") -> None:
        """Hold the connection again. gunicorn calls it in the thread that served it."""
        conn: TConn = future.conn  # type: ignore[attr-defined]
        connection: Connection = conn.sock
        failed = future.cancelled() or future.exception() is not None
        keepalive = not failed and future.result()[0] and self.alive
        try:
            connection.pace = None
            connection.setblocking(False)
            if connection.has_unsent:
                pace = Pace(time.monotonic() + self._timeout_s)
                send_more = partial(self._on_output, keepalive)
                self._hold(Held(conn, pace.until(), pace), selectors.EVENT_WRITE, send_more)
            else:
                self._go_on(conn, keepalive)
        except (OSError, ValueError, KeyError, RuntimeError):  # it or the loop has ended
            self._finish_alone(connection)

    def _hold(self, held: Held, events: int, callback: Callable[[Held, Any], None]) -> None:
        with self._lock:
            self.poller.register(held.conn.sock, events, partial(callback, held))
            self._held[held.conn.sock] = held

    def _release(self, held: Held) -> bool:
        """Stop watching it. Returns False if it is no longer held."""
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
        """Receive a part of a request, or the end of the connection."""
        piece = connection.take(PIECE_BYTES)
        if piece is None:
            return
        if held.pace is None:
            held.pace = Pace(time.monotonic() + self._timeout_s)
            held.until = min(held.pace.last, held.pace.since + HEAD_TIMEOUT_S)
        held.received += piece
        if held.received.startswith(b"\r\n"):  # some clients end a body with an empty line
            held.received = held.received.lstrip(b"\r\n")
        held.pace.moved_bytes = len(held.received)
        held.frame = held.frame or read_frame(held.received, MAX_WHOLE_BYTES)
        if held.frame:
            self._on_body(held, held.frame, len(piece))
        elif not piece or len(held.received) > MAX_HEAD_BYTES:
            self._end(held)

    def _on_body(self, held: Held, frame: Frame, size: int) -> None:
        """Serve the request if it is complete, or if a thread has to read the rest."""
        if frame.size_bytes is None:
            self._serve(held, self._readers)
        elif frame.is_ready(held.received) or not size:  # without `size` the body ended early
            if not self._refuse(held):
                self._serve(held, self.tpool)
        elif not self._reserve(held, size):
            self._serve(held, self._readers)
        elif held.pace:
            held.until = held.pace.until()

    def _refuse(self, held: Held) -> bool:
        """Refuse the request here if like ones were just refused. Returns whether that was done."""
        connection: Connection = held.conn.sock
        connection.like = held.like if self.alive else None
        refused, connection.turned_away = self._turn_away.find(connection.like)
        if refused and self._release(held):
            self._incoming.give_back(held.reserved_bytes)
            is_sent = connection.send_whole(refused.copy_for(bytes(held.received)))
            self._go_on(held.conn, refused.keepalive and is_sent)
        return refused is not None

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
            conn.sock.reserve = incoming.reserve
        incoming.give(held.received, held.reserved_bytes)
        conn.sock.pace = held.pace
        self._wrap_future(pool.submit(self.handle, conn), conn)

    def _give_up(self, held: Held) -> None:
        """End a connection that waited too long.

        If the body is incomplete, a thread answers that it is too slow, without waiting for more.
        """
        if held.frame is None:
            self._end(held)
        else:
            now = time.monotonic()
            held.pace = Pace(now, since=held.pace.since if held.pace else now)
            self._serve(held, self.tpool)

    def _on_output(self, keepalive: bool, held: Held, connection: Connection) -> None:
        """Send more of the answer, as the caller can take it."""
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
        """Wait for the next request after an answer, or close without losing the answer.

        Closing with unread data resets the connection, and the caller may lose the answer. So this
        shuts down the sending side, and discards what the caller still sends.
        """
        now = time.monotonic()
        if keepalive:
            incoming: Incoming | None = conn.parser.unreader if conn.parser else None
            rest = incoming.take_rest() if incoming and incoming.has_rest else bytearray()
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
        piece = connection.take(PIECE_BYTES)
        if piece is None:
            return
        pace = held.pace
        if not piece or pace is None or pace.moved_bytes > MAX_LINGER_BYTES:
            self._end(held)
            return
        pace.moved_bytes += len(piece)
        held.until = min(pace.last, time.monotonic() + LINGER_S)

    def _stop(self) -> None:
        """Begin to stop. Slow callers get STOP_S; other requests run to their end."""
        self._is_stopping = True
        self._readers.shutdown(wait=False, cancel_futures=True)
        for future in list(self.futures):
            if future.cancelled():  # else gunicorn waits for it: nobody else tells that it ended
                future.set_running_or_notify_cancel()
        timer = threading.Timer(STOP_S, self._cut_slow)
        timer.daemon = True
        timer.start()

    def _cut_slow(self) -> None:
        for future in list(self.futures):
            if future.conn.sock.is_stuck:
                future.conn.sock.shutdown(socket.SHUT_RDWR)

    def _finish_alone(self, connection: Connection) -> None:
        """Send the rest of an answer without the loop, for STOP_S at most, and close."""
        try:
            flush_all([connection], time.monotonic() + STOP_S)
        finally:
            connection.close()
