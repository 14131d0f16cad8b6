"""WSGI middleware: before any answer, what is left of the request's body is read, or the connection closes after it.

The server would take what is left for the next request. Flask's own answers pass here as well as ours.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from functions.connection import Connection, Pace

if TYPE_CHECKING:
    from _typeshed.wsgi import InputStream, StartResponse, WSGIApplication

DRAIN_S = 0.05  # a small body that is under way comes within it; others cost a new connection
DRAIN_BYTES = 2**20
PIECE_BYTES = 16 * 1024


class DrainOrClose:
    """Wraps the application of gunicorn's worker (functions/worker.py), and lets others' requests pass."""

    def __init__(self, application: "WSGIApplication") -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """See PEP 3333."""
        connection = environ.get("gunicorn.socket")
        if not isinstance(connection, Connection):
            return self._application(environ, start_response)
        body = environ["wsgi.input"]

        def begin(*arguments: Any) -> Callable[[bytes], object]:
            if not _drain(body, connection):
                start_response.__self__.force_close()  # type: ignore[attr-defined]  # of gunicorn's Response
            return start_response(*arguments)

        return self._application(environ, begin)


def _drain(body: "InputStream", connection: Connection) -> bool:
    """Read what is left of `body`; False if that is too much, too slow or broken."""
    connection.pace = Pace(time.monotonic() + DRAIN_S)
    try:
        for _ in range(DRAIN_BYTES // PIECE_BYTES):
            if not body.read(PIECE_BYTES):
                return True
    except Exception:  # noqa: BLE001 - the parser's errors have no common class; whatever it is, the answer is given
        return False
    return False
