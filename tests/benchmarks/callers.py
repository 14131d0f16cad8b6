"""Callers that keep a service busy.

They are plain sockets and threads in a process of their own, so that they cost little.

    python -m tests.benchmarks.callers URL CALLERS SECONDS BODY...

Each caller sends the bodies one after another as JSON over one connection. Prints the figures as
one JSON object.
"""

import http.client
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

KEEP_ALIVE_S = 1.0  # gunicorn closes an idle connection after 2


@dataclass
class Tally:
    """What all callers saw; times in seconds."""

    times: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: int, seconds: float) -> None:
        """Count one answer."""
        with self.lock:
            if status == 200:
                self.times.append(seconds)
            elif status == 429:
                self.refused += 1
            else:
                self.failed += 1


def call(
    url: str,
    bodies: list[bytes],
    first: int,
    until: float,
    tally: Tally,
    pause_s: float,
    delay_s: float,
) -> None:
    """One caller, until the time is over. It starts after `delay_s`, out of step with others."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    count = first
    time.sleep(delay_s)
    while time.perf_counter() < until:
        started = time.perf_counter()
        try:
            connection.request(
                "POST",
                parts.path,
                bodies[count % len(bodies)],
                {"Content-Type": "application/json"},
            )
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        seconds = time.perf_counter() - started
        tally.add(status, seconds)
        count += 1
        if pause_s > seconds:
            if pause_s - seconds > KEEP_ALIVE_S:
                connection.close()  # before the server does
            time.sleep(pause_s - seconds)


def run(
    url: str, callers: int, seconds: float, bodies: list[bytes], rate: float = 0
) -> dict[str, float]:
    """Answers a second, percentiles in ms, and errors.

    With `rate` > 0, all callers together send that many requests a second.
    """
    tally = Tally()
    started = time.perf_counter()
    pause_s = callers / rate if rate else 0.0
    threads = [
        threading.Thread(
            target=call,
            args=(
                url,
                bodies,
                number * 7,
                started + seconds,
                tally,
                pause_s,
                pause_s * number / callers,
            ),
        )
        for number in range(callers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    times = sorted(tally.times) or [float("nan")]
    return {
        "answered": len(tally.times),
        "rate": len(tally.times) / elapsed,
        **{
            f"p{part}": times[min(len(times) - 1, len(times) * part // 100)] * 1000
            for part in (50, 95, 99)
        },
        "refused": tally.refused,
        "failed": tally.failed,
    }


if __name__ == "__main__":
    task = json.loads(sys.stdin.read())
    figures = run(
        task["url"],
        task["callers"],
        task["seconds"],
        [json.dumps(body).encode() for body in task["bodies"]],
        task.get("rate", 0),
    )
    print(json.dumps(figures))
