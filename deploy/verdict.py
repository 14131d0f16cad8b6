"""Decides whether a new revision answers as well as the one before. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ENOUGH = 20  # requests; with fewer, a single slow start would decide
MORE_ERRORS = 0.01  # of the requests, above the share of the revision before
SLOWER = 1.5  # times the p95 of the revision before …
SLACK_S = 0.25  # … plus what a cold start costs


@dataclass(frozen=True)
class Requests:
    """A summary of a revision's requests."""

    count: int = 0
    errors: int = 0
    p95_s: float = 0.0

    @classmethod
    def from_log(cls, entries: Iterable[Mapping[str, Any]]) -> "Requests":
        """From log entries with `httpRequest`. A status of 500 or more is an error."""
        records = [entry["httpRequest"] for entry in entries if entry.get("httpRequest")]
        seconds = sorted(float(record.get("latency", "0s").rstrip("s")) for record in records)
        errors = sum(record.get("status", 0) >= 500 for record in records)
        p95_s = seconds[(len(seconds) * 95 - 1) // 100] if seconds else 0.0
        return cls(len(records), errors, p95_s)

    @property
    def error_share(self) -> float:
        """The share of requests that failed; 0 if there were none."""
        return self.errors / self.count if self.count else 0.0

    def __str__(self) -> str:
        """One line for the build's log."""
        return f"{self.count} requests, {self.error_share:.1%} errors, p95 {self.p95_s:.3f} s"


def objection(seen: Requests, usual: Requests) -> str:
    """Why `seen` is worse than `usual`; empty if it is not, or if too few requests came."""
    if seen.count < ENOUGH:
        return ""
    if seen.error_share > usual.error_share + MORE_ERRORS:
        return f"{seen.error_share:.1%} of {seen.count} requests fail, not {usual.error_share:.1%}"
    limit_s = usual.p95_s * SLOWER + SLACK_S
    if usual.count >= ENOUGH and seen.p95_s > limit_s:
        return f"p95 is {seen.p95_s:.3f} s, over the limit of {limit_s:.3f} s"
    return ""
