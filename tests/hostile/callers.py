"""Callers that hold a connection to the server and misuse it."""

import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from tests.e2e.server import Server

BODY = b"x" * 20_000
JSON = "Content-Type: application/json"
ANSWERS_MB = json.dumps(
    {"texts": ["a fox"] * 2048}
).encode()  # some 6 MB of an answer, more than sockets hold


def connect(server: Server) -> socket.socket:
    """A connection to the server."""
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def head(path: str, length: int | str, *lines: str, method: str = "POST") -> bytes:
    """A request's head."""
    names = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *lines])
    return f"{names}\r\nContent-Length: {length}\r\n\r\n".encode()


def chunked(path: str, start: bytes) -> bytes:
    """A request whose first chunk is longer than `start`, which is all that comes of it."""
    lines = head(path, 0, JSON).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    return lines + b"ffff\r\n" + start


REFUSED = {
    "404": head("/nope", len(BODY), JSON) + BODY,
    "401": head("/metrics", len(BODY), "X-API-Key: wrong", method="GET") + BODY,
    "405": head("/embed/text", len(BODY), JSON, method="PUT") + BODY,
    "413": head("/embed/text", 33 * 2**20, JSON) + BODY,
    "415": head("/embed/text", len(BODY), "Content-Type: text/plain") + BODY,
    "415 compressed": head("/embed/text", len(BODY), JSON, "Content-Encoding: br") + BODY,
    "GET with a body": head("/health/live", len(BODY), method="GET") + BODY,
    "HEAD with a body": head("/health/live", len(BODY), method="HEAD") + BODY,
    "OPTIONS with a body": head("/embed/text", len(BODY), method="OPTIONS") + BODY,
    "chunks to nowhere": chunked("/nope", BODY),
    "of Flask's own": head("/robots.txt", len(BODY)) + BODY,
    "Expect": head("/nope", len(BODY), JSON, "Expect: 100-continue"),
}
UNFINISHED = {
    "nothing": b"",
    "half a head": b"POST /embed/text HTTP/1.1\r\nHost",
    "random bytes": os.urandom(200),
    "half a body": head("/embed/text", len(BODY), JSON) + b"{",
    "half a large body": head("/embed/text", 20 * 2**20, JSON) + BODY,
    "half a chunk": chunked("/embed/text", b"{"),
}
READERS = {"does not read": head("/embed/text", len(ANSWERS_MB), JSON) + ANSWERS_MB}


@contextmanager
def holding(server: Server, sent: Sequence[bytes]) -> Iterator[list[socket.socket]]:
    """Connections of which each has sent a piece, held open; none reads."""
    with ExitStack() as stack:
        connections = []
        for piece in sent:
            connection = stack.enter_context(connect(server))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with suppress(ConnectionError):
                connection.sendall(piece)
            connections.append(connection)
        yield connections


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer
