"""The deployed function: the real console script in its own process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests

from tests.paths import ROOT

START_S = 60
Result = TypeVar("Result")


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def at_once(count: int, call: Callable[[], Result]) -> list[Result]:
    """The results of `count` calls that all start together."""
    barrier = threading.Barrier(count)

    def wait_and_call() -> Result:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(wait_and_call) for _ in range(count)]]


@dataclass
class Server:
    """A running function. `log` is the file its stdout and stderr go to."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def get(self, path: str, **options: Any) -> requests.Response:
        """GET `path`."""
        return requests.get(self.url + path, timeout=300, **options)

    def post(self, path: str, body: object, **options: Any) -> requests.Response:
        """POST `body` as JSON."""
        return requests.post(self.url + path, json=body, timeout=300, **options)

    def vectors(self, texts: Sequence[str] = (), urls: Sequence[str] = ()) -> list[list[float]]:
        """The native route's vectors of texts and then of images."""
        body = self.post("/embed/mixed", {"texts": list(texts), "urls": list(urls)}).json()
        return [*body["text_embeddings"], *body["image_embeddings"]]

    def records(self) -> list[dict[str, Any]]:
        """The JSON log records so far."""
        return [
            json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")
        ]

    def resident_mb(self) -> int:
        """Memory of the worker and its parent, MB."""
        pids = [self.process.pid, *(int(pid) for pid in _children(self.process.pid))]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE") >> 20


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def start(
    log: Path,
    settings: Mapping[str, str],
    source: Path = ROOT / "main.py",
    python: Path = Path(sys.executable),
    under: Sequence[str | Path] = (),
) -> tuple[Server, int]:
    """Start the console script beside `python` with `settings` in its environment.

    The server does not listen yet. `under` is a command that runs the one that follows it.
    """
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("CLIP_")}
    script = python.with_name("functions-framework")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *under,
                script,
                "--target",
                "embed",
                "--source",
                source,
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
            ],
            env=clean | {"PYTHONUNBUFFERED": "1"} | dict(settings),
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,  # as on the platform: the script runs from elsewhere
        )
    return Server(f"http://127.0.0.1:{port}", process, log), port


@contextmanager
def serve(
    folder: Path,
    source: Path = ROOT / "main.py",
    python: Path = Path(sys.executable),
    under: Sequence[str | Path] = (),
    **settings: str,
) -> Iterator[Server]:
    """A server that answers, ended by SIGTERM at the end."""
    defaults = {"CLIP_MODEL": "demo", "CLIP_FETCH_ALLOW_NETWORKS": "127.0.0.0/8"}
    server, port = start(folder / "server.log", defaults | settings, source, python, under)
    try:
        until = time.monotonic() + START_S
        while not _listens(port):
            if server.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the function did not start:\n{server.log.read_text()}")
            time.sleep(0.05)
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(40)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
