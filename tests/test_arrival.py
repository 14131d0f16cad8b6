"""How long a request waited for a thread of the server."""

import select
import socket
import time

from functions.arrival import waited_s

QUIET_S = 0.05
TICK_S = 0.01  # the kernel counts in ticks


def test_it_is_the_time_since_the_last_byte_came() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    caller = socket.create_connection(listener.getsockname())
    with listener, caller, listener.accept()[0] as connection:
        sent = time.monotonic()
        caller.sendall(b"GET / HTTP/1.1\r\n")
        assert select.select([connection], [], [], 10)[0]
        select.select([], [], [], QUIET_S)  # nothing comes meanwhile
        waited = waited_s(connection)
        assert QUIET_S / 2 <= waited <= time.monotonic() - sent + TICK_S


def test_what_does_not_tell_has_not_waited() -> None:
    ends = socket.socketpair()
    assert waited_s(ends[0]) == 0
    for end in ends:
        end.close()
    assert waited_s(ends[0]) == 0
    assert waited_s(None) == 0
