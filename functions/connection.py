"""A connection whose slow caller does not block a thread.

Reads have a minimum pace. Bytes that the caller has not taken yet are kept and sent later.
"""

import errno
import math
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.turn_away import MAX_LASTS_S, Like, Refused

GRACE_S = 5.0  # how long a caller may be silent before the minimum rate applies
SHORT_GRACE_S = 1.0  # the same, while a thread waits for a caller to read its answer
MIN_BYTES_PER_S = 16 * 1024  # the minimum rate of a request body and of an answer


class Budget:
    """The bytes that all connections together may hold in memory."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._lock = threading.Lock()

    def take(self, size: int, anyway: bool = False) -> bool:
        """Reserve `size` bytes if they fit, or if `anyway`. Returns whether they fit."""
        with self._lock:
            fits = self._taken_bytes + size <= self._limit_bytes
            self._taken_bytes += size if fits or anyway else 0
            return fits

    def give_back(self, size: int) -> None:
        """Return `size` bytes that were reserved."""
        with self._lock:
            self._taken_bytes -= size


@dataclass
class Pace:
    """How long a transfer may take.

    It may take `grace_s`, and one second more for each MIN_BYTES_PER_S moved, but ends at `last`.
    Times are time.monotonic() instants.
    """

    last: float
    since: float = field(default_factory=time.monotonic)
    moved_bytes: int = 0
    grace_s: float = GRACE_S

    def until(self) -> float:
        """The instant at which the transfer counts as too slow, unless more bytes move."""
        return min(self.last, self.since + self.grace_s + self.moved_bytes / MIN_BYTES_PER_S)


class Connection(socket.socket):
    """An accepted socket whose `sendall` does not wait while `outgoing` has room.

    `flush` sends later what `sendall` kept.
    """

    def __init__(self, accepted: socket.socket, outgoing: Budget) -> None:
        family, kind, protocol = accepted.family, accepted.type, accepted.proto
        super().__init__(family, kind, protocol, accepted.detach())
        self.pace: Pace | None = None  # for reads in a thread
        self.is_stuck = False  # whether a thread waits for the caller right now
        # Reserves memory for the request that is served, if so many bytes are free.
        self.reserve: Callable[[int], bool] = lambda _: True
        self.like: Like | None = None  # what the request that a thread serves is compared by
        self.turned_away = 0  # like requests that were refused in the loop before it
        self.refused: Refused | None = None  # set when that request is refused
        self._outgoing = outgoing
        self._unsent: deque[memoryview] = deque()

    @property
    def has_unsent(self) -> bool:
        """Whether the caller still has to take a part of the answer."""
        return bool(self._unsent)

    def waited_s(self) -> float:
        """Seconds since the first byte of the current request."""
        return time.monotonic() - self.pace.since if self.pace else 0.0

    def note_refused(self, lasts_s: float, request_id: str, note: Callable[[str], None]) -> None:
        """Let the loop refuse like requests for `lasts_s`, with copies of the answer to come."""
        if self.like:
            until = time.monotonic() + min(lasts_s, MAX_LASTS_S)
            self.refused = Refused(self.like, until, request_id, note)

    def take_refused(self) -> Refused | None:
        """The refusal of the request that was served, if it was refused. Forgets that request."""
        refused, self.refused, self.like, self.turned_away = self.refused, None, None, 0
        return refused

    def recv(self, size: int, flags: int = 0) -> bytes:
        """At most `size` bytes. Raises TimeoutError if the caller falls behind the pace."""
        if self.pace is None:
            return super().recv(size, flags)
        remaining_s = self.pace.until() - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("the caller sends too slowly")
        self.settimeout(remaining_s)
        self.is_stuck = True
        try:
            piece = super().recv(size, flags)
        finally:
            self.is_stuck = False
            self.settimeout(None)
        self.pace.moved_bytes += len(piece)
        return piece

    def take(self, size: int) -> bytes | None:
        """At most `size` bytes that have arrived; None if there are none.

        Empty at the end of the connection. Without a thread's pace.
        """
        try:
            return self.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send what the caller takes at once, and keep the rest for `flush`.

        If the budget has no room for the rest, sends it here, at MIN_BYTES_PER_S or faster.
        Raises OSError if the caller is gone or too slow.
        """
        if self.refused:
            self.refused.answer += data
        rest = memoryview(data)
        if not self._unsent:
            rest = rest[self._send_now(rest, flags) :]
        if not rest:
            return
        has_room = self._outgoing.take(len(rest), anyway=True)
        self._unsent.append(rest)
        if not has_room:
            self._send_at_pace()

    def send_whole(self, data: bytes) -> bool:
        """Send `data`. Returns False if the caller is gone, or does not take all of it at once."""
        try:
            return not self._unsent and self._send_now(memoryview(data)) == len(data)
        except OSError:
            return False

    def flush(self) -> int:
        """Send as many kept bytes as the caller takes at once. Returns their number.

        Raises OSError if the caller is gone.
        """
        sent_bytes = 0
        while self._unsent:
            part = self._unsent[0]
            sent = self._send_now(part)
            sent_bytes += sent
            self._outgoing.give_back(sent)
            if sent < len(part):
                self._unsent[0] = part[sent:]
                break
            self._unsent.popleft()
        return sent_bytes

    def close(self) -> None:
        """Close the connection and discard unsent bytes."""
        while self._unsent:
            self._outgoing.give_back(len(self._unsent.popleft()))
        super().close()

    def _send_now(self, data: memoryview, flags: int = 0) -> int:
        try:
            return super().send(data, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _send_at_pace(self) -> None:
        """Send the kept bytes. Raises OSError if the caller reads more slowly than the pace."""
        pace = Pace(math.inf, grace_s=SHORT_GRACE_S)
        writable = select.poll()
        writable.register(self, select.POLLOUT)
        self.is_stuck = True
        try:
            while self._unsent:
                if not writable.poll(max(0.0, pace.until() - time.monotonic()) * 1000):
                    raise ConnectionResetError(
                        errno.ECONNRESET, "the caller takes its answer too slowly"
                    )
                pace.moved_bytes += self.flush()
        finally:
            self.is_stuck = False


def flush_all(connections: Sequence[Connection], until: float) -> None:
    """Send the kept bytes of all connections, until the monotonic instant `until` at most."""
    poller = select.poll()
    waiting = {
        connection.fileno(): connection for connection in connections if connection.has_unsent
    }
    for descriptor in waiting:
        poller.register(descriptor, select.POLLOUT)
    while waiting and (remaining_s := until - time.monotonic()) > 0:
        for descriptor, _ in poller.poll(remaining_s * 1000):
            try:
                waiting[descriptor].flush()
                if waiting[descriptor].has_unsent:
                    continue
            except OSError:
                pass
            poller.unregister(descriptor)
            del waiting[descriptor]
