"""Requests that are like ones just refused get a copy of that refusal, without a thread."""

import re
import socket
import time
from collections import Counter
from pathlib import Path

import pytest
import requests

from functions.connection import Budget, Connection
from functions.turn_away import MAX_HEAD_BYTES, MAX_KINDS, MIN_REFUSALS, Like, Refused, TurnAway
from tests.e2e.server import serve
from tests.paths import ROOT

HEAD = (
    "POST /embed/text HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n"
    "X-Cloud-Trace-Context: {trace}\r\nContent-Length: {length}\r\n\r\n"
)
# Refuses everything, and tells in X-Number which call of the function that was.
REFUSES_ALL = """
import itertools, sys, uuid
import flask
from functions.server import fit

numbers = itertools.count(1)
noted = []

def embed(request):
    if request.path == "/noted":
        return flask.jsonify(noted)
    own = request.headers.get("X-Request-Id") or uuid.uuid4().hex
    request.environ["gunicorn.socket"].note_refused(60, own, noted.append)
    headers = {"X-Request-Id": own, "X-Number": str(next(numbers))}
    return flask.Response("busy", 429, headers)

fit(flask.current_app._get_current_object(), embed)
"""


def request(length: int = 20, key: str = "a", trace: str = "1") -> bytearray:
    head = HEAD.format(key=key, trace=trace, length=length).encode()
    return bytearray(head + b"x" * length)


def refused(of: bytearray, lasts_s: float = 60, request_id: str = "own") -> Refused:
    until = time.monotonic() + lasts_s
    answer = bytearray(b"HTTP/1.1 429 Busy\r\nX-Request-Id: own\r\n\r\n")
    like = Like.of(of)
    assert like
    return Refused(like, until, request_id, lambda _: None, answer, keepalive=True)


def after(*refusals: Refused) -> TurnAway:
    turn_away = TurnAway()
    for one in refusals:
        turn_away.remember(one)
    return turn_away


def test_like_requests_are_turned_away_after_enough_refusals_and_counted() -> None:
    few = after(*[refused(request())] * (MIN_REFUSALS - 1))
    assert few.find(Like.of(request())) == (None, 0)
    every = [refused(request()) for _ in range(MIN_REFUSALS)]
    turn_away = after(*every)
    found = [
        turn_away.find(Like.of(request(trace=str(number))))[0] for number in range(2 * MIN_REFUSALS)
    ]
    assert Counter(map(id, found)) == dict.fromkeys(map(id, every), 2)
    assert turn_away.find(Like.of(request(length=200))) == (None, 2 * MIN_REFUSALS)
    assert turn_away.find(Like.of(request(length=200))) == (None, 0)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(request(key="b"), id="another key"),
        pytest.param(request(length=19), id="smaller"),
        pytest.param(request(length=400), id="much larger"),
        pytest.param(request().replace(b"text", b"rank"), id="another route"),
        pytest.param(request().replace(b"\r\nHost", b"\r\nOrigin: https://a\r\nHost"), id="origin"),
    ],
)
def test_other_requests_go_to_a_thread(other: bytearray) -> None:
    turn_away = after(*[refused(request())] * MIN_REFUSALS)
    assert turn_away.find(Like.of(other))[0] is None
    assert turn_away.find(Like.of(request()))[0] is not None


def test_a_refusal_holds_for_its_time_and_is_then_forgotten() -> None:
    turn_away = after(*[refused(request(), lasts_s=-1)] * MIN_REFUSALS)
    assert turn_away.find(Like.of(request()))[0] is None
    turn_away.remember(refused(request()))
    turn_away.forget_old()
    assert turn_away.find(Like.of(request()))[0] is not None
    turn_away.remember(refused(request(), lasts_s=-60))
    turn_away.forget_old()
    turn_away.remember(refused(request()))
    assert turn_away.find(Like.of(request()))[0] is None


def test_a_very_long_head_is_not_kept() -> None:
    long = request(key="a" * MAX_HEAD_BYTES)
    assert Like.of(long) is None
    assert after(*[refused(request())] * MIN_REFUSALS).find(Like.of(long)) == (None, 0)


def test_kinds_are_bounded() -> None:
    turn_away = after(*[refused(request())] * MIN_REFUSALS)
    for number in range(MAX_KINDS):
        turn_away.remember(refused(request(key=str(number))))
    assert turn_away.find(Like.of(request()))[0] is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [("mine", r"mine"), ("not a token", r"[0-9a-f]{32}"), (None, r"[0-9a-f]{32}")],
)
def test_a_copy_has_the_id_of_its_own_request(given: str | None, expected: str) -> None:
    noted: list[str] = []
    one = refused(request())
    one.note = noted.append
    head = b"POST / HTTP/1.1\r\n" + (f"X-Request-ID: {given}\r\n".encode() if given else b"")
    copy = one.copy_for(head + b"\r\n").decode()
    (own,) = noted
    assert re.fullmatch(expected, own)
    assert copy == f"HTTP/1.1 429 Busy\r\nX-Request-Id: {own}\r\n\r\n"


def test_a_request_that_did_not_arrive_whole_is_no_example() -> None:
    ours, theirs = socket.socketpair()
    with Connection(ours, Budget(0)) as connection, theirs:
        connection.note_refused(1, "own", lambda _: None)
        assert connection.refused is None
        connection.like = Like.of(request())
        connection.note_refused(1, "own", lambda _: None)
        assert connection.refused is not None


def test_the_server_turns_like_requests_away_on_connections_that_stay_open(tmp_path: Path) -> None:
    source = tmp_path / "main.py"
    source.write_text(REFUSES_ALL)
    numbers: list[str] = []
    ids: list[str] = []

    def ask(caller: requests.Session, **headers: str) -> requests.Response:
        answer = caller.post(server.url + "/embed/text", json={"texts": ["a"]}, headers=headers)
        assert (answer.status_code, answer.text) == (429, "busy")
        numbers.append(answer.headers["X-Number"])
        ids.append(answer.headers["X-Request-Id"])
        return answer

    with serve(tmp_path, source, PYTHONPATH=str(ROOT)) as server, requests.Session() as one:
        until = time.monotonic() + 30
        while len(set(numbers)) == len(numbers):  # the loop copies none of them yet
            assert time.monotonic() < until
            ask(one)
        with requests.Session() as another:  # its first request, on a new connection
            ask(another, traceparent="00-1")
            assert ask(another, Connection="close").headers["Connection"] == "close"
        noted = one.get(server.url + "/noted").json()
    assert len(ids) == len(set(ids))
    copied = [own for own, number in zip(ids, numbers, strict=True) if numbers.count(number) > 1]
    assert noted
    assert set(noted) < set(copied)
