"""The limits of one call, passed to everything that waits, downloads or decodes for it."""

import math
import threading
import time
from dataclasses import dataclass, field, replace

from common.cancellation import Cancellation
from common.images.memory_budget import LargeTurn


@dataclass(frozen=True)
class Allowance:
    """The time and the memory that one call may use.

    `deadline` is a time.monotonic() instant; the default sets no limit. `held_bytes` is the memory
    that the call's own items occupy until it ends. It is added to the memory of each decode.
    `waited_s` is how long the call waited before the service started on it, at `started`.
    A download takes `turn` once it grows large; with None, large downloads are not limited.
    `turned_away` like calls were refused since the last one that reached the service.
    `is_patient` callers would rather wait until the deadline than be refused while a queue is busy.
    """

    deadline: float = math.inf
    held_bytes: int = 0
    waited_s: float = 0.0
    is_patient: bool = False
    turned_away: int = 0
    turn: LargeTurn | None = None
    started: float = field(default_factory=time.monotonic)
    cancellation: Cancellation = field(default_factory=Cancellation)

    @classmethod
    def lasting(cls, timeout_s: float, waited_s: float = 0.0, turned_away: int = 0) -> "Allowance":
        """An allowance whose deadline is `timeout_s` seconds from now."""
        deadline = time.monotonic() + timeout_s
        return cls(deadline=deadline, waited_s=waited_s, turned_away=turned_away)

    @property
    def arrived(self) -> float:
        """The time.monotonic() instant at which the call began to wait for the service."""
        return self.started - self.waited_s

    @property
    def is_over(self) -> bool:
        """Whether the time has run out or the call was cancelled."""
        return self.cancellation.cancelled or time.monotonic() >= self.deadline

    def remaining_s(self) -> float:
        """Seconds until the deadline, between 0 and threading.TIMEOUT_MAX; 0 after cancellation."""
        left_s = 0.0 if self.cancellation.cancelled else self.deadline - time.monotonic()
        return min(max(0.0, left_s), threading.TIMEOUT_MAX)

    def within(self, timeout_s: float) -> "Allowance":
        """A copy whose deadline is `timeout_s` seconds from now, or its present one if sooner."""
        return replace(self, deadline=min(self.deadline, time.monotonic() + timeout_s))

    def holding(self, held_bytes: int) -> "Allowance":
        """A copy for a call whose items occupy `held_bytes`."""
        return replace(self, held_bytes=held_bytes)

    def patient(self) -> "Allowance":
        """The same for a caller who would rather wait than be refused."""
        return replace(self, is_patient=True)

    def taking(self, turn: LargeTurn) -> "Allowance":
        """A copy for one image, whose download takes `turn` once it grows large."""
        return replace(self, turn=turn)

    def take_turn(self) -> bool:
        """Wait for the turn, until the deadline; returns whether a large download may go on."""
        return self.turn is None or self.turn.take(self.remaining_s())
