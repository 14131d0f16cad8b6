"""What one call may use. It is handed down to everything that waits, downloads or decodes for that call."""

import math
import threading
import time
from dataclasses import dataclass, field, replace

from common.cancellation import Cancellation
from common.images.memory_budget import LargeTurn


@dataclass(frozen=True)
class Allowance:
    """The time, the memory and the turn of one call.

    `deadline` is a time.monotonic() instant; the default sets no limit. `held_bytes` is the memory
    that the call's own items take until it ends: it counts beside each image that is decoded.
    `waited_s` is how long the call has waited already before anybody looked at it.
    `is_patient` callers would rather wait until the deadline than be refused while a queue is busy.
    `turn` is taken by a download that grows large; None: there is no limit on such downloads.
    """

    deadline: float = math.inf
    held_bytes: int = 0
    waited_s: float = 0.0
    is_patient: bool = False
    turn: LargeTurn | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)

    @classmethod
    def lasting(cls, timeout_s: float, waited_s: float = 0.0) -> "Allowance":
        """An allowance that ends in `timeout_s` seconds."""
        return cls(deadline=time.monotonic() + timeout_s, waited_s=waited_s)

    @property
    def is_over(self) -> bool:
        """Whether the time has run out, or nobody waits any more."""
        return self.cancellation.cancelled or time.monotonic() >= self.deadline

    def remaining_s(self) -> float:
        """Seconds until the deadline: at least 0, at most what a lock of `threading` can wait.

        0 once nobody waits any more.
        """
        left_s = 0.0 if self.cancellation.cancelled else self.deadline - time.monotonic()
        return min(max(0.0, left_s), threading.TIMEOUT_MAX)

    def within(self, timeout_s: float) -> "Allowance":
        """The same with a deadline in `timeout_s` seconds, unless its own is sooner."""
        return replace(self, deadline=min(self.deadline, time.monotonic() + timeout_s))

    def holding(self, held_bytes: int) -> "Allowance":
        """The same for a call whose items take `held_bytes`."""
        return replace(self, held_bytes=held_bytes)

    def patient(self) -> "Allowance":
        """The same for a caller who would rather wait than be refused."""
        return replace(self, is_patient=True)

    def taking(self, turn: LargeTurn) -> "Allowance":
        """The same for one image, whose download takes `turn` when it grows large."""
        return replace(self, turn=turn)

    def take_turn(self) -> bool:
        """Whether a large download may go on: waits for the turn until the deadline."""
        return self.turn is None or self.turn.take(self.remaining_s())
