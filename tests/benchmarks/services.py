"""The services under measurement, each in its own processes, and the images that they embed."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from tests.e2e.server import free_port
from tests.image_server import ImageServer
from tests.paths import ROOT

START_S = 120


@dataclass
class Service:
    """A running service and when its process was started."""

    name: str
    url: str
    process: "subprocess.Popen[bytes]"
    started: float

    def post(self, path: str, body: object) -> Any:
        """The JSON answer."""
        response = requests.post(self.url + path, json=body, timeout=300)
        response.raise_for_status()
        return response.json()

    def first_answer_s(self, path: str, body: object) -> float:
        """Seconds from the process's start to its first right answer."""
        while True:
            try:
                self.post(path, body)
            except requests.ConnectionError:
                if self.process.poll() is not None or time.monotonic() - self.started > START_S:
                    raise
                time.sleep(0.01)
            else:
                return time.monotonic() - self.started

    def resident_mb(self) -> float:
        """Memory of the process and its children; pages that they share are counted once (PSS)."""
        kilobytes = 0
        for pid in self._pids():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            kilobytes += next(
                int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")
            )
        return kilobytes / 1000

    def cpu_s(self) -> float:
        """CPU seconds that the process and its children have used; other programs do not matter."""
        ticks = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def _pids(self) -> list[int]:
        pids = [self.process.pid]
        for pid in pids:  # grows while it is read
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            pids += [int(child) for child in children]
        return pids

    def load(
        self, callers: int, seconds: float, path: str, bodies: list[object], rate: float = 0
    ) -> dict[str, float]:
        """What `callers` see, see callers.run."""
        task = {
            "url": self.url + path,
            "callers": callers,
            "seconds": seconds,
            "bodies": bodies,
            "rate": rate,
        }
        run = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.callers"],
            input=json.dumps(task),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        figures: dict[str, float] = json.loads(run.stdout)
        return figures


@contextmanager
def running(
    name: str, command: list[str], port: int, environment: dict[str, str]
) -> Iterator[Service]:
    """A service, ended by SIGTERM at the end."""
    log = ROOT / "build" / f"bench-{name}.log"
    log.parent.mkdir(exist_ok=True)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CLIP_")}
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command, env=clean | environment, stdout=output, stderr=output, cwd=ROOT
        )
    try:
        yield Service(name, f"http://127.0.0.1:{port}", process, started)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:  # busy with a request that nobody waits for
            process.kill()
            process.wait()


@contextmanager
def ours(weights: Path, model: str, precision: str, **settings: str) -> Iterator[Service]:
    """The function through the real console script."""
    port = free_port()
    script = str(Path(sys.executable).with_name("functions-framework"))
    command = [
        script,
        "--target",
        "embed",
        "--source",
        "main.py",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    environment = {
        "CLIP_MODEL": model,
        "CLIP_WEIGHTS_DIR": str(weights),
        "CLIP_PRECISION": precision,
        "CLIP_ENGINE": "onnx",
        "CLIP_CACHE_MB": "0",  # the callers repeat themselves, and the baseline has no cache
        "CLIP_FETCH_ALLOW_NETWORKS": "127.0.0.0/8",
        "LOG_LEVEL": "WARNING",
        "THREADS": "128",
    }
    with running(precision, command, port, environment | settings) as service:
        yield service


@contextmanager
def baseline(checkpoint: Path) -> Iterator[Service]:
    """The predecessor's design, over a folder of `checkpoints`."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "tests.benchmarks.baseline:app",
        "--port",
        str(port),
    ]
    environment = {"CHECKPOINT": str(checkpoint)}
    with running("baseline", [*command, "--log-level", "warning"], port, environment) as service:
        yield service


def photo(width: int, height: int, seed: int = 0) -> bytes:
    """A JPEG with the detail of a photograph: noise of all scales."""
    random, picture = np.random.default_rng(seed), np.zeros((height, width, 3), np.float32)
    for step in (4, 16, 64, 256):
        noise = random.integers(0, 256, (height // step + 1, width // step + 1, 3)).astype(np.uint8)
        picture += (
            np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)) / 4
        )
    file = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(file, "JPEG", quality=88)
    return file.getvalue()


@contextmanager
def pictures() -> Iterator[str]:
    """An image server in a process of its own; its URL."""
    code = "from tests.benchmarks.services import serve_pictures; serve_pictures()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def serve_pictures() -> None:
    """Eight photographs of 640 × 480, /0.jpg to /7.jpg, and one of 12 megapixels, /large.jpg."""
    server = ImageServer()
    for number in range(8):
        server.serve(f"/{number}.jpg", photo(640, 480, number), "image/jpeg")
    server.serve("/large.jpg", photo(4000, 3000), "image/jpeg")
    print(server.url, flush=True)
    server.serve_forever()
