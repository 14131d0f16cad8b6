"""HTTP servers of the tests' own process, on loopback."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer
from typing import Any


class Quiet:
    """For a handler that prints nothing."""

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def answering(server: BaseServer) -> Iterator[None]:
    """`server` answers in a thread until the end, and is then closed.

    It looks for the end every 20 ms. At the library's own 500 ms, each test would wait for it.
    """
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
