"""A loopback server of images, good and hostile."""

import io
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from PIL import Image

from tests.loopback import Quiet, answering


def picture(
    image_format: str = "PNG", size: tuple[int, int] = (96, 64), colour: str = "tomato"
) -> bytes:
    """A small image with some structure, as a file of that format."""
    image = Image.new("RGB", size, colour)
    image.paste("white", (size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2))
    file = io.BytesIO()
    image.save(file, image_format)
    return file.getvalue()


class _Handler(Quiet, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "ImageServer"

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        with self.server.changed:
            self.server.requests[path] += 1
            self.server.headers_seen[path] = dict(self.headers.items())
            self.server.changed.notify_all()
        try:
            self.server.answer(path)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def reply(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in (
            {"Content-Length": str(len(body))}
            | {k.replace("_", "-"): v for k, v in headers.items()}
        ).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class ImageServer(ThreadingHTTPServer):
    """Serves what `serve` was given, and a set of hostile paths. Counts requests by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.changed = threading.Condition()
        self.requests: Counter[str] = Counter()
        self.connections = 0
        self.names_asked: list[str] = []  # by TLS clients
        self.headers_seen: dict[str, dict[str, str]] = {}
        self._files: dict[str, tuple[bytes, str]] = {}
        self._target = ""
        self.gate = threading.Event()
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def serve(self, path: str, body: bytes, content_type: str = "image/png") -> str:
        """Put a file under `path`; returns its URL."""
        self._files[path] = (body, content_type)
        return self.url + path

    def redirect_to(self, url: str, hops: int = 1) -> str:
        """A URL that leads to `url` by that many redirects."""
        self._target = url
        return f"{self.url}/away/{hops - 1}"

    def verify_request(self, request: object, client_address: object) -> bool:
        """Called once a connection."""
        self.connections += 1
        return True

    def seen(self, path: str) -> bool:
        """Wait until a request for `path` has come; False if none does."""
        with self.changed:
            return self.changed.wait_for(lambda: self.requests[path] > 0, timeout=30)

    def shutdown(self) -> None:
        """Stop answering, slow answers included."""
        self._stopping.set()
        super().shutdown()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients of a hostile server hang up: no news."""

    def answer(self, path: str) -> Callable[[_Handler], None]:
        if path in self._files:
            body, content_type = self._files[path]
            return lambda handler: handler.reply(200, body, Content_Type=content_type)
        return getattr(
            self, "answer_" + path.strip("/").split("/")[0].replace("-", "_"), self.answer_not_found
        )

    def answer_not_found(self, handler: _Handler) -> None:
        handler.reply(404, b"no such image", Content_Type="text/plain")

    def answer_gated(self, handler: _Handler) -> None:
        """An image once `gate` is set."""
        self.gate.wait(30)
        handler.reply(200, picture(), Content_Type="image/png")

    def answer_flaky(self, handler: _Handler) -> None:
        """503 twice, then an image."""
        if self.requests[handler.path] <= 2:
            handler.reply(503, Retry_After="0")
        else:
            handler.reply(200, picture(), Content_Type="image/png")

    def answer_broken(self, handler: _Handler) -> None:
        handler.reply(500)

    def answer_redirect(self, handler: _Handler) -> None:
        """/redirect/N: N more redirects, then an image."""
        left = int(handler.path.rsplit("/", 1)[1])
        if left:
            handler.reply(302, Location=f"/redirect/{left - 1}")
        else:
            handler.reply(200, picture(), Content_Type="image/png")

    def answer_away(self, handler: _Handler) -> None:
        """/away/N: N more redirects, then the one of `redirect_to`."""
        left = int(handler.path.rsplit("/", 1)[1])
        target = self._target.encode().decode("latin-1")  # as a server would send it
        handler.reply(302, Location=f"/away/{left - 1}" if left else target)

    def answer_loop(self, handler: _Handler) -> None:
        handler.reply(302, Location="/loop")

    def answer_metadata(self, handler: _Handler) -> None:
        handler.reply(302, Location="http://169.254.169.254/computeMetadata/v1/")

    def answer_file_scheme(self, handler: _Handler) -> None:
        handler.reply(302, Location="file:///etc/passwd")

    def answer_html(self, handler: _Handler) -> None:
        handler.reply(200, b"<html></html>", Content_Type="text/html; charset=utf-8")

    def answer_brotli(self, handler: _Handler) -> None:
        handler.reply(200, b"\x1b\x9f" * 50, Content_Type="image/png", Content_Encoding="br")

    def answer_drip(self, handler: _Handler) -> None:
        """A byte now and then, for ever."""
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not self._stopping.wait(0.05):
            handler.wfile.write(b"\x89")

    def answer_drip_headers(self, handler: _Handler) -> None:
        """Header bytes now and then, for ever."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self._stopping.wait(0.05):
            handler.wfile.write(b"a")

    def answer_silent(self, handler: _Handler) -> None:
        """Nothing at all."""
        self._stopping.wait(30)
        handler.close_connection = True

    def answer_endless(self, handler: _Handler) -> None:
        """A body without end."""
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.send_header("Connection", "close")
        handler.end_headers()
        while not self._stopping.is_set():
            handler.wfile.write(bytes(65536))

    def answer_header_flood(self, handler: _Handler) -> None:
        """Headers without end."""
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not self._stopping.is_set():
            handler.wfile.write(b"X-A: " + b"a" * 60_000 + b"\r\n")

    def answer_liar(self, handler: _Handler) -> None:
        """Promises more bytes than it sends."""
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(picture()[:50])
        handler.close_connection = True

    def answer_huge_length(self, handler: _Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/png")
        handler.send_header("Content-Length", "9" * 14)
        handler.end_headers()
        handler.close_connection = True

    def answer_reset(self, handler: _Handler) -> None:
        """Resets the connection instead of answering."""
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True

    def answer_slow(self, handler: _Handler) -> None:
        """/slow/SECONDS: an image after a while."""
        time.sleep(float(handler.path.rsplit("/", 1)[1]))
        handler.reply(200, picture(), Content_Type="image/png")


@contextmanager
def serving() -> Iterator[ImageServer]:
    """A fresh server that answers until the end."""
    server = ImageServer()
    with answering(server):
        yield server
