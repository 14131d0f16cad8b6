"""The watch cancels the work of callers that disconnect, and of no others."""

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from common.cancellation import Cancellation
from functions.caller_watch import CallerWatch

SOON_S = 10.0
RESET = struct.pack("ii", 1, 0)
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Our end of a TCP connection, and the caller's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def watched() -> tuple[Cancellation, threading.Event]:
    """A cancellation, and the event that it sets."""
    cancellation, gone = Cancellation(), threading.Event()
    cancellation.on_cancel(gone.set)
    return cancellation, gone


@pytest.mark.parametrize("way", ["close", "half-close", "reset"])
def test_a_caller_that_leaves_is_noticed(pair: Pair, way: str) -> None:
    ours, theirs = pair
    cancellation, gone = watched()
    CallerWatch().add(ours, cancellation)
    if way == "half-close":
        theirs.shutdown(socket.SHUT_WR)
    else:
        if way == "reset":
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        theirs.close()
    assert gone.wait(SOON_S)


def test_a_caller_whose_next_request_has_come_is_noticed_when_it_leaves_and_not_before(
    pair: Pair,
) -> None:
    ours, theirs = pair
    watch = CallerWatch()
    (cancellation, gone), (other, other_gone) = watched(), watched()
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    leaving, its_caller = socket.socketpair()
    watch.add(ours, cancellation)
    watch.add(leaving, other)
    with leaving:
        its_caller.close()
        assert other_gone.wait(SOON_S)  # both have been looked at
        assert not cancellation.cancelled
        theirs.close()
        assert gone.wait(SOON_S)


def test_a_caller_that_leaves_after_its_answer_cancels_nothing(pair: Pair) -> None:
    ours, theirs = pair
    watch = CallerWatch()
    (cancellation, _), (other, other_gone) = watched(), watched()
    watch.add(ours, cancellation)
    watch.remove(ours)
    theirs.close()
    leaving, its_caller = socket.socketpair()
    watch.add(leaving, other)
    with leaving:
        its_caller.close()
        assert other_gone.wait(SOON_S)
    assert not cancellation.cancelled
