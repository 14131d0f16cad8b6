"""WSGI middleware that reads the rest of a request body before the answer begins.

The server would take an unread rest for the next request. If the rest is too large or too slow,
the connection closes after the answer. The answers that Flask makes pass here too.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from functions.connection import Connection, Pace

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication

DRAIN_S = 0.05  # enough for a small body under way; a longer one costs a new connection
DRAIN_BYTES = 2**20
PIECE_BYTES = 16 * 1024


class DrainOrClose:
    """Wraps a WSGI application. Only connections of functions/worker.py are drained."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Handle one request; see PEP 3333."""
        # `GET http://host HTTP/1.1` has no path, and Flask would answer with an HTML redirect.
        environ["PATH_INFO"] = environ.get("PATH_INFO") or "/"
        connection = environ.get("gunicorn.socket")
        if not isinstance(connection, Connection):
            return self._application(environ, start_response)
        body = environ["wsgi.input"]

        def begin(*arguments: Any) -> Callable[[bytes], object]:
            if not _drain(body, connection):
                # `start_response` is a method of gunicorn's Response.
                start_response.__self__.force_close()  # type: ignore[attr-defined]
            return start_response(*arguments)

        return self._application(environ, begin)


def _drain(body: "InputStream", connection: Connection) -> bool:
    """Read the rest of `body`. Returns False if it is too large, too slow or malformed."""
    connection.pace = Pace(time.monotonic() + DRAIN_S)
    try:
        for _ in range(DRAIN_BYTES // PIECE_BYTES):
            if not body.read(PIECE_BYTES):
                return True
    except Exception:  # noqa: BLE001 - the parser's errors share no class
        return False
    return False
