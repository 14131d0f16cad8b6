"""Cutoff ends connections at their deadlines, and remembers none that has ended by itself."""

import socket
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from functions.cutoff import Cutoff

SOON_S = 10.0
COUNT = 50
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.settimeout(SOON_S)
        yield ours, theirs


def test_a_late_reader_is_cut_off(pair: Pair) -> None:
    ours, theirs = pair
    Cutoff().await_reader(ours, time.monotonic())
    assert theirs.recv(1) == b""


def test_a_late_request_can_still_be_answered(pair: Pair) -> None:
    ours, theirs = pair
    Cutoff().await_request(ours, time.monotonic())
    assert ours.recv(1) == b""
    ours.sendall(b"late")
    assert theirs.recv(4) == b"late"


def test_the_next_request_puts_the_end_off(pair: Pair) -> None:
    """Its deadline is later than one that is looked at meanwhile."""
    ours, theirs = pair
    cutoff = Cutoff()
    cutoff.await_reader(ours, time.monotonic() + SOON_S)
    cutoff.await_request(ours, time.monotonic() + 100 * SOON_S)
    other, others = socket.socketpair()
    with other, others:
        others.settimeout(SOON_S)
        cutoff.await_reader(other, time.monotonic())
        assert others.recv(1) == b""
    theirs.sendall(b"next")
    assert ours.recv(4) == b"next"


def test_connections_that_have_ended_are_forgotten_at_the_next_look(pair: Pair) -> None:
    """Their sockets can then be freed: nothing holds them any more."""
    ours, theirs = pair
    cutoff, freed = Cutoff(), threading.Semaphore(0)
    for _ in range(COUNT):
        gone, peer = socket.socketpair()
        weakref.finalize(gone, freed.release)
        cutoff.await_reader(gone, time.monotonic() + 100 * SOON_S)
        gone.close()
        peer.close()
    del gone
    cutoff.await_reader(ours, time.monotonic())
    assert theirs.recv(1) == b""
    assert all(freed.acquire(timeout=SOON_S) for _ in range(COUNT))
