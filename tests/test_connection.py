"""A connection never makes its thread wait for long, neither to receive nor to send."""

import math
import socket
import time
from collections.abc import Iterator

import pytest

from functions.connection import GRACE_S, MIN_BYTES_PER_S, Budget, Connection, Pace

LARGE = b"0123456789" * 2_000_000  # more than sockets hold
Pair = tuple[Connection, socket.socket]


@pytest.fixture
def budget() -> Budget:
    return Budget(2 * len(LARGE))


@pytest.fixture
def pair(budget: Budget) -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with Connection(ours, budget) as connection, theirs:
        theirs.settimeout(10)
        yield connection, theirs


def take_all(connection: Connection, theirs: socket.socket, size: int) -> bytes:
    taken = bytearray()
    while len(taken) < size:
        connection.flush()
        taken += theirs.recv(2**20)
    return bytes(taken)


def test_an_answer_that_is_not_taken_is_kept_and_sent_later_in_order(
    pair: Pair, budget: Budget
) -> None:
    connection, theirs = pair
    connection.sendall(LARGE)
    connection.sendall(b"end")
    assert connection.has_unsent
    assert not budget.take(2 * len(LARGE))
    assert take_all(connection, theirs, len(LARGE) + 3) == LARGE + b"end"
    assert connection.flush() == 0
    assert budget.take(2 * len(LARGE))


def test_a_connection_that_closes_gives_its_place_back(pair: Pair, budget: Budget) -> None:
    connection, _ = pair
    connection.sendall(LARGE)
    connection.close()
    assert budget.take(2 * len(LARGE))


def test_without_room_a_caller_that_takes_nothing_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with (
        Connection(ours, Budget(0)) as connection,
        theirs,
        pytest.raises(ConnectionResetError, match="too slowly"),
    ):
        connection.sendall(LARGE)


def test_a_caller_behind_its_pace_is_not_waited_for(pair: Pair) -> None:
    connection, theirs = pair
    theirs.sendall(b"late")
    connection.pace = Pace(last=time.monotonic())
    with pytest.raises(TimeoutError):
        connection.recv(4)
    connection.pace = Pace(last=time.monotonic() + 10)
    assert connection.recv(4) == b"late"
    assert connection.pace.moved_bytes == 4


def test_a_pace_gives_time_for_what_moves_and_ends_at_its_last_instant() -> None:
    pace = Pace(last=math.inf, since=100.0)
    assert pace.until() == 100 + GRACE_S
    pace.moved_bytes = 10 * MIN_BYTES_PER_S
    assert pace.until() == 100 + GRACE_S + 10
    pace.last = 103.0
    assert pace.until() == 103
