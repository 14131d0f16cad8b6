"""Measures a request's cost for a server's worker: seconds, and peak memory."""

import time
from pathlib import Path

import requests

from tests.e2e.server import Server

TIMEOUT_S = 300


def worker_of(server: Server) -> int:
    """The process id of the worker, a child of the process that was started."""
    pid = server.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def forget_peak(pid: int) -> int:
    """Let the kernel count a process's highest memory anew; returns what it has now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return resident(pid)


def resident(pid: int) -> int:
    """The memory that a process has now, in bytes."""
    return _status(pid, "VmRSS:")


def peak(pid: int) -> int:
    """The most memory since `forget_peak`, in bytes."""
    return _status(pid, "VmHWM:")


def _status(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def send(server: Server, path: str, body: bytes) -> tuple[requests.Response, float, float]:
    """The answer, the seconds it took and the megabytes by which memory grew at most."""
    worker = worker_of(server)
    is_form = body.startswith(b"--x")
    kind = "multipart/form-data; boundary=x" if is_form else "application/json"
    before, started = forget_peak(worker), time.monotonic()
    headers = {"Content-Type": kind}
    response = requests.post(server.url + path, body, headers=headers, timeout=TIMEOUT_S)
    return response, time.monotonic() - started, (peak(worker) - before) / 2**20
