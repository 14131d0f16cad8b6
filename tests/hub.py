"""A model hub on loopback that speaks the hub's file protocol."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from tests.loopback import Quiet, answering

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors", ".bin")  # kept in another store, to which the hub redirects


@dataclass
class Hub:
    """Files by repository and name; `moved` sends one repository's requests to another.

    `refuse` is a status for every request, and `token` is what a request must carry. Downloads of
    large files break off after `cut` bytes.
    """

    url: str = ""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    refuse: int | None = None
    token: str = ""
    cut: int | None = None
    requests: list[str] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)  # while unset, none is answered

    def __post_init__(self) -> None:
        self.free.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all clients waiting."""
        self.free.clear()
        try:
            yield
        finally:
            self.free.set()


@contextmanager
def serving() -> Iterator[Hub]:
    """An empty hub; its clients get its address as HF_ENDPOINT."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    with answering(server):
        yield hub


class _Handler(Quiet, BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        """Serves `/REPOSITORY/resolve/REVISION/FILE`, and large files at `/store/…/FILE`."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        self.hub.free.wait()
        if self.hub.refuse:
            self._refuse(self.hub.refuse)
        elif self.hub.token and self.headers["Authorization"] != f"Bearer {self.hub.token}":
            self._refuse(401, "GatedRepo")
        elif path.startswith("/store/"):
            repository, _, name = path.removeprefix("/store/").rpartition("/")
            self._send(self.hub.files[repository][name])
        else:
            repository, _, rest = path[1:].partition("/resolve/")
            self._resolve(repository, rest.partition("/")[0], rest.partition("/")[2])

    def _resolve(self, repository: str, revision: str, name: str) -> None:
        if repository in self.hub.moved:
            self._redirect(307, f"/{self.hub.moved[repository]}/resolve/{revision}/{name}")
        elif repository not in self.hub.files:
            self._refuse(404, "RepoNotFound")
        elif name not in self.hub.files[repository]:
            self._refuse(404, "EntryNotFound")
        elif name.endswith(LARGE):
            content = self.hub.files[repository][name]
            extra = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": _etag(content)}
            self._redirect(302, f"{self.hub.url}/store/{repository}/{name}", extra)
        else:
            self._send(self.hub.files[repository][name])

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _redirect(self, status: int, target: str, extra: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {"Location": target, "Content-Length": "0", "X-Repo-Commit": COMMIT}
        for name, value in (headers | (extra or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, content: bytes) -> None:
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        part = content[start:]
        self.send_response(206 if self.headers["Range"] else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", _etag(content))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "GET":
            large = self.path.startswith("/store/")
            self.wfile.write(part[: self.hub.cut] if large and self.hub.cut is not None else part)


def _etag(content: bytes) -> str:
    """A large file's is its sha256, by which the hub's cache names it."""
    return f'"{hashlib.sha256(content).hexdigest()}"'
