"""A caller's connection whose slowness holds no thread: reads keep a pace, and what is not taken yet is kept."""

import errno
import math
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

GRACE_S = 5.0  # a caller may be silent for so long before the rate counts
SHORT_GRACE_S = 1.0  # the same while a thread waits for a caller to take its answer
MIN_BYTES_PER_S = 16 * 1024  # of a body that is sent, or of an answer that is taken


class Budget:
    """Bytes that all connections together may hold in memory."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._lock = threading.Lock()

    def take(self, size: int, anyway: bool = False) -> bool:
        """Reserve `size` bytes if they fit, or `anyway`; whether they fit."""
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
    """How long a transfer may take: `grace_s`, and a second for each MIN_BYTES_PER_S, until `last` at most.

    Times are time.monotonic() instants.
    """

    last: float
    since: float = field(default_factory=time.monotonic)
    moved_bytes: int = 0
    grace_s: float = GRACE_S

    def until(self) -> float:
        """The instant at which the transfer is too slow, unless more bytes move."""
        return min(self.last, self.since + self.grace_s + self.moved_bytes / MIN_BYTES_PER_S)


class Connection(socket.socket):
    """An accepted socket. Its `sendall` never waits while `outgoing` has room: `flush` sends the rest."""

    def __init__(self, accepted: socket.socket, outgoing: Budget) -> None:
        family, kind, protocol = accepted.family, accepted.type, accepted.proto
        super().__init__(family, kind, protocol, accepted.detach())
        self.pace: Pace | None = None  # of what is read in a thread
        self.is_stuck = False  # whether a thread waits for the caller right now
        self._outgoing = outgoing
        self._unsent: deque[memoryview] = deque()

    @property
    def has_unsent(self) -> bool:
        """Whether a part of the answer still waits for the caller to take it."""
        return bool(self._unsent)

    def waited_s(self) -> float:
        """Seconds since the first byte of the request that is being read."""
        return time.monotonic() - self.pace.since if self.pace else 0.0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """At most `size` bytes. Raises TimeoutError when the caller falls behind the pace, if there is one."""
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

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send what the caller takes at once, and keep the rest for `flush`.

        Without room for the rest it is sent here, at MIN_BYTES_PER_S at least. Raises OSError when the caller is gone
        or too slow.
        """
        rest = memoryview(data)
        if not self._unsent:
            rest = rest[self._send_now(rest, flags) :]
        if not rest:
            return
        has_room = self._outgoing.take(len(rest), anyway=True)
        self._unsent.append(rest)
        if not has_room:
            self._send_at_pace()

    def flush(self) -> int:
        """Send as much of what was kept as the caller takes at once; how many bytes that is. Raises OSError."""
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
        """Close it, and forget what was not sent."""
        while self._unsent:
            self._outgoing.give_back(len(self._unsent.popleft()))
        super().close()

    def _send_now(self, data: memoryview, flags: int = 0) -> int:
        try:
            return super().send(data, flags | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    def _send_at_pace(self) -> None:
        """Send what was kept, while the caller takes enough of it."""
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
    """Send what was kept until all is sent or the time is over."""
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
