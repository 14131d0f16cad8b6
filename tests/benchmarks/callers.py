"""Callers that keep a service busy.

They are plain connections in one thread of a process of their own, so that they cost little.

    python -m tests.benchmarks.callers <TASK.json

Each caller sends the bodies one after another as JSON over one connection. Prints the figures as
one JSON object.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

KEEP_ALIVE_S = 1.0  # gunicorn closes an idle connection after 2
ANSWER_S = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Tally:
    """What all callers saw; times in seconds."""

    times: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    def add(self, status: int, seconds: float) -> None:
        """Count one answer."""
        if status == 200:
            self.times.append(seconds)
        elif status == 429:
            self.refused += 1
        else:
            self.failed += 1


class Connection:
    """A connection that is opened on first use, and again after it was closed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request and read its whole answer. Returns the status; 0 if there is none.

        Every service here says the length of its answers; one that does not has failed.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                if self._streams is None:
                    self._streams = await asyncio.open_connection(*self._address)
                reader, writer = self._streams
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                if length is None:
                    raise OSError("an answer without its length")
                await reader.readexactly(int(length[1]))
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0
        if b"\r\nConnection: close\r\n" in head:
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def call(
    url: str,
    requests: list[bytes],
    first: int,
    until: float,
    tally: Tally,
    pause_s: float,
    delay_s: float,
) -> None:
    """One caller, until the time is over. It starts after `delay_s`, out of step with others."""
    parts = urlsplit(url)
    connection = Connection(parts.hostname or "", parts.port or 80)
    count = first
    await asyncio.sleep(delay_s)
    while time.perf_counter() < until:
        started = time.perf_counter()
        status = await connection.ask(requests[count % len(requests)])
        seconds = time.perf_counter() - started
        tally.add(status, seconds)
        count += 1
        if pause_s > seconds:
            if pause_s - seconds > KEEP_ALIVE_S:
                connection.close()  # before the server does
            await asyncio.sleep(pause_s - seconds)
    connection.close()


def request_of(url: str, body: bytes) -> bytes:
    """The bytes of a POST of this JSON."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(
    url: str, callers: int, seconds: float, bodies: list[bytes], rate: float = 0
) -> dict[str, float]:
    """Answers a second, percentiles in ms, and errors.

    With `rate` > 0, all callers together send that many requests a second.
    """
    tally = Tally()
    requests = [request_of(url, body) for body in bodies]
    started = time.perf_counter()
    until = started + seconds
    pause_s = callers / rate if rate else 0.0
    await asyncio.gather(
        *(
            call(url, requests, number * 7, until, tally, pause_s, pause_s * number / callers)
            for number in range(callers)
        )
    )
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
    figures = asyncio.run(
        run(
            task["url"],
            task["callers"],
            task["seconds"],
            [json.dumps(body).encode() for body in task["bodies"]],
            task.get("rate", 0),
        )
    )
    print(json.dumps(figures))
